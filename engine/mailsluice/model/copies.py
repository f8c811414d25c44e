"""Copies of what callers hand over, so that it is sent as it was when they handed it over. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_ATOMS = frozenset({str, int, float, bool, type(None), Decimal})
"""Types that nobody can change, and of which nearly everything is."""


def copied(value: Any) -> Any:
    """The same with all dictionaries, lists and sets in it copied, however deep they are.

    What cannot be copied stays as it is: whoever encodes it refuses it with a reason.
    """
    try:
        return _copied(value)
    except Exception:  # noqa: BLE001  # a caller's mapping may raise anything
        return value


def _copied(value: Any) -> Any:
    if type(value) in _ATOMS:
        return value
    if isinstance(value, Mapping):
        return {key: each if type(each) in _ATOMS else _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    if type(value) is tuple:
        return tuple([_copied(each) for each in value])
    return set(value) if isinstance(value, set) else value
