"""Expressions of a template as functions that find their value. Pure.

Two kinds: what is printed must be there, and what a block asks for need not. Only the last name of
a path may be missing in a block, as in `#if order.total` if there is an `order`: Handlebars is
strict about the others, and what SES does is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from mailsluice.mailing.rendering.findings import Fault, Finding, Place
from mailsluice.mailing.rendering.frames import Frame
from mailsluice.mailing.rendering.tree import Path
from mailsluice.mailing.rendering.values import MISSING, member

Finder: TypeAlias = Callable[[Frame], Any]

_LENGTH = "SES may know no length of a list"
_BEYOND = "it looks for a value in something that is missing, null or no object"


class Scope(NamedTuple):
    """Where in a template an expression stands."""

    part: str
    block: str = ""
    parameters: frozenset[str] = frozenset()
    """Names after `as |` of the blocks around it."""
    hidden: frozenset[str] = frozenset()
    """Those that a partial between them hides."""
    levels: int | None = None
    """Blocks with data of their own between it and its partial; None outside of partials."""
    is_judged_only: bool = False
    """True if nothing need be written."""

    def place(self, line: int, name: str) -> Place:
        """Name a place here."""
        return Place(self.part, line, name, self.block)

    def doubt(self, path: Path) -> str:
        """Say why a path cannot be followed; empty if it can."""
        if path.is_data and not path.segments:
            return "no Handlebars documentation says what it means"
        if self.levels is not None and path.up > self.levels:
            return "what .. leads to from within a partial is not documented"
        if _first_name(path) in self.hidden:
            return "a partial may not know the block parameters around it"
        return ""

    def is_parameter(self, path: Path) -> bool:
        """Return True if a path begins with a name after `as |`."""
        return _first_name(path) in self.parameters


def _first_name(path: Path) -> str | None:
    """Return the name that a path begins with, if it can be a block parameter."""
    can_be = not path.up and not path.is_scoped and path.segments
    return path.segments[0] if can_be else None


def printed(path: Path, scope: Scope, place: Place) -> Finder:
    """Make a function that finds what `{{path}}` prints; MISSING if a name is missing."""
    base, names = _base(path, scope)
    if not names:
        return base
    if len(names) == 1 and base is _context:
        return _context_member(names[0], place)

    def find(frame: Frame) -> Any:
        value = base(frame)
        for name in names:
            if name == "length" and value.__class__ is list:
                frame.run.findings.append(Finding(Fault.UNKNOWN, place, _LENGTH))
                value = len(value)
            else:
                value = member(value, name)
        return value

    return find


def guard(path: Path, scope: Scope, place: Place) -> Finder:
    """Make a function that finds what a block asks for; MISSING is one of the answers."""
    base, names = _base(path, scope)
    is_one_name = base is _context and len(names) == 1
    if path.is_data and path.up:
        base = _doubted(base, place)

    def find(frame: Frame) -> Any:
        # Nearly every condition is one name of an object.
        if is_one_name and frame.context.__class__ is dict:
            return frame.context.get(names[0], MISSING)
        value = base(frame)
        for name in names:
            if value is None or value is MISSING:
                frame.run.findings.append(Finding(Fault.UNKNOWN, place, _BEYOND))
                return MISSING
            if name == "length" and value.__class__ in {list, str}:
                frame.run.findings.append(Finding(Fault.UNKNOWN, place, _LENGTH))
                value = len(value)
            else:
                value = member(value, name)
        return value

    return find


def missing(path: Path, scope: Scope, place: Place) -> Callable[[Frame], Finding]:
    """Make a function that says that the path is missing, and what there is in its stead."""
    base, names = _base(path, scope)
    is_simple = len(path.segments) == 1 and not path.up and not path.is_data

    def find(frame: Frame) -> Finding:
        value = base(frame)
        for name in names[:-1]:
            value = member(value, name)
        outer = frame.up.context if is_simple and frame.up else None
        return Finding(Fault.MISSING, place, "", _object(value), _object(outer))

    return find


def _object(value: Any) -> dict[str, Any] | None:
    return value if value.__class__ is dict else None


def _base(path: Path, scope: Scope) -> tuple[Finder, tuple[str, ...]]:
    """Return what finds where a path begins, and the names to follow from there."""
    if scope.is_parameter(path):
        return _parameter(path.segments[0]), path.segments[1:]
    if path.is_data:
        if path.segments[0] == "root":
            return _root, path.segments[1:]
        return _loop_value(path.up, path.segments[0]), path.segments[1:]
    return _ancestor(path.up), path.segments


def _context(frame: Frame) -> Any:
    return frame.context


def _root(frame: Frame) -> Any:
    return frame.run.root


def _parameter(name: str) -> Finder:
    return lambda frame: frame.parameters[name]


def _context_member(name: str, place: Place) -> Finder:
    def find(frame: Frame) -> Any:
        context = frame.context
        if context.__class__ is dict:
            return context.get(name, MISSING)
        if name == "length" and context.__class__ is list:
            frame.run.findings.append(Finding(Fault.UNKNOWN, place, _LENGTH))
            return len(context)
        return member(context, name)

    return find


def _ancestor(up: int) -> Finder:
    if not up:
        return _context

    def find(frame: Frame) -> Any:
        found: Frame | None = frame
        for _ in range(up):
            found = found.up if found else None
        return found.context if found else MISSING

    return find


def _doubted(base: Finder, place: Place) -> Finder:
    def find(frame: Frame) -> Any:
        value = base(frame)
        if value is MISSING:
            frame.run.findings.append(Finding(Fault.UNKNOWN, place, _BEYOND))
        return value

    return find


def _loop_value(up: int, name: str) -> Finder:
    def find(frame: Frame) -> Any:
        loop = frame.loop
        for _ in range(up):
            loop = loop.outer if loop else None
        return loop.value(name) if loop else MISSING

    return find
