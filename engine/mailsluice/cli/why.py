"""`mailsluice why`: what happened to one recipient, attempt by attempt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mailsluice.reports.history import Attempt, RecipientHistory

NOT_FOUND = 1
"""Exit code if the journal does not know the address, as for grep."""


def why(
    journal: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The run's journal.")
    ],
    address: Annotated[str, typer.Argument(help="An address: To, Cc or Bcc, in any letter case.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """Show every attempt for a recipient: when, batch, answer, MessageId, wait. Exit 1: none."""
    import orjson

    from mailsluice.cli import output
    from mailsluice.journal import lock
    from mailsluice.journal.sqlite import SqliteJournal
    from mailsluice.reports import history

    running = lock.is_being_written(journal)
    opened = SqliteJournal.read(journal)
    try:
        histories = history.find_histories(opened.replay(details=True), address)
    finally:
        opened.close()
    if not histories:
        output.warn(
            f"{journal}: no row with this address was refused, a duplicate or attempted; it may be "
            "one of the pending (mailsluice status), or not in the list"
        )
        raise typer.Exit(NOT_FOUND)
    for found in histories:
        if json:
            output.write_json(orjson.dumps(_table(found, running=running)))
        else:
            _tell(found, running=running)


def _state(found: RecipientHistory, *, running: bool) -> str:
    from mailsluice.model import State

    if not found.open:
        return found.state.value
    return "in flight" if running else State.IN_DOUBT.value


def _tell(found: RecipientHistory, *, running: bool) -> None:
    from mailsluice.cli import output
    from mailsluice.reports.export import utc
    from mailsluice.reports.history import Attempt

    to, cc, bcc, key = found.addresses
    everybody = ", ".join((*to, *(f"cc {each}" for each in cc), *(f"bcc {each}" for each in bcc)))
    output.write(f"row {found.seq}: {everybody}" + (f" (key {key})" if key else ""))
    output.write(f"  {utc(found.read_at)}  read" + (f"; {found.reason}" if found.reason else ""))
    number = 0
    for event in found.events:
        if isinstance(event, Attempt):
            number += 1
            output.write(
                f"  {utc(event.at)}  attempt {number}, after {event.waited_s:.3f} s: "
                f"batch {event.batch} of {event.recipients}"
            )
            _tell_answer(event)
        else:
            output.write(f"  {utc(event.at)}  {event.state.value}: {event.status}: {event.reason}")
    output.write(f"  {_state(found, running=running)}")


def _tell_answer(attempt: Attempt) -> None:
    from mailsluice.cli import output
    from mailsluice.reports.export import utc

    if attempt.answered_at is None:
        output.write("    no answer recorded")
        return
    parts = (attempt.status, attempt.message_id, attempt.error)
    output.write(
        f"  {utc(attempt.answered_at)}    {attempt.state}, after "
        f"{attempt.answered_at - attempt.at:.3f} s: {': '.join(part for part in parts if part)}"
    )


def _table(found: RecipientHistory, *, running: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from mailsluice.reports.export import utc

    return {
        "seq": found.seq,
        "state": _state(found, running=running),
        **found.addresses._asdict(),
        "read_at": utc(found.read_at),
        "reason": found.reason,
        "events": [
            {
                name: utc(value) if name.endswith("at") and value is not None else value
                for name, value in asdict(event).items()
            }
            for event in found.events
        ],
    }
