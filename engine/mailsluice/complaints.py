"""What is wrong with a table of settings: one complaint per field, with a remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from mailsluice.near_miss import closest

KEYS_LISTED_MAX = 12
"""Known keys that are listed if none is like the unknown one."""


class Complaint(NamedTuple):
    """One thing that is wrong."""

    place: tuple[str, ...]
    """Keys from the outermost table inwards; indices of lists are texts, too."""
    text: str
    """What is wrong. Never the value: addresses and data must not reach logs."""

    def __str__(self) -> str:
        return f"{'.'.join(self.place)}: {self.text}" if self.place else self.text


def complaints(error: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    """List what pydantic found wrong with a table of `model`."""
    return [_complaint(each, model) for each in error.errors(include_url=False)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "rate"?`, or else the known names, or nothing if they are many."""
    names = sorted(known)
    if (near := closest(name, names)) is not None:
        return f'; did you mean "{near}"?'
    return f"; there are {', '.join(names)}" if 0 < len(names) <= KEYS_LISTED_MAX else ""


def _complaint(error: Any, model: type[BaseModel]) -> Complaint:
    place = tuple(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = keys_of(_model_at(model, place[:-1]))
        return Complaint(place, f"unknown key{suggestion(place[-1], known)}")
    if error["type"] == "missing":
        return Complaint(place, "it is missing, and must be given")
    return Complaint(place, error["msg"].removeprefix("Value error, "))


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


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the table within `X | None`, `list[X]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(model_in, get_args(annotation))), None)
