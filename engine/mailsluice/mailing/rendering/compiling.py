"""A template's tree as functions that render it and say what is wrong. Pure.

Handlebars 4.7 in its strict mode, and two rules of SES: nothing is escaped, and a null that is
printed is as bad as a variable that is missing. Compiled once, a template runs for every row: each
node is one function of a `Frame`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mailsluice.mailing.rendering import partials, printing
from mailsluice.mailing.rendering.findings import Fault, Finding, Place
from mailsluice.mailing.rendering.frames import Frame, Loop, Step
from mailsluice.mailing.rendering.parsing import BeyondError
from mailsluice.mailing.rendering.paths import Finder, Scope, guard
from mailsluice.mailing.rendering.tree import (
    Block,
    Comment,
    Literal,
    Node,
    Partial,
    Path,
    Print,
    Program,
    Text,
)
from mailsluice.mailing.rendering.values import MISSING, is_same, is_there, is_true

BLOCKS = frozenset({"if", "unless", "each", "with"})
"""Blocks that are judged."""

HELPERS = BLOCKS | {"lookup", "log", "helperMissing", "blockHelperMissing"}
"""Names that Handlebars takes for its own helpers before it looks into the data."""

_NUMBERED_KEYS = "in which order SES takes the keys of an object that are numbers"


def compiled(program: Program, scope: Scope) -> tuple[Step, ...]:
    """Make the functions of a program. Raises BeyondError if none of it can be judged."""
    steps: list[Step] = []
    pieces = printing.Pieces(scope)
    defined: dict[str, tuple[Step, ...]] = {}
    for node in program.body:
        if isinstance(node, Text):
            pieces.add_text(node.value)
        elif isinstance(node, Block) and node.sort == "#*":
            name, inner = _inline_partial(node, scope)
            defined[name] = inner
        elif not (isinstance(node, Comment) or _is_piece(node, scope, pieces)):
            # What is only judged needs no order.
            written = [] if scope.is_judged_only else pieces.steps()
            steps += [*written, _step(node, scope)]
    steps += pieces.steps()
    return (_with_partials(defined, steps),) if defined else tuple(steps)


def _is_piece(node: Node, scope: Scope, pieces: printing.Pieces) -> bool:
    """Add a variable to others, if it can be written together with them."""
    if not isinstance(node, Print) or _doubt_of_print(node, scope):
        return False
    head = node.expression.head
    return isinstance(head, Path) and pieces.add(node, head)


def _doubt_of_print(node: Print, scope: Scope) -> str:
    head, arguments, named, _ = node.expression
    if not isinstance(head, Path):
        return "a value in place of a name"
    if arguments or named:
        return "SES documents no such helper; a name with a space in it is a helper's call"
    is_helper = len(head.segments) == 1 and head.segments[0] in HELPERS
    if is_helper and not head.up and not head.is_scoped and not scope.is_parameter(head):
        return "it is the name of a helper"
    return ""


def _step(node: Node, scope: Scope) -> Step:
    if isinstance(node, Partial):
        return partials.call(node, scope)
    assert isinstance(node, Print | Block)
    head, arguments, *_ = node.expression
    if isinstance(node, Print):
        doubt = _doubt_of_print(node, scope)
    else:
        doubt = _doubt_of_block(node, scope)
    if doubt:
        return printing.unknown(scope.place(node.line, _tag(node)), doubt)
    if isinstance(node, Print):
        assert isinstance(head, Path)
        return printing.variable(node, head, scope)
    if head.written not in BLOCKS:
        finding = Finding(Fault.HELPER, scope.place(node.line, head.written))
        return lambda frame: frame.run.findings.append(finding)
    assert isinstance(arguments[0], Path)
    place = scope.place(node.line, _tag(node))
    return _MAKERS[head.written](node, guard(arguments[0], scope, place), scope, place)


def _doubt_of_block(node: Block, scope: Scope) -> str:
    head, arguments, named, parameters = node.expression
    name = head.written
    if node.sort == "#>":
        return "blocks of partials are not documented"
    if not isinstance(head, Path) or name.lower() not in BLOCKS or not arguments:
        return "SES documents no such block"
    if name not in BLOCKS:
        return ""
    if len(arguments) != 1 or named or (parameters and name in {"if", "unless"}):
        return f"#{name} takes one name, and nothing else"
    if not isinstance(arguments[0], Path):
        return f"#{name} with something else than a name"
    return scope.doubt(arguments[0])


def _sides(node: Block, scope: Scope, inner: Scope) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    return (
        compiled(node.program, inner) if node.program else (),
        compiled(node.inverse, scope) if node.inverse else (),
    )


def _if(node: Block, find: Finder, scope: Scope, _place: Place) -> Step:
    yes, no = _sides(node, scope, scope)
    if node.expression.head.written == "unless":
        yes, no = no, yes

    def step(frame: Frame) -> None:
        for each in yes if is_true(find(frame)) else no:
            each(frame)

    return step


def _with(node: Block, find: Finder, scope: Scope, _place: Place) -> Step:
    yes, no = _sides(node, scope, _inner(node, scope))
    names = node.expression.block_parameters

    def step(frame: Frame) -> None:
        value = find(frame)
        if not is_there(value):
            for each in no:
                each(frame)
            return
        up = frame.up if is_same(value, frame.context) else frame
        inner = Frame(value, up, frame.loop, frame.parameters, frame.partials, frame.run)
        if names:
            inner.parameters = _named(frame, names, (value,))
        for each in yes:
            each(inner)

    return step


def _each(node: Block, find: Finder, scope: Scope, place: Place) -> Step:
    body, no = _sides(node, scope, _inner(node, scope))
    names = node.expression.block_parameters

    def step(frame: Frame) -> None:
        value = find(frame)
        items = value
        if value.__class__ is dict:
            items = value.values()
            if any(map(str.isdecimal, value)):
                frame.run.findings.append(Finding(Fault.FORM, place, _NUMBERED_KEYS))
        if not value or value.__class__ not in {dict, list}:
            for each in no:
                each(frame)
            return
        loop = Loop(value, frame.loop)
        # Nothing keeps a frame, so that one serves all items.
        inner = Frame(None, frame, loop, frame.parameters, frame.partials, frame.run)
        context = frame.context
        for loop.index, item in enumerate(items):
            inner.context = item
            inner.up = frame.up if is_same(item, context) else frame
            if names:
                inner.parameters = _named(frame, names, (item, loop.value("key")))
            for each in body:
                each(inner)

    return step


_MAKERS: dict[str, Callable[[Block, Finder, Scope, Place], Step]] = {
    "if": _if,
    "unless": _if,
    "with": _with,
    "each": _each,
}


def _inner(node: Block, scope: Scope) -> Scope:
    """Return the scope of a block that has data of its own."""
    named = node.expression.block_parameters
    return scope._replace(
        block=_tag(node),
        parameters=scope.parameters.union(named),
        hidden=scope.hidden.difference(named),
        levels=None if scope.levels is None else scope.levels + 1,
    )


def _named(frame: Frame, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    fitting = [*values, *[MISSING] * len(names)]
    return {**frame.parameters, **dict(zip(names, fitting, strict=False))}


def _inline_partial(node: Block, scope: Scope) -> tuple[str, tuple[Step, ...]]:
    head, arguments, named, parameters = node.expression
    if head.written != "inline" or len(arguments) != 1 or named or parameters:
        raise BeyondError(f"{{{{#*{head.written}}}}} on line {node.line}")
    name = arguments[0]
    if not isinstance(name, Literal) or not isinstance(name.value, str):
        raise BeyondError(f"a partial without a name on line {node.line}")
    assert node.program is not None
    hidden = scope.hidden | scope.parameters
    inner = scope._replace(block="", parameters=frozenset(), hidden=hidden, levels=0)
    return name.value, compiled(node.program, inner)


def _with_partials(defined: dict[str, tuple[Step, ...]], steps: list[Step]) -> Step:
    def step(frame: Frame) -> None:
        known = {**frame.partials, **defined}
        inner = Frame(frame.context, frame.up, frame.loop, frame.parameters, known, frame.run)
        for each in steps:
            each(inner)

    return step


def _tag(node: Print | Block) -> str:
    """Write what stands between the braces, without marks and block parameters."""
    head, arguments, named, _ = node.expression
    words = [head, *arguments, *(f"{name}={value.written}" for name, value in named)]
    text = " ".join(each if isinstance(each, str) else each.written for each in words)
    return f"{node.sort}{text}" if isinstance(node, Block) else text
