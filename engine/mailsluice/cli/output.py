"""Output of commands: a closed pipe or terminal never ends a run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mailsluice.model.plain import plain, plain_json


def open_closed_streams() -> None:
    """Open each standard stream that the shell has closed (`<&-`, `>&-`) on /dev/null.

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
def ignore_broken_pipe() -> Iterator[None]:
    """Run the block; if its output has no reader any more, go on silently.

    rich answers a broken pipe with SystemExit.
    """
    try:
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, SystemExit):
        silence()


def silence() -> None:
    """Drop buffered output: a failing flush at the interpreter's end would exit with 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def warn(text: str) -> None:
    """Write one line to standard error, if it has a reader."""
    with ignore_broken_pipe():
        print(f"mailsluice: {plain(text)}", file=sys.stderr)


def write(text: str) -> None:
    """Write one line of the command's result to standard output."""
    print(plain(text))  # the command's own output


def write_json(text: bytes) -> None:
    """Write the command's result as JSON."""
    print(plain_json(text.decode()))  # as above


class Formatter(logging.Formatter):
    """Formats each record as one line, whatever its text holds; a traceback is indented.

    `lines`: a text of several lines keeps them, indented as well.
    """

    def __init__(self, form: str, *, lines: bool = False) -> None:
        super().__init__(form)
        self._keep = "\n" if lines else ""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the library's
        """Return the record's line."""
        record.message = plain(record.message, self._keep).replace("\n", "\n  ")
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the library's
        """Return a traceback, as lines that begin unlike any record."""
        text = plain(super().formatException(ei), "\n")
        return "  " + text.replace("\n", "\n  ")
