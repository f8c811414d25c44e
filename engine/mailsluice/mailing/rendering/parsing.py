"""The tokens of a template as a tree, by the grammar of Handlebars 4.7. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mailsluice.mailing.rendering.scanning import Kind, Token, tokens
from mailsluice.mailing.rendering.template_error import TemplateError
from mailsluice.mailing.rendering.tree import (
    Argument,
    Block,
    Call,
    Comment,
    Expression,
    Literal,
    Node,
    Partial,
    Path,
    Print,
    Program,
    Strip,
    Text,
)

NESTING_MAX = 60
"""Blocks within blocks. No letter needs more, and a walk of them must fit Python's stack."""

_ENDS = frozenset({Kind.END, Kind.OPEN_END, Kind.ELSE, Kind.OPEN_ELSE})
_WORDS = {"true": True, "false": False, "null": None, "undefined": None}
_VALUES = frozenset(
    {Kind.ID, Kind.DATA, Kind.STRING, Kind.NUMBER, Kind.WORD, Kind.OPEN_PARENTHESIS}
)
_BLOCKS = frozenset({Kind.OPEN_BLOCK, Kind.OPEN_INVERSE_BLOCK, Kind.OPEN_PARTIAL_BLOCK})
_TAGS = frozenset({Kind.OPEN, Kind.OPEN_PARTIAL})


class BeyondError(Exception):
    """The part has something that this parser does not follow; the argument says what."""


class _Else(NamedTuple):
    """What follows `{{else}}` in a block."""

    strip: Strip
    program: Program


def parse(source: str, part: str) -> Program:
    """Parse one part. Raises TemplateError if it is invalid, BeyondError if that is uncertain."""
    parser = _Parser(source, part)
    program = parser.program()
    if parser.next.kind is not Kind.END:
        raise parser.error(f"{parser.next.text} has no block to belong to")
    return program


