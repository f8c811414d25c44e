"""The text of a template as a flat list of texts and tags, for the emulator's interpreter. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

NESTING_MAX = 60
"""Deepest nesting of blocks, and of partials that call each other."""

_S = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_comment = re.compile(r"\{\{~?!(?:(?=--)[\s\S]*?--|(?!--)[\s\S]*?)(?P<right>~?)\}\}").match
_tag = re.compile(
    r"\{\{(?P<left>~?)(?P<sign>\#\*|[{&#/^>]?)"
    r"(?P<words>(?:\"[^\"]*\"|'[^']*'|\[[^\]]*\]|[^\"'\[\]{}~])*)"
    r"(?P<brace>\}?)(?P<right>~?)\}\}(?!\})"
).match
_word = re.compile(r"\"[^\"]*\"|'[^']*'|as\s+\|[^|]*\||(?:\[[^\]]*\]|[^\s\"'=|\[])+|=|\|").findall
_segment = r"(?:\[[^\]]*\]|(?!this\b|\.)[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+)"
path = re.compile(
    rf"(?P<data>@?)(?P<ups>(?:\.\./)*)(?:(?P<up>\.\.)|(?P<own>\.|this)|(?P<scoped>(?:\./|this[./])?)"
    rf"(?P<names>(?:{_segment}[./])*(?!-?[0-9.]+\Z){_segment}))"
).fullmatch
segments = re.compile(_segment).findall
BLOCKS = frozenset({"if", "unless", "each", "with"})
_HELPERS = BLOCKS | {"lookup", "log"}


class TemplateRefusedError(ValueError):
    """The template is malformed, or has something that this interpreter does not know."""


@dataclass(slots=True)
class Tag:
    """One tag: the text between two pairs of braces."""

    kind: str
    """`print`, `open`, `else`, `close`, `partial`, `inline` or `comment`."""
    words: list[str]
    left: bool = False
    right: bool = False
    clauses: list[int] = field(default_factory=list)
    """Places of a block's tags, first to last, if this is the opening one."""
    indent: str = ""


def pieces_of(source: str) -> list[str | Tag]:
    """Cut a template into texts and tags. Raises TemplateRefusedError."""
    pieces = list(_scanned(source))
    _match(pieces)
    _clear_lines(pieces)
    return pieces


def _match(pieces: list[str | Tag]) -> None:
    """Find the tags of each block."""
    open_at: list[int] = []
    for index, tag in _tags(pieces):
        if tag.kind in {"open", "inline"}:
            tag.clauses.append(index)
            open_at.append(index)
        elif tag.kind in {"else", "close"}:
            opening = _opening(pieces, open_at, tag)
            opening.clauses.append(index)
            if tag.kind == "close":
                open_at.pop()
        if len(open_at) > NESTING_MAX:
            raise TemplateRefusedError("The template is nested too deeply.")
    if open_at:
        raise TemplateRefusedError("A block is not closed.")


def _opening(pieces: list[str | Tag], open_at: list[int], tag: Tag) -> Tag:
    opening = pieces[open_at[-1]] if open_at else None
    if not isinstance(opening, Tag):
        raise TemplateRefusedError(f"{tag.kind} outside of any block.")
    if tag.kind == "close" and tag.words != opening.words[:1]:
        raise TemplateRefusedError(f"{opening.words[0]} is closed by {' '.join(tag.words)}.")
    if tag.kind == "else":
        before = pieces[opening.clauses[-1]]
        is_last = isinstance(before, Tag) and before.kind == "else" and not before.words
        if is_last or opening.kind == "inline":
            raise TemplateRefusedError("There is no block for an else.")
    return opening


def _tags(pieces: list[str | Tag]) -> Iterator[tuple[int, Tag]]:
    for index, piece in enumerate(pieces):
        if isinstance(piece, Tag):
            yield index, piece


