"""What a template consists of, after parsing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias


class Path(NamedTuple):
    """What an expression refers to: `name`, `order.total`, `../name`, `this`, `@index`."""

    written: str
    """The path as the template writes it."""
    up: int
    """How often `..` stands before it."""
    segments: tuple[str, ...]
    """Empty for `this` and `..`."""
    is_data: bool = False
    """True after `@`."""
    is_scoped: bool = False
    """True if it begins with `this` or a dot: then it names no block parameter and no helper."""


class Literal(NamedTuple):
    """A value that stands in the template: `"text"`, `1`, `true`, `null`, `undefined`."""

    written: str
    value: str | float | bool | None


class Call(NamedTuple):
    """A helper within parentheses: `(lookup names @index)`."""

    written: str


Argument: TypeAlias = Path | Literal | Call


class Expression(NamedTuple):
    """What stands between the braces of a tag."""

    head: Argument
    arguments: tuple[Argument, ...] = ()
    named: tuple[tuple[str, Argument], ...] = ()
    """`name=value`, in the order of the template."""
    block_parameters: tuple[str, ...] = ()


class Strip(NamedTuple):
    """Which sides of a tag have `~`, and so no white space beside them."""

    before: bool = False
    after: bool = False


@dataclass(slots=True)
class Text:
    """Text as it stands; `mailsluice.mailing.rendering.white_space` shortens it."""

    original: str
    value: str
    is_cut_left: bool = False
    is_cut_right: bool = False


@dataclass(slots=True)
class Comment:
    """A comment, which prints nothing but takes a line of its own away."""

    strip: Strip


@dataclass(slots=True)
class Print:
    """`{{name}}`, or a call of a helper."""

    expression: Expression
    line: int
    strip: Strip
    is_plain: bool
    """False of `{{{x}}}` and `{{&x}}`, which a stored template prints as `{{x}}`."""


@dataclass(slots=True)
class Partial:
    """`{{> name}}`."""

    expression: Expression
    line: int
    strip: Strip
    indent: str = ""
    """White space before it on a line of its own: every line that it prints begins so."""


@dataclass(slots=True)
class Block:
    """`{{#name …}}…{{else}}…{{/name}}`, an inline partial, or a partial's block."""

    sort: str
    """What follows the braces: `#`, `#*` or `#>`."""
    expression: Expression
    line: int
    program: Program | None
    """None only for `{{^name}}` without an else."""
    inverse: Program | None
    open_strip: Strip
    else_strip: Strip
    close_strip: Strip


@dataclass(slots=True)
class Program:
    """What a template, or one side of a block, consists of."""

    body: list[Node] = field(default_factory=list)
    is_chained: bool = False
    """True of what `{{else if …}}` makes: its only node is a block."""


Node: TypeAlias = Text | Comment | Print | Partial | Block
