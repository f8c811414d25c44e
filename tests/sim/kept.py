"""Seeds that have failed once: they are lived through again in every test run."""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).with_name("seeds.txt")


def seeds() -> list[int]:
    """All that are kept."""
    lines = PATH.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def keep(seed: int, why: str) -> None:
    """Keep one more."""
    if seed not in seeds():
        with PATH.open("a", encoding="utf-8") as file:
            file.write(f"{seed} {why}\n")
