"""`mailsluice why`: what happened to one recipient, attempt by attempt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mailsluice.reports.history import Attempt, Story

NOT_FOUND = 1
"""The exit code where the journal does not know the address, as grep has it."""


def why(
    journal: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The run's journal.")
    ],
    address: Annotated[str, typer.Argument(help="An address: To, Cc or Bcc, in any letter case.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """Every attempt for a recipient: when, batch, answer, MessageId, wait. 1 if there is none."""
    import orjson

    from mailsluice.cli import voice
    from mailsluice.journal import lock
    from mailsluice.journal.sqlite import SqliteJournal
    from mailsluice.reports import history

    running = lock.is_being_written(journal)
    opened = SqliteJournal.read(journal)
    try:
        stories = history.stories(opened.replay(details=True), address)
    finally:
        opened.close()
    if not stories:
        voice.say(
            f"{journal}: no row with this address was refused, a duplicate or attempted; it may be "
            "one of the pending (mailsluice status), or not in the list"
        )
        raise typer.Exit(NOT_FOUND)
    for story in stories:
        if json:
            voice.tell_json(orjson.dumps(_table(story, running=running)))
        else:
            _tell(story, running=running)


def _state(story: Story, *, running: bool) -> str:
    from mailsluice.model import State

    if not story.open:
        return story.state.value
    return "in flight" if running else State.IN_DOUBT.value


def _tell(story: Story, *, running: bool) -> None:
    from mailsluice.cli import voice
    from mailsluice.reports.export import utc
    from mailsluice.reports.history import Attempt

    to, cc, bcc, key = story.addresses
    everybody = ", ".join((*to, *(f"cc {each}" for each in cc), *(f"bcc {each}" for each in bcc)))
    voice.tell(f"row {story.seq}: {everybody}" + (f" (key {key})" if key else ""))
    voice.tell(f"  {utc(story.read_at)}  read" + (f"; {story.reason}" if story.reason else ""))
    number = 0
    for event in story.events:
        if isinstance(event, Attempt):
            number += 1
            voice.tell(
                f"  {utc(event.at)}  attempt {number}, after {event.waited_s:.3f} s: "
                f"batch {event.batch} of {event.recipients}"
            )
            _tell_answer(event)
        else:
            voice.tell(f"  {utc(event.at)}  {event.state.value}: {event.status}: {event.reason}")
    voice.tell(f"  {_state(story, running=running)}")


def _tell_answer(attempt: Attempt) -> None:
    from mailsluice.cli import voice
    from mailsluice.reports.export import utc

    if attempt.answered_at is None:
        voice.tell("    no answer recorded")
        return
    parts = (attempt.status, attempt.message_id, attempt.error)
    voice.tell(
        f"  {utc(attempt.answered_at)}    {attempt.state}, after "
        f"{attempt.answered_at - attempt.at:.3f} s: {': '.join(part for part in parts if part)}"
    )


def _table(story: Story, *, running: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from mailsluice.reports.export import utc

    return {
        "seq": story.seq,
        "state": _state(story, running=running),
        **story.addresses._asdict(),
        "read_at": utc(story.read_at),
        "reason": story.reason,
        "events": [
            {
                name: utc(value) if name.endswith("at") and value is not None else value
                for name, value in asdict(event).items()
            }
            for event in story.events
        ],
    }
