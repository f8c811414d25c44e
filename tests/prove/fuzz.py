"""Coverage-guided fuzzing of one format: `python -m tests.prove.fuzz .csv -max_total_time=60`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["mailsluice.sources", "mailsluice.mailing.intake"]):
    from tests.prove import hostile


def main() -> None:
    """Fuzz until libFuzzer ends; it exits with another code than 0 where something broke."""
    _, suffix, *flags = sys.argv

    def one(content: bytes) -> None:
        if suffix == "toml":
            hostile.check_toml(content)
        else:
            hostile.check(content, suffix)

    atheris.Setup([sys.argv[0], *flags], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
