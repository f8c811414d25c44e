"""White space that a template's tags take away with them, by the rules of Handlebars 4.7. Pure.

`~` takes all of it on its side. A block's tag, a comment or a partial that has a line to itself
takes the whole line. Every rule looks at the text as written (`Text.original`), whatever other tags
have taken of it.
"""

from __future__ import annotations

import re

from mailsluice.mailing.rendering.scanning import SPACE
from mailsluice.mailing.rendering.tree import (
    Block,
    Comment,
    Node,
    Partial,
    Print,
    Program,
    Strip,
    Text,
)

_begins_with_line = re.compile(f"[{SPACE}]*?\n").match
_ends_with_line = re.compile(f"\n[{SPACE}]*\\Z").search
_blank = re.compile(f"[{SPACE}]*\\Z").match
_leading = re.compile(f"\\A[{SPACE}]+")
_trailing = re.compile(f"(?<![{SPACE}])[{SPACE}]+\\Z")
_rest_of_line = re.compile(r"\A[ \t]*\r?\n?")
_indent = re.compile(r"(?<![ \t])[ \t]+\Z")


def clean(program: Program) -> None:
    """Take away what tags take away, in the whole tree."""
    _clean(program, is_root=True)


def _clean(program: Program, *, is_root: bool) -> None:
    body = program.body
    for index, node in enumerate(body):
        if isinstance(node, Text):
            continue
        if isinstance(node, Block):
            _clean_within(node)
        strip = _outer_strip(node)
        before = _is_line_before(body, index, is_root=is_root)
        after = _is_line_after(body, index, is_root=is_root)
        if strip.after:
            _cut_after(body, index, everything=True)
        if strip.before:
            _cut_before(body, index, everything=True)
        if isinstance(node, Block):
            _clean_lines_of(node, body, index, before=before, after=after)
        elif isinstance(node, Comment | Partial) and before and after:
            _cut_after(body, index)
            if _cut_before(body, index) and isinstance(node, Partial):
                node.indent = _indent_before(body[index - 1])


def _outer_strip(node: Print | Partial | Comment | Block) -> Strip:
    if isinstance(node, Block):
        return Strip(node.open_strip.before, node.close_strip.after)
    return node.strip


def _clean_lines_of(
    block: Block, body: list[Node], index: int, *, before: bool, after: bool
) -> None:
    """Take away the lines of a block's first and last tag."""
    first = block.program or block.inverse
    last = block.inverse or block.program
    assert first is not None
    assert last is not None
    if before and _is_line_after(first.body, -1):
        _cut_after(first.body, -1)
        _cut_before(body, index)
    if after and _is_line_before(_else_of(block).body, None):
        _cut_after(body, index)
        _cut_before(last.body, None)


def _clean_within(block: Block) -> None:
    """Take away what belongs to the inner sides of a block's tags."""
    for each in (block.program, block.inverse):
        if each is not None:
            _clean(each, is_root=False)
    program = block.program or block.inverse
    assert program is not None
    if block.open_strip.after:
        _cut_after(program.body, -1, everything=True)
    if block.program is None or block.inverse is None:
        if block.close_strip.before:
            _cut_before(program.body, None, everything=True)
        return
    otherwise = _else_of(block)
    if block.else_strip.before:
        _cut_before(program.body, None, everything=True)
    if block.else_strip.after:
        _cut_after(otherwise.body, -1, everything=True)
    if block.close_strip.before:
        _cut_before(_last_else_of(block.inverse).body, None, everything=True)
    if _is_line_before(program.body, None) and _is_line_after(otherwise.body, -1):
        _cut_before(program.body, None)
        _cut_after(otherwise.body, -1)


def _else_of(block: Block) -> Program:
    """Return what follows the first else, or the only program."""
    if block.program is None or block.inverse is None:
        only = block.program or block.inverse
        assert only is not None
        return only
    return _of_chain(block.inverse, 0) if block.inverse.is_chained else block.inverse


def _last_else_of(program: Program) -> Program:
    while program.is_chained:
        program = _of_chain(program, -1)
    return program


def _of_chain(program: Program, index: int) -> Program:
    block = program.body[index]
    assert isinstance(block, Block)
    assert block.program is not None
    return block.program


def _is_line_before(body: list[Node], index: int | None, *, is_root: bool = False) -> bool:
    """Return True if only white space stands between the node and the line before it."""
    at = len(body) if index is None else index
    if at == 0:
        return is_root
    text = body[at - 1]
    if not isinstance(text, Text):
        return False
    is_first = at == 1 and is_root
    return bool(_ends_with_line(text.original) or (is_first and _blank(text.original)))


def _is_line_after(body: list[Node], index: int, *, is_root: bool = False) -> bool:
    """Return True if only white space stands between the node and the end of its line."""
    at = index + 1
    if at >= len(body):
        return is_root
    text = body[at]
    if not isinstance(text, Text):
        return False
    is_last = at + 1 == len(body) and is_root
    return bool(_begins_with_line(text.original) or (is_last and _blank(text.original)))


def _cut_after(body: list[Node], index: int, *, everything: bool = False) -> None:
    """Shorten the text that follows a node: by all white space, or to the end of the line."""
    text = body[index + 1] if index + 1 < len(body) else None
    if isinstance(text, Text) and (everything or not text.is_cut_right):
        was = text.value
        text.value = (_leading if everything else _rest_of_line).sub("", was)
        text.is_cut_right = text.value != was


def _cut_before(body: list[Node], index: int | None, *, everything: bool = False) -> bool:
    """Shorten the text before a node: by all white space, or by the line's; True if it had any."""
    at = (len(body) if index is None else index) - 1
    text = body[at] if at >= 0 else None
    if not isinstance(text, Text) or not (everything or not text.is_cut_left):
        return False
    was = text.value
    text.value = (_trailing if everything else _indent).sub("", was)
    text.is_cut_left = text.value != was
    return text.is_cut_left


def _indent_before(node: Node) -> str:
    assert isinstance(node, Text)
    found = _indent.search(node.original)
    return found[0] if found else ""
