"""Values of template data, as Handlebars 4.7 looks into them and writes them. Pure.

Data are decoded JSON: a number may be a Decimal, which keeps the digits of its JSON text.
"""

from __future__ import annotations

from typing import Any, Final

JSON_INTEGRAL_MAX = 1e21
"""JavaScript writes a whole number below it without an exponent."""


class _Missing:
    """There is no such value. JSON has nothing that would be equal to it."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


def member(value: Any, name: str) -> Any:
    """Look up a key of an object, or a number in a list."""
    if value.__class__ is dict:
        return value.get(name, MISSING)
    if value.__class__ is list and name.isdecimal() and name.isascii():
        index = int(name)
        if index < len(value) and str(index) == name:
            return value[index]
    return MISSING


def is_true(value: Any) -> bool:
    """Say which side of `#if` is taken. An empty list is false, an empty object is true."""
    return bool(value) or value.__class__ is dict


def is_there(value: Any) -> bool:
    """Say which side of `#with` is taken: as for `#if`, but 0 is something, too."""
    return is_true(value) or (value == 0 and value is not False)


def is_same(value: Any, other: Any) -> bool:
    """Return True if a block's data are those of its surroundings: `..` then leads out of both."""
    if value is other:
        return True
    if value.__class__ is dict or value.__class__ is list:
        return False
    return value.__class__ is other.__class__ and bool(value == other)


def text_of(value: Any) -> str:
    """Write a value as JavaScript does, and a Decimal as its JSON has it."""
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < JSON_INTEGRAL_MAX:
        return str(int(value))
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, list):
        return ",".join(map(text_of, value))
    return str(value)
