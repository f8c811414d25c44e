"""Calls of inline partials, as functions that render them. Pure."""

from __future__ import annotations

from mailsluice.mailing.rendering import printing
from mailsluice.mailing.rendering.findings import Fault, Finding, Place
from mailsluice.mailing.rendering.frames import Frame, Step
from mailsluice.mailing.rendering.paths import Finder, Scope, guard
from mailsluice.mailing.rendering.tree import Argument, Call, Literal, Partial, Path


def call(node: Partial, scope: Scope) -> Step:
    """Make the function of `{{> name}}`."""
    head, arguments, named, _ = node.expression
    place = scope.place(node.line, f"> {head.written}")
    values = [*arguments, *(value for _, value in named)]
    doubts = [scope.doubt(value) for value in values if isinstance(value, Path)]
    if isinstance(head, Call) or (isinstance(head, Path) and head.is_data):
        doubts.append("which partial it is, the data say")
    if any(isinstance(each, Call) for each in values) or any(
        isinstance(each, Literal) for each in arguments
    ):
        doubts.append("a partial that is given something else than names and texts")
    if doubt := next(filter(None, doubts), ""):
        return printing.unknown(place, doubt)
    context = _argument(arguments[0], scope, place) if arguments else None
    extra = [(name, _argument(value, scope, place)) for name, value in named]
    return _calling(node, place, context, extra)


def _argument(value: Argument, scope: Scope, place: Place) -> Finder:
    if isinstance(value, Path):
        return guard(value, scope, place)
    given = value.value if isinstance(value, Literal) else None
    return lambda _frame: given


def _calling(
    node: Partial, place: Place, context_of: Finder | None, extra: list[tuple[str, Finder]]
) -> Step:
    name, indent = node.expression.head.written, node.indent

    def step(frame: Frame) -> None:
        steps = frame.partials.get(name)
        run = frame.run
        if steps is None:
            run.findings.append(Finding(Fault.PARTIAL, place))
            return
        context = context_of(frame) if context_of else frame.context
        if extra:
            if context and context.__class__ is not dict:
                run.findings.append(Finding(Fault.UNKNOWN, place, "names are added to no object"))
            own = context if context.__class__ is dict else {}
            context = {**own, **{key: find(frame) for key, find in extra}}
        inner = Frame(context, None, frame.loop, {}, frame.partials, run)
        if not indent:
            for each in steps:
                each(inner)
            return
        written: list[str] = []
        write, run.write = run.write, written.append
        for each in steps:
            each(inner)
        run.write = write
        write(_indented("".join(written), indent))

    return step


def _indented(text: str, indent: str) -> str:
    lines = text.split("\n")
    last = lines.pop()
    return "".join(f"{indent}{line}\n" for line in lines) + (indent + last if last else "")
