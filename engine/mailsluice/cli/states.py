"""States as values of flags: `in_doubt` as everywhere else, or `in-doubt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

import typer

from mailsluice.model import State

if TYPE_CHECKING:
    from mailsluice.journal.recovery import Only

STATES = "|".join(State)
"""States, for a flag's help."""

PARTS = "failed|rejected|in_doubt"
"""Parts of a finished run that can be sent again, for a flag's help."""


def state_of(text: str) -> State:
    """Parse any state. Raises typer.BadParameter."""
    try:
        return State(_spelled(text))
    except ValueError:
        raise typer.BadParameter(f'"{text}" is none of {", ".join(State)}') from None


def part_of(text: str) -> Only:
    """Parse a state whose recipients can be sent again. Raises typer.BadParameter."""
    from mailsluice.journal.recovery import Only  # `--help` stays quick

    if _spelled(text) not in get_args(Only):
        raise typer.BadParameter(f'"{text}" is none of {", ".join(get_args(Only))}')
    return cast("Only", _spelled(text))


def _spelled(text: str) -> str:
    return text.strip().lower().replace("-", "_")
