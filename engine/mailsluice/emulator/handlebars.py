"""Templates as SES renders them: an interpreter of Handlebars that fails at the first defect.

It shares nothing with the engine's judge of templates, neither code nor way of working: the tags of
a template stay a flat list, which is walked anew for every recipient. It knows what SES documents;
a template with anything else is refused, so that a test never passes on a guess. Of the white space
around `{{else if}}` it may keep more or less than Handlebars does. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

NESTING_MAX = 60
"""Blocks, and partials that call each other."""

_S = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_comment = re.compile(r"\{\{~?!(?:(?=--)[\s\S]*?--|(?!--)[\s\S]*?)(?P<right>~?)\}\}").match
_tag = re.compile(
    r"\{\{(?P<left>~?)(?P<sign>\#\*|[{&#/^>]?)"
    r"(?P<words>(?:\"[^\"]*\"|'[^']*'|\[[^\]]*\]|[^\"'\[\]{}~])*)"
    r"(?P<brace>\}?)(?P<right>~?)\}\}(?!\})"
).match
_word = re.compile(r"\"[^\"]*\"|'[^']*'|as\s+\|[^|]*\||(?:\[[^\]]*\]|[^\s\"'=|\[])+|=|\|").findall
_segment = r"(?:\[[^\]]*\]|(?!this\b|\.)[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+)"
_path = re.compile(
    rf"(?P<data>@?)(?P<ups>(?:\.\./)*)(?:(?P<up>\.\.)|(?P<own>\.|this)|(?P<scoped>(?:\./|this[./])?)"
    rf"(?P<names>(?:{_segment}[./])*(?!-?[0-9.]+\Z){_segment}))"
).fullmatch
_segments = re.compile(_segment).findall
_BLOCKS = frozenset({"if", "unless", "each", "with"})
_HELPERS = _BLOCKS | {"lookup", "log"}
_ABSENT = object()


class TemplateRefusedError(ValueError):
    """The template is none, or has something that this interpreter does not know."""


class RenderingFailure(Exception):  # noqa: N818 - SES's name of the event
    """The data do not fit the template; the argument is what SES says of it."""


@dataclass(slots=True)
class _Tag:
    kind: str
    """`print`, `open`, `else`, `close`, `partial`, `inline` or `comment`."""
    words: list[str]
    left: bool = False
    right: bool = False
    clauses: list[int] = field(default_factory=list)
    """Of what opens a block: where its tags stand, the opening and the closing one included."""
    indent: str = ""


class _Scope(NamedTuple):
    contexts: tuple[Any, ...]
    """Innermost first."""
    loops: tuple[Mapping[str, Any], ...] = ()
    names: Mapping[str, Any] = {}
    partials: Mapping[str, int] = {}
    """Where each partial's definition opens."""
    depth: int = 0


