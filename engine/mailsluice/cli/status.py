"""`mailsluice status`: what a run is doing, or why it stands still."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mailsluice.journal.standing import Standing


def status(
    journal: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The run's journal.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Counts, holds, and what is in doubt, from a run's journal; also while it is running."""
    import orjson

    table = _read(journal)
    if json:
        typer.echo(orjson.dumps(table, option=orjson.OPT_INDENT_2))
        return
    counts = table.pop("counts")
    for name, value in table.items():
        typer.echo(f"{name:<12}{'-' if value is None else value}")
    for name, value in counts.items():
        typer.echo(f"{name:<12}{value:>12,}")


def _read(path: Path) -> dict[str, Any]:
    from dataclasses import asdict
    from datetime import UTC, datetime

    from mailsluice import resume
    from mailsluice.journal.sqlite import SqliteJournal
    from mailsluice.journal.standing import HELD

    writing = SqliteJournal.is_being_written(path)
    journal = SqliteJournal.read(path)
    try:
        standing = resume.standing_of(journal)
        run = journal.run
    finally:
        journal.close()
    in_flight = sum(map(len, standing.open.values()))
    counts = standing.counts
    if not writing and in_flight:
        # Nobody is left to record the answers to these.
        counts = counts.shifted(in_doubt=in_flight, pending=-in_flight)
    event = standing.last_event
    return {
        "state": "running" if writing else _state(standing),
        "hold": event.text if event and event.name == HELD else None,
        "run": run.id if run else None,
        "source": run.source.name if run and run.source else None,
        "begun": datetime.fromtimestamp(run.begun_at, UTC).isoformat("T", "seconds")
        if run
        else None,
        "last_record": datetime.fromtimestamp(standing.last_at, UTC).isoformat("T", "seconds")
        if event
        else None,
        "calls": standing.calls,
        "in_flight": in_flight if writing else 0,
        "counts": asdict(counts),
    }


def _state(standing: Standing) -> str:
    """How the last process left the run; an operator may have reopened it since."""
    event = standing.last_event
    match event.name if event else None:
        case None:
            return "not begun"
        case "begun" | "resumed":
            return "interrupted" if standing.counts.read else "not begun"
        case "finished" if standing.counts.pending:
            return "reopened"
        case name:
            return name
