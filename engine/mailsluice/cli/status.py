"""`mailsluice status`: what a run is doing, or why it stands still."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mailsluice.overview import Overview

WIDTH = 80
"""Characters of a line, where no single word is longer."""

ANSWERS_SHOWN_MAX = 6
"""Kinds of answers on the screen, the most frequent ones."""


def status(
    journal: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The run's journal.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What a run is doing, or why it stands still: counts, holds, doubts, and what to do next."""
    import orjson

    from mailsluice import overview
    from mailsluice.journal import lock
    from mailsluice.journal.sqlite import SqliteJournal

    running = lock.is_being_written(journal)
    opened = SqliteJournal.read(journal)
    try:
        found = overview.of(opened, running=running)
    finally:
        opened.close()
    table = _table(found, journal)
    if json:
        typer.echo(orjson.dumps(table, option=orjson.OPT_INDENT_2))
    else:
        for line in _screen(table):
            typer.echo(line)


def _table(found: Overview, journal: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from mailsluice.export import utc

    run = found.run
    return {
        "state": found.state,
        "hold": found.hold,
        "waiting_for": found.waiting_for,
        "waiting_since": None if found.waiting_since is None else utc(found.waiting_since),
        "next": _next(found, journal),
        "run": run.id if run else None,
        "source": run.source.name if run and run.source else None,
        "begun": utc(run.begun_at) if run else None,
        "last_record": None if found.last_at is None else utc(found.last_at),
        "only": found.reopened.value if found.reopened else None,
        "calls": found.calls,
        "in_flight": found.in_flight,
        "pace_per_s": round(found.pace_per_s, 3),
        "answers": found.answers,
        "in_doubt_rows": found.in_doubt,
        "counts": asdict(found.counts),
    }


def _next(found: Overview, journal: Path) -> str | None:
    """What its operator may do now."""
    import shlex

    from mailsluice.remedies import remedy

    counts = found.counts
    match found.state:
        case "running":
            return None
        case "held":
            return f"{remedy(found.hold or '')}; then run the same `mailsluice send` again"
        case "finished" if counts.in_doubt:
            path = shlex.quote(str(journal))
            return f"mailsluice resolve {path} --in-doubt sent|resend|drop"
        case "finished" if found.again:
            return f"nothing, or: mailsluice send … --only {found.again[0]}"
        case "finished":
            return None
        case _:
            return "run the same `mailsluice send` again: it carries on"


def _screen(table: dict[str, Any]) -> Iterator[str]:
    counts, answers, rows = (table.pop(name) for name in ("counts", "answers", "in_doubt_rows"))
    for name, value in table.items():
        yield from _wrapped(name, "-" if value is None else str(value))
    shown = [f"{n:,} {status}" for status, n in list(answers.items())[:ANSWERS_SHOWN_MAX]]
    yield from _wrapped("answers", ", ".join(shown) or "-")
    for name, value in counts.items():
        yield f"{name:<14}{value:>12,}"
    if rows:
        more = ", …" if counts["in_doubt"] > len(rows) else ""
        yield from _wrapped("in doubt", f"rows {', '.join(map(str, rows))}{more}")


def _wrapped(name: str, value: str) -> list[str]:
    """A value on lines of a terminal's width; a word, such as a path, is never cut."""
    return textwrap.wrap(
        value,
        WIDTH,
        initial_indent=f"{name:<14}",
        subsequent_indent=" " * 14,
        break_long_words=False,
        break_on_hyphens=False,
    )