class Handlebars:
    """One part of a template. Raises TemplateRefusedError."""

    def __init__(self, source: str) -> None:
        self._pieces: list[str | _Tag] = list(_pieces(source))
        self._match()
        self._clear_lines()

    @property
    def has_tags(self) -> bool:
        """False of a part that is the same for everybody."""
        return any(isinstance(piece, _Tag) for piece in self._pieces)

    def render(self, data: Mapping[str, Any]) -> str:
        """Render it for one recipient. Raises RenderingFailure."""
        return self._run(0, len(self._pieces), _Scope((data,)), data)

    def _match(self) -> None:
        """Find the tags of each block."""
        open_at: list[int] = []
        for index, tag in self._tags():
            if tag.kind in {"open", "inline"}:
                tag.clauses.append(index)
                open_at.append(index)
            elif tag.kind in {"else", "close"}:
                opening = self._opening(open_at, tag)
                opening.clauses.append(index)
                if tag.kind == "close":
                    open_at.pop()
            if len(open_at) > NESTING_MAX:
                raise TemplateRefusedError("The template is nested too deeply.")
        if open_at:
            raise TemplateRefusedError("A block is not closed.")

    def _opening(self, open_at: list[int], tag: _Tag) -> _Tag:
        opening = self._pieces[open_at[-1]] if open_at else None
        if not isinstance(opening, _Tag):
            raise TemplateRefusedError(f"{tag.kind} outside of any block.")
        if tag.kind == "close" and tag.words != opening.words[:1]:
            raise TemplateRefusedError(f"{opening.words[0]} is closed by {' '.join(tag.words)}.")
        if tag.kind == "else":
            before = self._pieces[opening.clauses[-1]]
            is_last = isinstance(before, _Tag) and before.kind == "else" and not before.words
            if is_last or opening.kind == "inline":
                raise TemplateRefusedError("There is no block for an else.")
        return opening

    def _tags(self) -> Iterator[tuple[int, _Tag]]:
        for index, piece in enumerate(self._pieces):
            if isinstance(piece, _Tag):
                yield index, piece

    # --- white space -----------------------------------------------------------------------------

    def _clear_lines(self) -> None:
        """Take away the lines that a tag has to itself, and the white space beside `~`."""
        written = self._pieces.copy()
        owners = {each: tag for _, tag in self._tags() for each in tag.clauses[-1:]}
        for index, tag in self._tags():
            begins, ends = _line_begins(written, index), _line_ends(written, index)
            opening = owners.get(index)
            is_chained = opening is not None and self._is_chain(opening)
            if opening is not None and is_chained:
                begins = _line_begins(written, opening.clauses[2])
            if tag.kind != "print" and begins and ends:
                self._cut(index + 1, r"\A[ \t]*\r?\n?")
                indent = "" if is_chained else self._cut(index - 1, r"(?<![ \t])[ \t]+\Z")
                tag.indent = indent if tag.kind == "partial" and not tag.left else ""
            if tag.left:
                self._cut(index - 1, rf"(?<![{_S}])[{_S}]+\Z")
            if tag.right:
                self._cut(index + 1, rf"\A[{_S}]+")

    def _is_chain(self, opening: _Tag) -> bool:
        first = self._pieces[opening.clauses[1]]
        return isinstance(first, _Tag) and first.kind == "else" and bool(first.words)

    def _cut(self, index: int, pattern: str) -> str:
        """Take what matches off a text; return it."""
        text = self._pieces[index] if 0 <= index < len(self._pieces) else None
        found = re.search(pattern, text) if isinstance(text, str) else None
        if found is None or not isinstance(text, str):
            return ""
        self._pieces[index] = text[: found.start()] + text[found.end() :]
        return found[0]

    # --- rendering -------------------------------------------------------------------------------

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
            at = piece.clauses[-1] + 1 if isinstance(piece, _Tag) and piece.clauses else at + 1
        return "".join(written)

    def _with_partials(self, begin: int, end: int, scope: _Scope) -> _Scope:
        found: dict[str, int] = {}
        at = begin
        while at < end:
            piece = self._pieces[at]
            if isinstance(piece, _Tag) and piece.kind == "inline":
                found[piece.words[1][1:-1]] = at
            at = piece.clauses[-1] + 1 if isinstance(piece, _Tag) and piece.clauses else at + 1
        return scope._replace(partials={**scope.partials, **found}) if found else scope

    def _print(self, word: str, scope: _Scope, root: Any) -> str:
        value = _look_up(word, scope, root)
        if value is _ABSENT or value is None:
            raise _failure(word)
        return _text(value)

    def _block(self, tag: _Tag, clauses: list[int], scope: _Scope, root: Any) -> str:
        name, word = tag.words[:2]
        if name not in _BLOCKS:
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
        assert isinstance(otherwise, _Tag)
        if otherwise.kind != "else":
            return ""
        if otherwise.words:
            return self._block(otherwise, clauses[1:], scope, root)
        return self._run(clauses[1] + 1, clauses[2], scope, root)

    def _partial(self, tag: _Tag, scope: _Scope, root: Any) -> str:
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
        assert isinstance(opening, _Tag)
        within = scope._replace(contexts=(context,), names={}, depth=scope.depth + 1)
        text = self._run(at + 1, opening.clauses[-1], within, root)
        return re.sub(r"^(?!\Z)", lambda _: tag.indent, text, flags=re.MULTILINE)


