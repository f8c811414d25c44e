"""What Handlebars.js makes of the corpus and of some generated cases, kept in golden.json.

    python -m tests.mailing.rendering.golden

makes the file again, which needs node and npm. `make test` compares with the file alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson

from tests.mailing.rendering import generated, handlebars
from tests.mailing.rendering.corpus import CORPUS, Case
from tests.mailing.rendering.handlebars import Answer

FILE = Path(__file__).with_name("golden.json")

GENERATED = 100
"""Cases of each kind."""

UNJUDGED = {
    "a name with a space is a helper's call",
    "two dots are a helper's argument",
    "a condition that asks too deep",
    "a condition with two names",
    "a comparison",
    "a bare section",
}
"""All that is beyond the documented subset in the corpus."""
NOT_EMULATED = {"an inverse"}
"""What the emulator refuses beside them."""


class Golden(NamedTuple):
    """A case with what Handlebars.js made of it."""

    name: str
    template: str
    data: dict[str, Any]
    answer: Answer


def read() -> list[Golden]:
    """Read the file."""
    kept = orjson.loads(FILE.read_bytes())
    return [
        Golden(case["name"], case["template"], case["data"], Answer(**case["answer"]))
        for case in kept["cases"]
    ]


def main() -> None:
    """Write the file."""
    if missing := handlebars.installed():
        sys.exit(missing)
    cases = CORPUS.copy()
    for kind, draw in (("documented", generated.documented), ("beyond", generated.beyond)):
        cases += [Case(f"{kind} {n}", *draw(Random(n))) for n in range(GENERATED)]
    answers = handlebars.answers([case[1:] for case in cases])
    lines = [
        {
            "name": name,
            "template": template,
            "data": data,
            "answer": {key: text for key, text in answer._asdict().items() if text is not None},
        }
        for (name, template, data), answer in zip(cases, answers, strict=True)
    ]
    head = f'{{"handlebars":"{handlebars.VERSION}","cases":[\n'.encode()
    FILE.write_bytes(head + b",\n".join(map(orjson.dumps, lines)) + b"\n]}\n")


if __name__ == "__main__":
    main()
