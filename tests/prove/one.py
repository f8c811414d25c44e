"""Run one proof: `python -m tests.prove.one NAME short|full`; its last line is JSON."""

from __future__ import annotations

import logging
import sys

import orjson

from tests.prove.programme import named

RESULT = "result: "
"""How the last line begins."""


def main() -> int:
    """1 where a figure misses its goal."""
    _, module, size = sys.argv
    assert size in {"short", "full"}
    logging.disable()
    proved = named(module).run(size)  # type: ignore[arg-type]  # asserted
    sys.stdout.flush()
    result = orjson.dumps([[list(each) for each in proved.figures], proved.details])
    print(RESULT + result.decode())
    return 0 if all(figure.good for figure in proved.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