def _pieces(source: str) -> Iterator[str | _Tag]:
    at = 0
    while (opens := source.find("{{", at)) >= 0:
        before = source[at:opens]
        if before.endswith("\\"):
            before = before[:-1]
            if not before.endswith("\\"):
                after = re.compile(r"\\{0,2}\{\{|\Z").search(source, opens + 2)
                assert after is not None
                yield from filter(None, (before, source[opens : after.start()]))
                at = after.start()
                continue
        if before:
            yield before
        found = _comment(source, opens) or _tag(source, opens)
        if found is None:
            raise TemplateRefusedError(
                f"It is not known what {source[opens : opens + 20]!r} means."
            )
        yield _tag_of(found)
        at = found.end()
    if source[at:]:
        yield source[at:]


def _tag_of(found: re.Match[str]) -> _Tag:
    parts = found.groupdict()
    left, right = found[0][2] == "~", bool(parts["right"])
    if "sign" not in parts:
        return _Tag("comment", [], left, right)
    sign, words = parts["sign"], _word(parts["words"])
    kind = {"#": "open", "#*": "inline", "/": "close", ">": "partial"}.get(sign, "print")
    if (not sign and words[:1] == ["else"]) or (sign == "^" and not words):
        kind, words = "else", words[1:]
    tag = _Tag(kind, words, left, right)
    if (sign == "{") != bool(parts["brace"]) or not _CHECKS[kind](words):
        raise TemplateRefusedError(f"It is not known what {found[0]} means.")
    return tag


def _is_name(words: list[str]) -> bool:
    return len(words) == 1 and bool(_path(words[0])) and words[0] not in _HELPERS


def _is_block(words: list[str]) -> bool:
    """True of `each items`, `each items as |item|`, and of `IF name`, which SES does not know."""
    name, *rest = words or [""]
    if not rest or name.lower() not in _BLOCKS or not _path(rest[0]):
        return False
    return not rest[1:] or (name in {"each", "with"} and not rest[2:] and rest[1].startswith("as"))


def _is_partial(words: list[str]) -> bool:
    if not words or words[0][0] in "@(":
        return False
    rest = words[1:]
    if rest and rest[1:2] != ["="] and not _path(rest.pop(0)):
        return False
    return len(rest) % 3 == 0 and all(sign == "=" for sign in rest[1::3])


_CHECKS: dict[str, Callable[[list[str]], bool]] = {
    "print": _is_name,
    "open": _is_block,
    "else": lambda words: not words or (_is_block(words) and not words[2:]),
    "close": lambda words: len(words) == 1,
    "partial": _is_partial,
    "inline": lambda words: len(words) == 2 and words[0] == "inline" and words[1][0] in "\"'",  # noqa: PLR2004
}


def _line_begins(pieces: list[str | _Tag], index: int) -> bool:
    """True if only white space stands between a tag and the beginning of its line."""
    text = pieces[index - 1] if index else "\n"
    pattern = rf"\n[{_S}]*\Z" if index > 1 else rf"(?:\A|\n)[{_S}]*\Z"
    return isinstance(text, str) and bool(re.search(pattern, text))


def _line_ends(pieces: list[str | _Tag], index: int) -> bool:
    """True if only white space stands between a tag and the end of its line."""
    text = pieces[index + 1] if index + 1 < len(pieces) else "\n"
    is_last = index + 2 >= len(pieces)
    pattern = rf"[{_S}]*(?:\n|\Z)" if is_last else rf"[{_S}]*?\n"
    return isinstance(text, str) and bool(re.match(pattern, text))


def _look_up(word: str, scope: _Scope, root: Any, *, is_asked: bool = False) -> Any:
    """Find a value; `_ABSENT` if its last name is missing. Raises RenderingFailure."""
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
    """Parse a path: whether it has `@`, its `..`, its names, and whether one may come from `as`."""
    found = _path(word)
    assert found is not None  # or the template would have been refused
    ups = found["ups"].count("..") + bool(found["up"])
    names = tuple(name.strip("[]") for name in _segments(found["names"] or ""))
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
    """Return the scope of a block with data of its own; the same data are no further level."""
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
