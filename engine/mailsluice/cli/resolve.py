"""`mailsluice resolve`: an operator settles what is in doubt."""

from __future__ import annotations

import enum
import time
from pathlib import Path
from typing import Annotated

import typer

from mailsluice.model import State


class Decision(enum.StrEnum):
    """What an operator can say of recipients in doubt."""

    SENT = "sent"
    RESEND = "resend"
    DROP = "drop"


_STATES = {
    Decision.SENT: State.SENT,
    Decision.RESEND: State.PENDING,
    Decision.DROP: State.FAILED,
}


def resolve(
    journal: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The run's journal.")
    ],
    in_doubt: Annotated[
        Decision,
        typer.Option(
            "--in-doubt",
            help="sent: they were delivered; resend: send them again on the next `send`; "
            "drop: never send them again.",
        ),
    ],
    seq: Annotated[
        list[int] | None, typer.Option("--seq", help="Only this row (repeatable); default: all.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why, for whoever reads the journal later.")
    ] = None,
) -> None:
    """Settle recipients whose answer was lost. Recorded in the journal with time and reason."""
    from mailsluice import resume
    from mailsluice.errors import ConfigurationError
    from mailsluice.journal.sqlite import SqliteJournal

    opened = SqliteJournal.open(journal)
    try:
        text = f"resolved by an operator: {in_doubt.value}" + (f" ({reason})" if reason else "")
        chosen, records = resume.resolved(
            resume.standing_of(opened), _STATES[in_doubt], seq or (), text, time.time()
        )
        if records:
            opened.commit(records)
    except ConfigurationError as error:
        raise ConfigurationError(f"{journal}: {error}") from None
    finally:
        opened.close()
    typer.echo(f"{len(chosen)} recipients resolved: {in_doubt.value}")
