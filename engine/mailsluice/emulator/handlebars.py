"""Templates as SES renders them: an interpreter of Handlebars that fails at the first defect.

It shares nothing with the engine's judge of templates, neither code nor way of working: the tags of
a template stay a flat list, which is walked anew for every recipient. It knows what SES documents;
a template with anything else is refused, so that a test never passes on a guess. Of the white space
around `{{else if}}` it may keep more or less than Handlebars does. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from mailsluice.emulator.tags import BLOCKS, NESTING_MAX, Tag, path, pieces_of, segments

_ABSENT = object()


class RenderingFailure(Exception):  # noqa: N818 - SES's name of the event
    """The data do not fit the template; the argument is SES's text."""


class _Scope(NamedTuple):
    contexts: tuple[Any, ...]
    """Innermost first."""
    loops: tuple[Mapping[str, Any], ...] = ()
    names: Mapping[str, Any] = {}
    partials: Mapping[str, int] = {}
    """Where each partial's definition opens."""
    depth: int = 0


class Handlebars:
    """One part of a template, such as the subject. Raises TemplateRefusedError."""

    def __init__(self, source: str) -> None:
        self._pieces = pieces_of(source)

    @property
    def has_tags(self) -> bool:
        """False if the part is the same for every recipient."""
        return any(isinstance(piece, Tag) for piece in self._pieces)

    def render(self, data: Mapping[str, Any]) -> str:
        """Render it for one recipient. Raises RenderingFailure."""
        return self._run(0, len(self._pieces), _Scope((data,)), data)

    def _run(self, begin: int, end: int, scope: _Scope, root: Any) -> str:
        if scope.depth > NESTING_MAX:
            raise RenderingFailure("The template calls itself too often.")
        scope = self._with_partials(begin, end, scope)
        written: list[str] = []
        at = begin
        while at < end:
            piece = self._pieces[at]
            if isinstance(piece, str):
                written.append(piece)
            elif piece.kind == "print":
                written.append(self._print(piece.words[0], scope, root))
            elif piece.kind == "partial":
                written.append(self._partial(piece, scope, root))
            elif piece.kind == "open":
                written.append(self._block(piece, piece.clauses, scope, root))
            at = piece.clauses[-1] + 1 if isinstance(piece, Tag) and piece.clauses else at + 1
        return "".join(written)

    def _with_partials(self, begin: int, end: int, scope: _Scope) -> _Scope:
        found: dict[str, int] = {}
        at = begin
        while at < end:
            piece = self._pieces[at]
            if isinstance(piece, Tag) and piece.kind == "inline":
                found[piece.words[1][1:-1]] = at
            at = piece.clauses[-1] + 1 if isinstance(piece, Tag) and piece.clauses else at + 1
        return scope._replace(partials={**scope.partials, **found}) if found else scope

    def _print(self, word: str, scope: _Scope, root: Any) -> str:
        value = _look_up(word, scope, root)
        if value is _ABSENT or value is None:
            raise _failure(word)
        return _text(value)

    def _block(self, tag: Tag, clauses: list[int], scope: _Scope, root: Any) -> str:
        name, word = tag.words[:2]
        if name not in BLOCKS:
            raise _failure(name)
        parameters = tag.words[2].partition("|")[2].strip("|").split() if tag.words[2:] else []
        value = _look_up(word, scope, root, is_asked=True)
        first, second, *_ = clauses
        body = first + 1, second
        inner = scope._replace(depth=scope.depth + 1)
        if name in {"if", "unless"}:
            is_taken = _is_true(value) == (name == "if")
            return self._run(*body, inner, root) if is_taken else self._else(clauses, inner, root)
        if name == "with":
            if not _is_true(value) and (value != 0 or value is False):
                return self._else(clauses, inner, root)
            inner = _within(inner, value, dict(zip(parameters, [value], strict=False)))
            return self._run(*body, inner, root)
        items = _items(value)
        if not items:
            return self._else(clauses, inner, root)
        written = []
        for index, (key, item) in enumerate(items):
            loop = {"index": index, "key": key, "first": not index, "last": index == len(items) - 1}
            named = dict(zip(parameters, [item, key], strict=False))
            within = _within(inner, item, named)._replace(loops=(loop, *scope.loops))
            written.append(self._run(*body, within, root))
        return "".join(written)

    def _else(self, clauses: list[int], scope: _Scope, root: Any) -> str:
        otherwise = self._pieces[clauses[1]]
        assert isinstance(otherwise, Tag)
        if otherwise.kind != "else":
            return ""
        if otherwise.words:
            return self._block(otherwise, clauses[1:], scope, root)
        return self._run(clauses[1] + 1, clauses[2], scope, root)

    def _partial(self, tag: Tag, scope: _Scope, root: Any) -> str:
        name, *words = tag.words
        at = scope.partials.get(name.strip("\"'"))
        if at is None:
            raise RenderingFailure(f"The partial {name} could not be found")
        context = scope.contexts[0]
        if words and words[1:2] != ["="]:
            context = _look_up(words.pop(0), scope, root, is_asked=True)
        for key, _, value in zip(words[::3], words[1::3], words[2::3], strict=True):
            given = (
                value[1:-1] if value[0] in "\"'" else _look_up(value, scope, root, is_asked=True)
            )
            context = {**(context if isinstance(context, dict) else {}), key: given}
        opening = self._pieces[at]
        assert isinstance(opening, Tag)
        within = scope._replace(contexts=(context,), names={}, depth=scope.depth + 1)
        text = self._run(at + 1, opening.clauses[-1], within, root)
        return re.sub(r"^(?!\Z)", lambda _: tag.indent, text, flags=re.MULTILINE)


