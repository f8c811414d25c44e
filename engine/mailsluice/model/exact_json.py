"""JSON that loses nothing on its way: each number as written, no key twice. Pure.

orjson reads `1.10` as 1.1, `12345678901234567890123` as 1.2345678901234568e+22, and silently keeps
the last of two equal keys. Recipients would get another price, or another person's data. orjson
stays the reader of nearly every row; only a row in which something may have been lost is read again
by the standard library (eight times slower).
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import orjson

JSONDecodeError = json.JSONDecodeError
"""orjson's is a subclass."""

_rewritten = re.compile(rb"\d\.\d*0(?!\d)|\d[\d.]{15}|\.0000|\d[eE]").search
"""Matches numbers that orjson may write differently than it read them: with a zero at the end, with
16 digits or more, with an exponent, or very small. A match inside a text costs only time."""

_SPACED_COLONS = (b" :", b"\t:", b"\n:", b"\r:")

INTEGER_CHARACTERS_MAX = 19
"""Digits and sign of the integers that orjson reads and writes as they are."""


INTEGER_BITS_MAX = 63
"""Bits of the integers that orjson writes, whatever their sign."""

NOT_FINITE = "it cannot be written as JSON: a number is NaN or infinite"


class JSONLossError(ValueError):
    """Valid JSON that cannot be read without losing something; the message says why."""


def loads(text: bytes) -> Any:
    """Parse JSON. Raises JSONDecodeError and JSONLossError, both ValueErrors.

    A number that a float or a 64-bit integer would change is a Decimal.
    """
    found = orjson.loads(text)
    keys, has_float = _looked_through(found)
    if _has_keys(text, keys) and not (has_float and _rewritten(text)):
        return found
    try:
        return json.loads(
            text.decode(), object_pairs_hook=_object, parse_float=_real, parse_int=_integer
        )
    except RecursionError:
        raise JSONLossError("is nested too deeply") from None


def _has_keys(text: bytes, count: int) -> bool:
    """Return True if `text` has at most `count` keys; False also if texts have too many colons."""
    return text.count(b":") == count or (
        text.count(b'":') == count and not any(mark in text for mark in _SPACED_COLONS)
    )


def _looked_through(found: object) -> tuple[int, bool]:
    """Count the keys of all objects in a value; say if it has a float or a large integer."""
    keys = 0
    has_float = False
    stack = [found]
    while stack:
        value = stack.pop()
        if type(value) is dict:
            keys += len(value)
            value = value.values()
        elif type(value) is not list:
            has_float = has_float or type(value) is float
            continue
        for each in value:
            kind = type(each)
            if kind is dict or kind is list:
                stack.append(each)
            elif kind is float:
                has_float = True
    return keys, has_float


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JSONLossError(f'has the key "{twice[:60]}" twice')
    return found


def _real(text: str) -> float | Decimal:
    value = float(text)
    return value if repr(value) == text else Decimal(text)


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= INTEGER_CHARACTERS_MAX else Decimal(text)


def dumps(value: object, *, option: int = 0) -> bytes:
    """Write JSON; a Decimal and an integer of any size become the number that they are.

    `option` is orjson's. Raises ValueError if something is no JSON, or a Decimal is not finite.
    """
    option |= orjson.OPT_PASSTHROUGH_DATACLASS
    try:
        return orjson.dumps(value, default=_fragment, option=option)
    except TypeError as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            raise cause from None
        try:
            return orjson.dumps(_with_large_as_decimal(value), default=_fragment, option=option)
        except TypeError:
            raise ValueError(f"it cannot be written as JSON: {error}") from error


def _fragment(value: object) -> orjson.Fragment:
    if not isinstance(value, Decimal):
        raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")
    if not value.is_finite():
        raise ValueError(NOT_FINITE)
    return orjson.Fragment(str(value))


def _with_large_as_decimal(value: Any) -> Any:
    """Replace integers that orjson refuses."""
    if isinstance(value, dict):
        return {name: _with_large_as_decimal(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_large_as_decimal(each) for each in value]
    if isinstance(value, int) and value.bit_length() > INTEGER_BITS_MAX:
        return Decimal(value)
    return value
