#!/usr/bin/env python3
"""Draw a random sample of docstrings, to judge whether they can be read once.

usage: tools/docstrings.py [--seed N] [--number N] [ROOM]...

Prints the seed, and each docstring with its file, line and name. The same seed draws the same
sample from the same tree. Strings below assignments and fields count as docstrings.
"""

from __future__ import annotations

import argparse
import ast
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent.parent / "engine" / "mailsluice"


class Docstring(NamedTuple):
    """One docstring and where it stands."""

    file: str
    line: int
    name: str
    text: str


def docstrings(path: Path) -> Iterator[Docstring]:
    """Yield the docstrings of a module, in no particular order."""
    file = path.relative_to(PACKAGE).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield Docstring(file, node.body[0].lineno, getattr(node, "name", "module"), text)
            for assigned, after in zip(node.body, node.body[1:], strict=False):
                match assigned, after:
                    case (
                        ast.Assign(targets=[target]) | ast.AnnAssign(target=target),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        yield Docstring(file, after.lineno, ast.unparse(target), text)


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help="such as engine; default: all")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--number", type=int, default=60)
    asked = parser.parse_args()
    found = [
        docstring
        for path in sorted(PACKAGE.rglob("*.py"))
        if not asked.rooms or path.relative_to(PACKAGE).parts[0] in asked.rooms
        for docstring in docstrings(path)
    ]
    sample = random.Random(asked.seed).sample(found, min(asked.number, len(found)))
    print(f"seed {asked.seed}: {len(sample)} of {len(found)} docstrings")
    for docstring in sorted(sample):
        print(f"\n{docstring.file}:{docstring.line} {docstring.name}\n    {docstring.text.strip()}")


if __name__ == "__main__":
    main()