def _look_up(word: str, scope: _Scope, root: Any, *, is_asked: bool = False) -> Any:
    """Find a value; return `_ABSENT` if its last name is missing. Raises RenderingFailure."""
    is_data, ups, names, can_be_parameter = _parsed(word)
    if is_data:
        value: Any = {**(scope.loops[ups] if ups < len(scope.loops) else {}), "root": root}
    elif can_be_parameter and names[0] in scope.names:
        value, names = scope.names[names[0]], names[1:]
    else:
        value = scope.contexts[ups] if ups < len(scope.contexts) else _ABSENT
    for name in names:
        if value is _ABSENT or value is None:
            raise _failure(word)
        value = _member(value, name, is_asked=is_asked)
    return value


@lru_cache(maxsize=4096)
def _parsed(word: str) -> tuple[bool, int, tuple[str, ...], bool]:
    """Parse a path: if it has `@`, its number of `..`, its names, and if one may come from `as`."""
    found = path(word)
    assert found is not None  # or the template would have been refused
    ups = found["ups"].count("..") + bool(found["up"])
    names = tuple(name.strip("[]") for name in segments(found["names"] or ""))
    return bool(found["data"]), ups, names, bool(names and not (ups or found["scoped"]))


def _member(value: Any, name: str, *, is_asked: bool) -> Any:
    if isinstance(value, dict):
        return value.get(name, _ABSENT)
    if isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", name):
        return value[int(name)] if int(name) < len(value) else _ABSENT
    if name == "length" and (isinstance(value, list) or (is_asked and isinstance(value, str))):
        return len(value)
    return _ABSENT


def _within(scope: _Scope, value: Any, named: Mapping[str, Any]) -> _Scope:
    """Return the scope of a block; data identical to the present ones make no new level."""
    here = scope.contexts[0]
    is_same = value is here or (isinstance(value, str | int | float) and value == here)
    contexts = scope.contexts if is_same else (value, *scope.contexts)
    return scope._replace(contexts=contexts, names={**scope.names, **named})


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, list):
        return list(enumerate(value))
    return list(value.items()) if isinstance(value, dict) else []


def _is_true(value: Any) -> bool:
    return value is not _ABSENT and (bool(value) or isinstance(value, dict))


def _failure(name: str) -> RenderingFailure:
    return RenderingFailure(f"Attribute '{name}' is not present in the rendering data.")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "[object Object]" if isinstance(value, dict) else str(value)
