"""`mailsluice export`: one line per recipient."""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from mailsluice.cli.states import STATES, state_of
from mailsluice.model.plain import plain, plain_json


class Format(enum.StrEnum):
    """The output format of `export`."""

    CSV = "csv"
    NDJSON = "ndjson"


class _Terminal:
    """Escapes control characters on a terminal; a file or pipe gets them as they are."""

    def __init__(self, out: TextIO, format_: Format) -> None:
        self._out = out
        self._format = format_

    def write(self, text: str) -> None:
        """Write text with control characters escaped."""
        lines = text.replace("\r\n", "\n")
        self._out.write(plain(lines, "\n") if self._format is Format.CSV else plain_json(lines))


def export(
    journal: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The run's journal.")
    ],
    state: Annotated[
        str | None,
        typer.Option(
            "--state", parser=state_of, metavar=STATES, help="Only recipients in this state."
        ),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.CSV,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="CSV: no apostrophe before cells that begin with = + - @."),
    ] = False,
) -> None:
    """Write every recipient's outcome to standard output."""
    from mailsluice.journal import lock
    from mailsluice.journal.sqlite import SqliteJournal
    from mailsluice.reports import export as exports

    running = lock.is_being_written(journal)
    opened = SqliteJournal.read(journal)
    try:
        rows = exports.lines(opened, running=running)
        if state is not None:
            rows = (row for row in rows if row.state == state)
        # Record separators are the format's business: no translation of line ends.
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]  # a TextIOWrapper
        out = _Terminal(sys.stdout, format_) if sys.stdout.isatty() else sys.stdout
        if format_ is Format.CSV:
            exports.write_csv(rows, out, defused=not raw)
        else:
            exports.write_ndjson(rows, out)
        sys.stdout.flush()
    except BrokenPipeError:
        # `mailsluice export … | head`: the reader has seen enough. What is still buffered must not
        # be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        opened.close()
