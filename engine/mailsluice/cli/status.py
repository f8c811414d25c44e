"""`mailsluice status`: what a run is doing, or why it waits."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mailsluice.model import Counts
    from mailsluice.reports.overview import Overview

WIDTH = 80
"""Characters per line, unless a single word is longer."""

ANSWERS_SHOWN_MAX = 6
"""Kinds of answers shown, the most frequent ones."""


def status(
    journal: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The run's journal.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a run is doing, or why it waits: counts, holds, doubts, and what to do next."""
    import orjson

    from mailsluice.cli import output
    from mailsluice.journal import lock
    from mailsluice.journal.sqlite import SqliteJournal
    from mailsluice.reports import overview

    running = lock.is_being_written(journal)
    opened = SqliteJournal.read(journal)
    try:
        found = overview.read_overview(opened, running=running)
    finally:
        opened.close()
    if json:
        output.write_json(orjson.dumps(_table(found, journal), option=orjson.OPT_INDENT_2))
    else:
        for line in _screen(found, journal):
            output.write(line)


def _table(found: Overview, journal: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from mailsluice.reports.export import utc

    run = found.run
    return {
        "state": found.state,
        "hold": None if found.hold is None else str(found.hold),
        "waiting_for": found.waiting_for,
        "waiting_since": None if found.waiting_since is None else utc(found.waiting_since),
        "next": "; ".join(_next(found, journal)) or None,
        "run": run.id if run else None,
        "source": run.source.name if run and run.source else None,
        "source_bytes": run.source.size if run and run.source else None,
        "source_read": None if found.fraction_read is None else round(found.fraction_read, 4),
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


def _next(found: Overview, journal: Path) -> list[str]:
    """Return what the operator may do now."""
    import shlex

    from mailsluice.reports.remedies import next_steps

    path = shlex.quote(str(journal))
    return next_steps(found.state, found.hold, found.counts, path, found.again)


def _screen(found: Overview, journal: Path) -> Iterator[str]:
    """Print the state, the counts and what to do; then the rest."""
    counts = found.counts
    yield from _wrapped(found.state, str(found.hold or found.waiting_for or ""))
    for name, count in _counts(counts):
        share = f"{count / counts.read:>7.1%}" if counts.read and name != "read" else ""
        yield f"{name:<14}{count:>12,}{share}"
    if found.in_doubt:
        more = ", ..." if counts.in_doubt > len(found.in_doubt) else ""
        yield from _wrapped("in doubt are", f"rows {', '.join(map(str, found.in_doubt))}{more}")
    for step in _next(found, journal):
        yield from _wrapped("next", step)
    answers = [f"{n:,} {status}" for status, n in list(found.answers.items())[:ANSWERS_SHOWN_MAX]]
    for name, value in (
        ("answers", ", ".join(answers)),
        ("calls", f"{found.calls:,}" if found.calls else ""),
        ("in flight", f"{found.in_flight:,}" if found.in_flight else ""),
        ("rate", f"{found.pace_per_s:,.1f}/s of late" if found.state == "running" else ""),
        ("sent again", f"those that were {found.reopened.value}" if found.reopened else ""),
        ("waiting since", _local(found.waiting_since)),
        ("begun", _local(found.run.begun_at if found.run else None)),
        ("last record", _local(found.last_at)),
        ("list", _list(found)),
        ("run", found.run.id if found.run else ""),
    ):
        if value:
            yield from _wrapped(name, value)


def _counts(counts: Counts) -> Iterator[tuple[str, int]]:
    """Return the counts that are not 0 in plain words, and always those of read and sent."""
    from dataclasses import asdict

    for name, count in asdict(counts).items():
        if count or name in {"read", "sent"}:
            yield name.replace("_", " "), count


def _list(found: Overview) -> str:
    source = found.run.source if found.run else None
    if source is None:
        return ""
    size = "" if source.size is None else f", {source.size:,} bytes"
    read = "" if found.fraction_read is None else f", {found.fraction_read:.0%} read"
    return f"{source.name}{size}{read}"


def _local(at: float | None) -> str:
    """Write a time in this machine's zone."""
    from datetime import datetime

    if at is None:
        return ""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _wrapped(name: str, value: str) -> list[str]:
    """Wrap a value to a terminal's width; a word, such as a path, is never cut."""
    if not value:
        return [name]
    return textwrap.wrap(
        value,
        WIDTH,
        initial_indent=f"{name:<14}",
        subsequent_indent=" " * 14,
        break_long_words=False,
        break_on_hyphens=False,
    )
