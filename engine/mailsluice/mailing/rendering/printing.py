"""`{{name}}` and the text around it, as functions that write them. Pure.

Most of a letter is text and plain variables in turn. Such a run is written at once, if every
variable is there and is a text or a whole number; if not, one by one, so that each is judged.
Whoever only judges needs each variable of a block once, and no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from mailsluice.mailing.rendering.findings import Fault, Finding, Place
from mailsluice.mailing.rendering.frames import Frame, Step
from mailsluice.mailing.rendering.paths import Scope, missing, printed
from mailsluice.mailing.rendering.tree import Path, Print
from mailsluice.mailing.rendering.values import MISSING, text_of

_FORMS = {
    dict: "an object is printed",
    list: "a list is printed",
    float: "a fraction is printed as a number; give it as a text",
    Decimal: "a number is printed that may lose digits; give it as a text",
}

SEGMENTS_MAX = 20
"""Names in a path up to which it is looked up together with others."""

Getter: TypeAlias = Callable[[Any], tuple[Any, ...]]


def unknown(place: Place, note: str) -> Step:
    """Make a function that prints nothing, and says that it may be wrong."""
    finding = Finding(Fault.UNKNOWN, place, note)
    return lambda frame: frame.run.findings.append(finding)


def variable(node: Print, path: Path, scope: Scope) -> Step:
    """Make a function that writes one variable."""
    place = scope.place(node.line, path.written)
    if doubt := scope.doubt(path):
        return unknown(place, doubt)
    find = printed(path, scope, place)
    finding_of = missing(path, scope, place)

    def write(frame: Frame) -> None:
        value = find(frame)
        if value.__class__ is str:
            frame.run.write(value)
            return
        if value is MISSING:
            frame.run.findings.append(finding_of(frame))
        elif value is None:
            frame.run.findings.append(Finding(Fault.NULL, place))
        elif value.__class__ in _FORMS:
            frame.run.findings.append(Finding(Fault.FORM, place, _FORMS[value.__class__]))
        frame.run.write(text_of(value))

    return write


class Pieces:
    """Texts and variables, to be written by one function."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._clear()

    def _clear(self) -> None:
        self._texts = [""]
        """Those before each variable, and after the last."""
        self._paths: list[Path] = []
        self._steps: list[Step] = []

    def add_text(self, value: str) -> None:
        """Add a text of the template."""
        self._texts[-1] += value

    def add(self, node: Print, path: Path) -> bool:
        """Add a variable that names the surrounding data, such as `name` or `order.total`."""
        scope = self._scope
        can_be = (
            0 < len(path.segments) <= SEGMENTS_MAX
            and not (path.up or path.is_data or "length" in path.segments)
            and not (scope.is_parameter(path) or scope.doubt(path))
        )
        if can_be and not (scope.is_judged_only and path.segments in self._known()):
            self._texts.append("")
            self._paths.append(path)
            self._steps.append(variable(node, path, scope))
        return can_be

    def steps(self) -> list[Step]:
        """Make the functions of what was added since."""
        texts, paths, steps = self._texts, self._paths, self._steps
        self._clear()
        if not paths:
            return [_text(texts[0])] if texts[0] and not self._scope.is_judged_only else []
        values_of = _getter(paths)
        if self._scope.is_judged_only:
            return [_judging(values_of, steps)]
        return [_writing(values_of, texts, steps)]

    def _known(self) -> set[tuple[str, ...]]:
        return {path.segments for path in self._paths}


def _text(value: str) -> Step:
    return lambda frame: frame.run.write(value)


def _judging(values_of: Getter, steps: Sequence[Step]) -> Step:
    def judge(frame: Frame) -> None:
        try:
            values = values_of(frame.context)
        except (KeyError, TypeError):
            values = (None,)
        for value in values:
            if value.__class__ is not str and value.__class__ is not int:
                break
        else:
            return
        for step in steps:
            step(frame)

    return judge


def _writing(values_of: Getter, texts: Sequence[str], steps: Sequence[Step]) -> Step:
    form = "%s".join(text.replace("%", "%%") for text in texts)

    def write(frame: Frame) -> None:
        try:
            values = values_of(frame.context)
        except (KeyError, TypeError):
            values = (None,)
        for value in values:
            if value.__class__ is not str and value.__class__ is not int:
                break
        else:
            frame.run.write(form % values)
            return
        for text, step in zip(texts, steps, strict=False):
            frame.run.write(text)
            step(frame)
        frame.run.write(texts[-1])

    return write


def _getter(paths: Iterable[Path]) -> Getter:
    """Make `lambda data: (data["name"], data["order"]["total"])`: four times as fast as a loop.

    It raises KeyError or TypeError if one of them is not there.
    """
    values = ("data" + "".join(f"[{name!r}]" for name in path.segments) for path in paths)
    # Nothing of the template gets into the source but names, as Python's own string literals.
    made: Getter = eval(f"lambda data: ({', '.join(values)},)", {"__builtins__": {}})  # noqa: S307
    return made
