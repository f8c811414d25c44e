"""Saying things to whoever listens: a closed pipe or terminal never ends a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def open_closed_streams() -> None:
    """Lead each standard stream that the shell has closed (`<&-`, `>&-`) to /dev/null.

    Otherwise the journal or a socket would get its number, and what is printed would go there.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(opened := os.open(os.devnull, os.O_RDWR), number)
            if opened != number:
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode))


@contextmanager
def unheard_is_fine() -> Iterator[None]:
    """Run the block; where its output goes nowhere any more, go on in silence.

    rich answers a broken pipe with SystemExit.
    """
    try:
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, SystemExit):
        silence()


def silence() -> None:
    """What is still buffered must not fail when the interpreter ends: that would exit with 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def say(text: str) -> None:
    """One line on standard error, if anybody is there."""
    with unheard_is_fine():
        print(f"mailsluice: {text}", file=sys.stderr)