def _clear_lines(pieces: list[str | Tag]) -> None:
    """Remove lines that hold nothing but a tag, and the white space beside `~`."""
    written = pieces.copy()
    owners = {each: tag for _, tag in _tags(pieces) for each in tag.clauses[-1:]}
    for index, tag in _tags(pieces):
        begins, ends = _line_begins(written, index), _line_ends(written, index)
        opening = owners.get(index)
        is_chained = opening is not None and _is_chain(pieces, opening)
        if opening is not None and is_chained:
            begins = _line_begins(written, opening.clauses[2])
        if tag.kind != "print" and begins and ends:
            _cut(pieces, index + 1, r"\A[ \t]*\r?\n?")
            indent = "" if is_chained else _cut(pieces, index - 1, r"(?<![ \t])[ \t]+\Z")
            tag.indent = indent if tag.kind == "partial" and not tag.left else ""
        if tag.left:
            _cut(pieces, index - 1, rf"(?<![{_S}])[{_S}]+\Z")
        if tag.right:
            _cut(pieces, index + 1, rf"\A[{_S}]+")


def _is_chain(pieces: list[str | Tag], opening: Tag) -> bool:
    first = pieces[opening.clauses[1]]
    return isinstance(first, Tag) and first.kind == "else" and bool(first.words)


def _cut(pieces: list[str | Tag], index: int, pattern: str) -> str:
    """Remove what matches from a text; return it."""
    text = pieces[index] if 0 <= index < len(pieces) else None
    found = re.search(pattern, text) if isinstance(text, str) else None
    if found is None or not isinstance(text, str):
        return ""
    pieces[index] = text[: found.start()] + text[found.end() :]
    return found[0]


def _scanned(source: str) -> Iterator[str | Tag]:
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


def _tag_of(found: re.Match[str]) -> Tag:
    parts = found.groupdict()
    left, right = found[0][2] == "~", bool(parts["right"])
    if "sign" not in parts:
        return Tag("comment", [], left, right)
    sign, words = parts["sign"], _word(parts["words"])
    kind = {"#": "open", "#*": "inline", "/": "close", ">": "partial"}.get(sign, "print")
    if (not sign and words[:1] == ["else"]) or (sign == "^" and not words):
        kind, words = "else", words[1:]
    tag = Tag(kind, words, left, right)
    if (sign == "{") != bool(parts["brace"]) or not _CHECKS[kind](words):
        raise TemplateRefusedError(f"It is not known what {found[0]} means.")
    return tag


def _is_name(words: list[str]) -> bool:
    return len(words) == 1 and bool(path(words[0])) and words[0] not in _HELPERS


def _is_block(words: list[str]) -> bool:
    """Return True for `each items`, `each items as |item|`, and `IF name`, which SES refuses."""
    name, *rest = words or [""]
    if not rest or name.lower() not in BLOCKS or not path(rest[0]):
        return False
    return not rest[1:] or (name in {"each", "with"} and not rest[2:] and rest[1].startswith("as"))


def _is_partial(words: list[str]) -> bool:
    if not words or words[0][0] in "@(":
        return False
    rest = words[1:]
    if rest and rest[1:2] != ["="] and not path(rest.pop(0)):
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


def _line_begins(pieces: list[str | Tag], index: int) -> bool:
    """Return True if only white space stands between a tag and the beginning of its line."""
    text = pieces[index - 1] if index else "\n"
    pattern = rf"\n[{_S}]*\Z" if index > 1 else rf"(?:\A|\n)[{_S}]*\Z"
    return isinstance(text, str) and bool(re.search(pattern, text))


def _line_ends(pieces: list[str | Tag], index: int) -> bool:
    """Return True if only white space stands between a tag and the end of its line."""
    text = pieces[index + 1] if index + 1 < len(pieces) else "\n"
    is_last = index + 2 >= len(pieces)
    pattern = rf"[{_S}]*(?:\n|\Z)" if is_last else rf"[{_S}]*?\n"
    return isinstance(text, str) and bool(re.match(pattern, text))
