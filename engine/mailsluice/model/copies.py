"""Deep copies of callers' data, which may change after the call that passed it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_ATOMS = frozenset({str, int, float, bool, type(None), Decimal})
"""Immutable types, which need no copy: nearly all values are of these."""


def copied(value: Any) -> Any:
    """Return `value` with all its dictionaries, lists and sets copied, at any depth.

    What cannot be copied is returned as it is: encoding it fails later, with a reason.
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
