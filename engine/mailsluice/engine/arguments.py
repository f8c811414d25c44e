"""Checks of the arguments that the library's callers give, before anything is done with them.

A wrong value raises ArgumentError, a ValueError; a wrong type raises ArgumentTypeError, which is a
TypeError as well. The text names the argument and says what it was and what to give instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.message import Message
from mailsluice.model import LANE_SHARES, Recipient
from mailsluice.model.errors import ArgumentError, ArgumentTypeError
from mailsluice.sources import Source
from mailsluice.sources.iterable import IterableSource


def instance(name: str, value: object, kind: type, remedy: str = "") -> None:
    """Raise ArgumentTypeError if `value` is not of that kind. The caller allows None."""
    if not isinstance(value, kind):
        raise ArgumentTypeError(_wrong(name, value, f"a {kind.__name__}", remedy))


def function(name: str, value: object) -> None:
    """Raise ArgumentTypeError if `value` is neither None nor callable."""
    if value is not None and not callable(value):
        raise ArgumentTypeError(_wrong(name, value, "a function"))


def flag(name: str, value: object) -> None:
    """Raise ArgumentTypeError if `value` is neither True nor False."""
    if not isinstance(value, bool):
        raise ArgumentTypeError(_wrong(name, value, "True or False"))


def check(depth: object, rows: object, flags: Mapping[str, object]) -> None:
    """Raise ArgumentError if these arguments of `Engine.check` cannot be used."""
    if depth not in {"quick", "thorough"}:
        raise ArgumentError(f'depth is {depth!r}; it must be "quick" or "thorough"')
    if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int)):
        raise ArgumentTypeError(_wrong("rows", rows, "a number of rows, or None for all"))
    if isinstance(rows, int) and rows < 1:
        raise ArgumentError(f"rows is {rows}; it must be 1 or more, or None for all")
    for name, value in flags.items():
        flag(name, value)


def seconds(name: str, value: object, *, least: float = 0.0, above: bool = False) -> None:
    """Raise ArgumentError if `value` is no finite number from `least` (or above it)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentTypeError(_wrong(name, value, "a number of seconds"))
    if not least <= value <= sys.float_info.max or (above and value == least):
        bound = "above" if above else "from"
        raise ArgumentError(f"{name} is {value}; it must be a finite number {bound} {least:g}")


def path(name: str, value: object) -> Path | None:
    """Return a given path; None if none was given. Raises ArgumentError."""
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise ArgumentTypeError(_wrong(name, value, "the path of a file"))
    text = os.fspath(value)
    if not isinstance(text, str):
        raise ArgumentTypeError(_wrong(name, value, "the path of a file", "give it as text"))
    if not text or "\0" in text:
        raise ArgumentError(f"{name} is {text!r}, which is the path of no file")
    return Path(text)


def paths(name: str, value: object) -> tuple[Path, ...]:
    """Return the given paths. Raises ArgumentError."""
    if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, Iterable):
        raise ArgumentTypeError(_wrong(name, value, "a list of paths"))
    return tuple(found for each in value if (found := path(f"one of {name}", each)) is not None)


def mailing(name: str, value: object) -> None:
    """Raise ArgumentTypeError if `value` is not a Mailing."""
    instance(name, value, Mailing, "Mailing(from_address=..., template=...) makes one")


def recipients(value: Any) -> Source:
    """Return a source as it is, and make a source of any other iterable.

    Raises ArgumentTypeError.
    """
    if isinstance(value, Source):
        return value
    # Each of these is iterable, and would be taken for a list of something else.
    if isinstance(value, Recipient | Message):
        raise ArgumentTypeError(
            f"recipients must be an iterable of recipients, not one {type(value).__name__}: "
            "put it into a list"
        )
    if isinstance(value, Mapping):
        raise ArgumentTypeError(
            "recipients must be an iterable of Recipient and str, not a mapping: make a Recipient "
            "of each item, as in Recipient(address, data=data)"
        )
    return IterableSource(value)


def message(value: object, lane: object, deadline_s: object) -> None:
    """Raise ArgumentError if one of `send`'s arguments cannot be used."""
    if not isinstance(value, Message):
        raise ArgumentTypeError(_wrong("message", value, "a Message"))
    mailing("message.mailing", value.mailing)
    if not isinstance(lane, str) or lane not in LANE_SHARES:
        raise ArgumentError(f"lane is {lane!r}; it must be one of {', '.join(LANE_SHARES)}")
    if deadline_s is not None:
        seconds("deadline_s", deadline_s)


def all_of(checks: Mapping[str, tuple[object, type]]) -> None:
    """Raise ArgumentTypeError for the first value that is neither None nor of its type."""
    for name, (value, kind) in checks.items():
        if value is not None:
            instance(name, value, kind)


def _wrong(name: str, value: object, wanted: str, remedy: str = "") -> str:
    text = f"{name} is of type {type(value).__name__}; it must be {wanted}"
    return f"{text}: {remedy}" if remedy else text
