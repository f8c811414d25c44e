"""A template that judges and renders rows. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mailsluice.mailing.rendering import printing
from mailsluice.mailing.rendering.compiling import compiled
from mailsluice.mailing.rendering.findings import Fault, Finding, Place, Verdict, verdict_of
from mailsluice.mailing.rendering.frames import Frame, Run, Step
from mailsluice.mailing.rendering.parsing import BeyondError, parse
from mailsluice.mailing.rendering.paths import Scope
from mailsluice.mailing.rendering.template_error import TemplateError
from mailsluice.mailing.rendering.tree import Block, Comment, Partial, Path, Print, Strip
from mailsluice.mailing.rendering.white_space import clean

_is_inline_name = re.compile(r"[A-Za-z][A-Za-z0-9]*").fullmatch


class Source(NamedTuple):
    """The parts of a template, as GetEmailTemplate and TemplateContent have them."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None


class Rendering(NamedTuple):
    """What becomes of one row."""

    findings: Sequence[Finding]
    subject: str | None = None
    text: str | None = None
    html: str | None = None

    @property
    def verdict(self) -> Verdict:
        """FINE only if SES is known to send it."""
        return verdict_of(self.findings)


class Template:
    """A template's parts, compiled: `Template.stored` or `Template.inline`.

    Partials are not shared between parts, as with SES.
    """

    def __init__(self, source: Source, steps_of: Callable[[str, Scope], Sequence[Step]]) -> None:
        parts = [(text, Scope(part)) for part, text in source._asdict().items() if text is not None]
        self._writing = [(scope.part, steps_of(text, scope)) for text, scope in parts]
        self._judging = [
            (scope.part, steps_of(text, scope._replace(is_judged_only=True)))
            for text, scope in parts
        ]

    @classmethod
    def stored(cls, source: Source) -> Template:
        """Compile what CreateEmailTemplate takes.

        Raises TemplateError if a part cannot be parsed.
        """
        return cls(source, _stored)

    @classmethod
    def inline(cls, source: Source) -> Template:
        """Compile a TemplateContent, which may have `{{name}}` and nothing else.

        Raises TemplateError if a part cannot be parsed, or has what SES refuses.
        """
        return cls(source, _inline)

    def judge(self, data: dict[str, Any]) -> Sequence[Finding]:
        """Say what is wrong with one row, in a third of the time that it takes to render it."""
        findings: list[Finding] = []
        frame = Frame(data, None, None, {}, {}, Run(data, _nowhere, findings))
        for part, steps in self._judging:
            _run(steps, part, frame)
        return findings

    def render(self, data: dict[str, Any]) -> Rendering:
        """Render one row, and say what is wrong with it. What is missing is rendered as nothing."""
        findings: list[Finding] = []
        texts: dict[str, str] = {}
        for part, steps in self._writing:
            written: list[str] = []
            _run(steps, part, Frame(data, None, None, {}, {}, Run(data, written.append, findings)))
            texts[part] = "".join(written)
        return Rendering(**texts, findings=findings)


def _nowhere(_text: str) -> None:
    """Write nothing."""


def _run(steps: Sequence[Step], part: str, frame: Frame) -> None:
    try:
        for step in steps:
            step(frame)
    except RecursionError:
        place = Place(part, 1, "partials that call each other")
        note = "they come to no end within Python's stack"
        frame.run.findings.append(Finding(Fault.UNKNOWN, place, note))


def _stored(source: str, scope: Scope) -> Sequence[Step]:
    try:
        program = parse(source, scope.part)
        clean(program)
        return compiled(program, scope)
    except BeyondError as error:
        place = Place(scope.part, 1, str(error))
        return [printing.unknown(place, "nothing of this part is judged")]


def _inline(source: str, scope: Scope) -> Sequence[Step]:
    try:
        program = parse(source, scope.part)
        refused = next((node for node in program.body if isinstance(node, Block | Partial)), None)
        said = f"line {refused.line}" if refused else ""
    except BeyondError as error:
        said = str(error)
    if said:
        raise TemplateError(
            f"{scope.part}, {said}: SES takes {{{{name}}}} and nothing else in inline content;"
            " store the template with SES, and name it"
        )
    tags = [node for node in program.body if isinstance(node, Print | Comment)]
    doubts = [_doubt(tag, scope.part) for tag in tags]
    return [*filter(None, doubts), *compiled(program, scope)]


def _doubt(node: Print | Comment, part: str) -> Step | None:
    if isinstance(node, Comment):
        return printing.unknown(Place(part, 1, "!"), "SES may refuse a comment in inline content")
    head = node.expression.head
    is_name = isinstance(head, Path) and head.segments == (head.written,)
    if node.is_plain and node.strip == Strip() and is_name and _is_inline_name(head.written):
        return None
    note = "SES may refuse it in inline content: write {{name}} with letters and digits only"
    return printing.unknown(Place(part, node.line, head.written), note)