class _Parser:
    """A recursive-descent parser with one token of look-ahead."""

    def __init__(self, source: str, part: str) -> None:
        self._source = source
        self._part = part
        self._tokens: Iterator[Token] = tokens(source, part)
        self._depth = 0
        self.next = next(self._tokens)

    def error(self, text: str, token: Token | None = None) -> TemplateError:
        """Return an error that points at a token; default: the next one."""
        return TemplateError.at(self._part, self._source, (token or self.next).at, text)

    def program(self) -> Program:
        """Parse up to the end of a block, or of the part."""
        body: list[Node] = []
        while self.next.kind not in _ENDS:
            body.append(self._node())
        return Program(body)

    def _node(self) -> Node:
        token = self.next
        if token.kind is Kind.TEXT:
            self._take()
            return Text(token.text, token.text)
        if token.kind is Kind.COMMENT:
            self._take()
            return Comment(_strip(token, token))
        if token.kind in _TAGS:
            return self._tag()
        if token.kind in _BLOCKS:
            return self._block()
        raise BeyondError(f"{token.text} on line {self._line(token)}")

    def _tag(self) -> Print | Partial:
        opening = self._take()
        expression = self._expression(can_call=opening.kind is Kind.OPEN_PARTIAL)
        is_triple = opening.text.endswith("{{{") or opening.text.endswith("~{")
        closing = self._closing(Kind.CLOSE_TRIPLE if is_triple else Kind.CLOSE)
        strip, line = _strip(opening, closing), self._line(opening)
        if opening.kind is Kind.OPEN_PARTIAL:
            if len(expression.arguments) > 1:
                raise self.error("a partial takes one object at most", opening)
            return Partial(expression, line, strip)
        return Print(expression, line, strip, is_plain=opening.text in {"{{", "{{~"})

    def _block(self) -> Block:
        opening = self._take()
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise BeyondError(f"blocks nested deeper than {NESTING_MAX}")
        expression = self._expression(can_call=opening.kind is Kind.OPEN_PARTIAL_BLOCK)
        if opening.kind is not Kind.OPEN_PARTIAL_BLOCK:
            expression = expression._replace(block_parameters=self._block_parameters())
        closing = self._closing(Kind.CLOSE)
        program = self.program()
        is_inverse = opening.kind is Kind.OPEN_INVERSE_BLOCK
        sort = opening.text.removeprefix("{{").removeprefix("~").replace("^", "#")
        otherwise = self._otherwise(can_chain=not is_inverse)
        if otherwise is not None and sort != "#":
            raise self.error("this block has no else", opening)
        end = self._end_of(expression.head, opening)
        self._depth -= 1
        if otherwise is not None and otherwise.program.is_chained:
            _close_chained(otherwise.program, end)
        inverse = otherwise.program if otherwise else None
        return Block(
            sort=sort,
            expression=expression,
            line=self._line(opening),
            program=inverse if is_inverse else program,
            inverse=program if is_inverse else inverse,
            open_strip=_strip(opening, closing),
            else_strip=otherwise.strip if otherwise else Strip(),
            close_strip=end,
        )

    def _otherwise(self, *, can_chain: bool = True) -> _Else | None:
        """Parse `{{else}}` or `{{else if …}}` and what follows; None if the block ends here."""
        opening = self.next
        if opening.kind is Kind.ELSE:
            self._take()
            return _Else(_strip(opening, opening), self.program())
        if opening.kind is not Kind.OPEN_ELSE or not can_chain:
            return None
        self._take()
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise BeyondError(f"more than {NESTING_MAX} else in a row")
        expression = self._expression()._replace(block_parameters=self._block_parameters())
        strip = _strip(opening, self._closing(Kind.CLOSE))
        program = self.program()
        further = self._otherwise()
        self._depth -= 1
        if further is not None and further.program.is_chained:
            _close_chained(further.program, further.strip)
        block = Block(
            sort="#",
            expression=expression,
            line=self._line(opening),
            program=program,
            inverse=further.program if further else None,
            open_strip=strip,
            else_strip=further.strip if further else Strip(),
            close_strip=further.strip if further else Strip(),
        )
        return _Else(strip, Program([block], is_chained=True))

    def _end_of(self, head: Argument, opening: Token) -> Strip:
        token = self._take()
        if token.kind is not Kind.OPEN_END:
            if token.kind is Kind.END:
                raise self.error(f"{opening.text}{head.written}}}}} is never closed", opening)
            raise self.error(f"{token.text} cannot stand here", token)
        found = self._value()
        closing = self._closing(Kind.CLOSE)
        if found.written != head.written:
            raise self.error(
                f"{opening.text}{head.written}}}}} is closed by {{{{/{found.written}}}}}", token
            )
        return _strip(token, closing)

    def _expression(self, *, can_call: bool = False) -> Expression:
        first = self.next
        head = self._value()
        if isinstance(head, Call) and not can_call:
            raise self.error("( cannot stand here", first)
        arguments: list[Argument] = []
        named: list[tuple[str, Argument]] = []
        while self.next.kind in _VALUES:
            token = self.next
            value = self._value()
            if self.next.kind is Kind.EQUALS:
                if token.kind is not Kind.ID or value.written != token.text:
                    raise self.error("there is no name before =")
                self._take()
                named.append((token.text, self._value()))
            elif named:
                raise self.error(f"{token.text} cannot stand after name=value", token)
            else:
                arguments.append(value)
        return Expression(head, tuple(arguments), tuple(named))

    def _value(self) -> Argument:
        token = self._take()
        match token.kind:
            case Kind.ID:
                return self._path(token, is_data=False)
            case Kind.DATA:
                return self._path(self._taken(Kind.ID), is_data=True)
            case Kind.STRING:
                return Literal(token.text, token.text)
            case Kind.NUMBER:
                number = float(token.text) if "." in token.text else int(token.text)
                return Literal(token.text, number)
            case Kind.WORD:
                return Literal(token.text, _WORDS[token.text])
            case Kind.OPEN_PARENTHESIS:
                inner = self._expression()
                self._taken(Kind.CLOSE_PARENTHESIS)
                return Call(inner.head.written)
            case Kind.CLOSE | Kind.CLOSE_TRIPLE:
                raise self.error("a tag has no name", token)
            case _:
                raise self.error(f"{token.text!r} cannot stand here", token)

    def _path(self, first: Token, *, is_data: bool) -> Path:
        written = f"@{first.text}" if is_data else first.text
        found = [first]
        while self.next.kind is Kind.SEPARATOR:
            separator = self._take()
            found.append(self._taken(Kind.ID))
            written += separator.text + found[-1].text
        segments: list[str] = []
        up = 0
        for token in found:
            if token.is_quoted or token.text not in {"..", ".", "this"}:
                segments.append(token.text)
            elif segments:
                raise self.error(f"{written} is no path", first)
            elif token.text == "..":
                up += 1
        is_scoped = not first.is_quoted and (first.text == "this" or first.text.startswith("."))
        return Path(written, up, tuple(segments), is_data, is_scoped)

    def _block_parameters(self) -> tuple[str, ...]:
        """Parse `as |item index|`; empty if there is none."""
        if self.next.kind is not Kind.AS:
            return ()
        self._take()
        names = [self._taken(Kind.ID).text]
        while (token := self._take()).kind is Kind.ID:
            names.append(token.text)
        if token.kind is not Kind.BAR:
            raise self.error(f"{token.text!r} cannot stand among names", token)
        return tuple(names)

    def _closing(self, kind: Kind) -> Token:
        if self.next.kind is not kind:
            raise self.error(f"{self.next.text!r} cannot stand here: the tag should end")
        return self._take()

    def _taken(self, kind: Kind) -> Token:
        if self.next.kind is not kind:
            raise self.error(f"{self.next.text!r} cannot stand here")
        return self._take()

    def _take(self) -> Token:
        token = self.next
        self.next = next(self._tokens, token)
        return token

    def _line(self, token: Token) -> int:
        return self._source.count("\n", 0, token.at) + 1


def _strip(opening: Token, closing: Token) -> Strip:
    """Find the `~` of a tag: after its first two braces, and before its last two."""
    return Strip(opening.text[2:3] == "~", closing.text[-3:-2] == "~")


def _close_chained(program: Program, strip: Strip) -> None:
    """Let the block of an `{{else if …}}` end as Handlebars has it end."""
    block = program.body[0]
    assert isinstance(block, Block)
    block.close_strip = strip
