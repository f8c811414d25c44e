"""What is wrong with a table of settings: one complaint per field, with a remedy. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mailsluice.model.near_miss import closest

KEYS_LISTED_MAX = 12
"""Known keys that are listed if none is like the unknown one."""

_WHOLE = "it must be a whole number"
_NUMBER = "it must be a number"
_FLAG = "it must be true or false"
_TABLE = "it must be a table of keys and values"
_LIST = 'it must be a list, as in ["a", "b"]'

_SENTENCES = {
    "missing": "it is missing, and must be given",
    "string_type": "it must be text, in double quotes",
    "path_type": "it must be a path, in double quotes",
    "bool_type": _FLAG,
    "bool_parsing": _FLAG,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "it must be a finite number",
    "greater_than": "it must be above {gt:,.6g}",
    "greater_than_equal": "it must be {ge:,.6g} or more",
    "less_than_equal": "it must be {le:,.6g} or less",
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "string_too_long": "it may have {max_length} characters at most",
    "too_long": "it may have {max_length} characters at most",
    "string_too_short": "it must have {min_length} characters or more",
    "too_short": "it must not be empty",
    "bytes_type": "it must be bytes",
    "base64_decode": "it must be base64",
}
"""Plain sentences by pydantic's type of error, for readers who do not know pydantic."""

_choices = re.compile(r"'([^']*)'")
_others_words = re.compile(r"^(?:Input|Value|String|List) should ")


class Complaint(NamedTuple):
    """One thing that is wrong."""

    place: tuple[str, ...]
    """Keys from the outermost table inwards; indices of lists are texts, too."""
    text: str
    """What is wrong. Never the value: addresses and data must not reach logs."""

    def __str__(self) -> str:
        return f"{'.'.join(self.place)}: {self.text}" if self.place else self.text


Homes = Mapping[str, Sequence[str]]
"""Keys to the tables that have them: `subject` to `[mailing.content]`."""


def complaints(
    error: ValidationError, model: type[BaseModel], homes: Homes | None = None
) -> list[Complaint]:
    """List what pydantic found wrong with a table of `model`, which stands among `homes`."""
    return [_complaint(each, model, homes or {}) for each in error.errors(include_url=False)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "rate"?`, or else the known names, or nothing if they are many."""
    names = sorted(known)
    if (near := closest(name, names)) is not None:
        return f'; did you mean "{near}"?'
    return f"; there are {', '.join(names)}" if 0 < len(names) <= KEYS_LISTED_MAX else ""


def _complaint(error: Any, model: type[BaseModel], homes: Homes) -> Complaint:
    place = tuple(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        if tables := homes.get(place[-1]):
            return Complaint(place, f"unknown key here; it belongs to {' or '.join(tables)}")
        known = keys_of(_model_at(model, place[:-1]))
        return Complaint(place, f"unknown key{suggestion(place[-1], known)}")
    if error["type"] == "string_pattern_mismatch" and (field := _field_at(model, place)):
        return Complaint(place, f'it must look like "{(field.examples or ["?"])[0]}"')
    return Complaint(place, sentence(error))


def sentence(error: Any) -> str:
    """Say what one of pydantic's errors says, in the words of a configuration file."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return "it must be " + _choices.sub(r'"\1"', context["expected"])
    if context.get("min_length") == 1:
        return "it must not be empty"
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map(context)
    return _others_words.sub("it must ", error["msg"].removeprefix("Value error, "))


def keys_of(model: type[BaseModel] | None) -> list[str]:
    """Return the keys of a table, as its users write them."""
    return [] if model is None else [name for name, _ in _named_fields(model)]


def _named_fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        aliases = getattr(field.validation_alias, "choices", [name])
        yield str(aliases[0]), field.annotation


def _model_at(model: type[BaseModel], place: tuple[str, ...]) -> type[BaseModel] | None:
    """Find the table that stands at a place."""
    found: type[BaseModel] | None = model
    for name in place:
        if name.isdecimal():
            continue
        found = model_in(dict(_named_fields(found)).get(name)) if found else None
    return found


def _field_at(model: type[BaseModel], place: tuple[str, ...]) -> FieldInfo | None:
    table = _model_at(model, place[:-1])
    return None if table is None else table.model_fields.get(place[-1])


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the table within `X | None`, `list[X]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(model_in, get_args(annotation))), None)
