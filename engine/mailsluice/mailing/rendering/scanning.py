"""A template's text as tokens, by the rules of Handlebars 4.7's own scanner. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from mailsluice.mailing.rendering.template_error import TemplateError

SPACE = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""What JavaScript takes for white space, for a character class. Python's `\\s` is another set."""

_ID_END = rf"(?=[=~}}{SPACE}/.)|])"
_LITERAL_END = rf"(?=[~}}{SPACE})])"


class Kind(enum.Enum):
    """What a token is."""

    TEXT = enum.auto()
    COMMENT = enum.auto()
    OPEN = enum.auto()
    """`{{`, `{{{` or `{{&`."""
    OPEN_DECORATOR = enum.auto()
    """`{{*`."""
    OPEN_BLOCK = enum.auto()
    """`{{#`, and `{{#*`."""
    OPEN_INVERSE_BLOCK = enum.auto()
    """`{{^` with a name."""
    OPEN_ELSE = enum.auto()
    """`{{else` with more than white space before the end of the tag."""
    ELSE = enum.auto()
    """`{{else}}` or `{{^}}`: the whole tag."""
    OPEN_END = enum.auto()
    """`{{/`."""
    OPEN_PARTIAL = enum.auto()
    """`{{>`."""
    OPEN_PARTIAL_BLOCK = enum.auto()
    """`{{#>`."""
    OPEN_RAW = enum.auto()
    """`{{{{`."""
    CLOSE = enum.auto()
    CLOSE_TRIPLE = enum.auto()
    CLOSE_RAW = enum.auto()
    ID = enum.auto()
    SEPARATOR = enum.auto()
    DATA = enum.auto()
    """`@`."""
    EQUALS = enum.auto()
    STRING = enum.auto()
    NUMBER = enum.auto()
    WORD = enum.auto()
    """`true`, `false`, `null` or `undefined`, where a name may not be."""
    AS = enum.auto()
    """`as |`."""
    BAR = enum.auto()
    OPEN_PARENTHESIS = enum.auto()
    CLOSE_PARENTHESIS = enum.auto()
    END = enum.auto()


class Token(NamedTuple):
    """One token of a template."""

    kind: Kind
    text: str
    """The token's text; for a string and `[a name]` without the marks."""
    at: int
    """Characters before it."""
    is_quoted: bool = False
    """True of a name in brackets: `[this]` is a key, `this` is not."""


_OPENINGS = (
    (Kind.OPEN_RAW, r"\{\{\{\{"),
    (Kind.OPEN_PARTIAL, r"\{\{~?>"),
    (Kind.OPEN_PARTIAL_BLOCK, r"\{\{~?#>"),
    (Kind.OPEN_BLOCK, r"\{\{~?#\*?"),
    (Kind.OPEN_END, r"\{\{~?/"),
    (Kind.ELSE, rf"\{{\{{~?\^[{SPACE}]*~?\}}\}}|\{{\{{~?[{SPACE}]*else[{SPACE}]*~?\}}\}}"),
    (Kind.OPEN_INVERSE_BLOCK, r"\{\{~?\^"),
    (Kind.OPEN_ELSE, rf"\{{\{{~?[{SPACE}]*else(?![A-Za-z0-9_])"),
    (Kind.COMMENT, r"\{\{~?!(?=--)[\s\S]*?--~?\}\}|\{\{~?!(?!--)[\s\S]*?\}\}"),
    (Kind.OPEN, r"\{\{~?[{&]"),
    (Kind.OPEN_DECORATOR, r"\{\{~?\*"),
    (Kind.OPEN, r"\{\{~?(?!!)"),
)
_INSIDE = (
    (Kind.OPEN_PARENTHESIS, r"\("),
    (Kind.CLOSE_PARENTHESIS, r"\)"),
    (Kind.EQUALS, "="),
    (Kind.ID, rf"\.\.|\.{_ID_END}"),
    (Kind.SEPARATOR, "[/.]"),
    (Kind.CLOSE_RAW, r"\}\}\}\}"),
    (Kind.CLOSE_TRIPLE, r"\}~?\}\}"),
    (Kind.CLOSE, r"~?\}\}"),
    (Kind.STRING, r'"(?:\\"|[^"])*"' + r"|'(?:\\'|[^'])*'"),
    (Kind.DATA, "@"),
    (Kind.WORD, rf"(?:true|false|undefined|null){_LITERAL_END}"),
    (Kind.NUMBER, rf"-?[0-9]+(?:\.[0-9]+)?{_LITERAL_END}"),
    (Kind.AS, rf"as[{SPACE}]+\|"),
    (Kind.BAR, r"\|"),
    (Kind.ID, rf"[^{SPACE}!\"#%-,./;->@\[-^`{{-~]+{_ID_END}"),
    (Kind.ID, r"\[(?:\\\]|[^\]])*\]"),
)


def _matcher(rules: tuple[tuple[Kind, str], ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"({pattern})" for _, pattern in rules))


_opening = _matcher(_OPENINGS).match
_inside = _matcher(_INSIDE).match
_spaces = re.compile(f"[{SPACE}]*").match
_after_escape = re.compile(r"[\s\S]{2,}?(?=\\{0,2}\{\{|\Z)").match


def tokens(source: str, part: str) -> Iterator[Token]:
    """Take a part of a template to pieces. Raises TemplateError if it is no template."""
    if "\0" in source:
        raise TemplateError.at(part, source, source.index("\0"), "there is a NUL character")
    at = 0
    while at < len(source):
        opens = source.find("{{", at)
        if opens < 0:
            yield Token(Kind.TEXT, source[at:], at)
            break
        before = source[at:opens]
        is_escaped = before.endswith("\\") and not before.endswith("\\\\")
        text = before.removesuffix("\\")
        if text:
            yield Token(Kind.TEXT, text, at)
        if is_escaped:
            found = _after_escape(source, opens)
            assert found is not None
            yield Token(Kind.TEXT, found[0], opens)
            at = found.end()
        else:
            at = yield from _tag(source, opens, part)
    yield Token(Kind.END, "", len(source))


def _tag(source: str, at: int, part: str) -> Generator[Token, None, int]:
    """Scan one tag; return where it ends."""
    opening = _opening(source, at)
    if opening is None:
        raise TemplateError.at(part, source, at, "a comment is never closed")
    kind = _OPENINGS[opening.lastindex - 1][0] if opening.lastindex else Kind.OPEN
    yield Token(kind, opening[0], at)
    begins, at = at, opening.end()
    if kind in {Kind.COMMENT, Kind.ELSE}:
        return at
    while True:
        at = _end(_spaces(source, at))
        found = _inside(source, at)
        if found is None or not found.lastindex:
            if source.find("}}", at) < 0:
                raise TemplateError.at(part, source, begins, "a tag is never closed")
            raise TemplateError.at(part, source, at, f"{source[at]!r} cannot stand in a tag")
        kind = _INSIDE[found.lastindex - 1][0]
        yield _token(kind, found[0], at)
        at = found.end()
        if kind in {Kind.CLOSE, Kind.CLOSE_TRIPLE}:
            return at


def _end(found: re.Match[str] | None) -> int:
    assert found is not None  # it matches the empty text, too
    return found.end()


def _token(kind: Kind, text: str, at: int) -> Token:
    if kind is Kind.STRING:
        mark = text[0]
        return Token(kind, text[1:-1].replace(f"\\{mark}", mark), at)
    if kind is Kind.ID and text.startswith("["):
        name = re.sub(r"\\([\\\]])", r"\1", text)
        return Token(kind, name[1:-1], at, is_quoted=True)
    return Token(kind, text, at)
