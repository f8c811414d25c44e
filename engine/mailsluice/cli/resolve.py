"""`mailsluice resolve`: an operator settles what is in doubt."""

from __future__ import annotations

import enum
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailsluice.model import State
from mailsluice.reports.report import ExitCode

if TYPE_CHECKING:
    from mailsluice.journal import Journal


class Decision(enum.StrEnum):
    """An operator's decision about recipients in doubt."""

    SENT = "sent"
    RESEND = "resend"
    DROP = "drop"


_STATES = {
    Decision.SENT: State.SENT,
    Decision.RESEND: State.PENDING,
    Decision.DROP: State.FAILED,
}


def resolve(  # noqa: PLR0913, PLR0917  # one parameter a flag
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
        list[int] | None, typer.Option("--seq", help="Only this row (repeatable).")
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option("--address", help="Only this address (repeatable).")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Only this key (repeatable).")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="All that are in doubt, without asking.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why, for whoever reads the journal later.")
    ] = None,
) -> None:
    """Settle recipients whose answer was lost. Recorded in the journal with time and reason.

    Without --seq, --address and --key: all of them. `drop` of all is final: it asks first on a
    terminal, and needs --all elsewhere.
    """
    from mailsluice.journal import recovery
    from mailsluice.journal.sqlite import SqliteJournal
    from mailsluice.model.errors import ConfigurationError

    few = bool(seq or address or key)
    if few and all_:
        raise typer.BadParameter("--all goes without --seq, --address and --key")
    opened = SqliteJournal.open(journal)
    try:
        rows = [*(seq or ()), *_rows_of(opened, address or (), key or ())]
        text = f"resolved by an operator: {in_doubt.value}" + (f" ({reason})" if reason else "")
        chosen, records = recovery.resolved(
            recovery.standing_of(opened), _STATES[in_doubt], rows, text, time.time()
        )
        if in_doubt is Decision.DROP and chosen and not (few or all_):
            _ask(f"Drop all {len(chosen):,} recipients in doubt, for good?")
        if records:
            opened.commit(records)
    except ConfigurationError as error:
        raise ConfigurationError(f"{journal}: {error}") from None
    finally:
        opened.close()
    typer.echo(f"{len(chosen):,} recipients resolved: {in_doubt.value}")


def _rows_of(journal: Journal, addresses: Sequence[str], keys: Sequence[str]) -> Iterator[int]:
    """Return the rows in doubt of addresses and keys. Raises ConfigurationError if one has none."""
    from mailsluice.mailing.addresses import normalise
    from mailsluice.model.errors import ConfigurationError
    from mailsluice.reports import export
    from mailsluice.sources.columns import split_addresses

    if not addresses and not keys:
        return
    wanted = {("address", normalise(address).key) for address in addresses}
    wanted |= {("key", key) for key in keys}
    left = set(wanted)
    for line in export.lines(journal):
        if line.state != State.IN_DOUBT:
            continue
        texts = split_addresses(", ".join(filter(None, (line.to, line.cc, line.bcc))))
        known = {("address", normalise(text).key) for text in texts} | {("key", line.key or "")}
        if found := known & wanted:
            left -= found
            yield line.seq
    if left:
        kinds = sorted(f"--{kind}" for kind, _ in left)
        raise ConfigurationError(
            f"{len(left)} of what was named by {' and '.join(dict.fromkeys(kinds))} is not in "
            "doubt; `mailsluice export --state in_doubt` lists those that are"
        )


def _ask(question: str) -> None:
    """Ask to confirm on a terminal. Raises typer.BadParameter elsewhere, typer.Exit for a no."""
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "to drop all of them say --all, or name some by --seq, --address or --key"
        )
    if not typer.confirm(question):
        typer.echo("nothing was changed")
        raise typer.Exit(ExitCode.BAD_INPUT)
