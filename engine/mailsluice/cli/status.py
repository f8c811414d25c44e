"""`mailsluice status`: what a run is doing, or why it stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mailsluice.overview import Overview

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
    from mailsluice.journal import file
    from mailsluice.journal.sqlite import SqliteJournal

    running = file.is_being_written(journal)
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
    from mailsluice.remedies import remedy

    counts = found.counts
    match found.state:
        case "running":
            return None
        case "held":
            return f"{remedy(found.hold or '')}; then run the same `mailsluice send` again"
        case "finished" if counts.in_doubt:
            return f"mailsluice resolve {journal} --in-doubt sent|resend|drop"
        case "finished" if counts.failed or counts.rejected:
            part = "failed" if counts.failed else "rejected"
            return f"nothing, or: mailsluice send … --only {part}"
        case "finished":
            return None
        case _:
            return "run the same `mailsluice send` again: it carries on"


def _screen(table: dict[str, Any]) -> Iterator[str]:
    counts, answers, rows = (table.pop(name) for name in ("counts", "answers", "in_doubt_rows"))
    for name, value in table.items():
        yield f"{name:<14}{'-' if value is None else value}"
    shown = [f"{n:,} {status}" for status, n in list(answers.items())[:ANSWERS_SHOWN_MAX]]
    yield f"{'answers':<14}{', '.join(shown) or '-'}"
    for name, value in counts.items():
        yield f"{name:<14}{value:>12,}"
    if rows:
        more = ", …" if counts["in_doubt"] > len(rows) else ""
        yield f"{'in doubt':<14}rows {', '.join(map(str, rows))}{more}"
