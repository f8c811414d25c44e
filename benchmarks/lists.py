"""The list that the benchmarks send to."""

from __future__ import annotations

from pathlib import Path


def write_list(path: Path, recipients: int) -> None:
    """Write a CSV list; a row has an address, a name and a code, about 45 bytes."""
    with path.open("w", encoding="utf-8") as file:
        file.write("email,name,code\n")
        for n in range(recipients):
            file.write(f"user{n:08d}@example.com,Name {n},c{n % 97}\n")
