"""Where a rendering stands: what the names in a template refer to at this moment. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from mailsluice.mailing.rendering.findings import Finding
from mailsluice.mailing.rendering.values import MISSING


class Run:
    """One part of a template, rendered for one row."""

    __slots__ = ("findings", "root", "write")

    def __init__(self, root: Any, write: Callable[[str], object], findings: list[Finding]) -> None:
        self.root = root
        self.write = write
        self.findings = findings


class Loop:
    """How far an `#each` is: the names with `@`."""

    __slots__ = ("index", "items", "outer")

    def __init__(self, items: Sequence[Any] | Mapping[str, Any], outer: Loop | None) -> None:
        self.items = items
        self.outer = outer
        self.index = 0

    def value(self, name: str) -> Any:
        """Look up `@name`."""
        match name:
            case "index":
                return self.index
            case "key":
                is_object = isinstance(self.items, Mapping)
                return list(self.items)[self.index] if is_object else self.index
            case "first":
                return self.index == 0
            case "last":
                return self.index == len(self.items) - 1
            case _:
                return MISSING


class Frame:
    """What a block's names refer to."""

    __slots__ = ("context", "loop", "parameters", "partials", "run", "up")

    def __init__(  # noqa: PLR0913, PLR0917 - one for each item of each list of each row
        self,
        context: Any,
        up: Frame | None,
        loop: Loop | None,
        parameters: Mapping[str, Any],
        partials: Mapping[str, Sequence[Step]],
        run: Run,
    ) -> None:
        self.context = context
        self.up = up
        """What `..` refers to."""
        self.loop = loop
        self.parameters = parameters
        """Values by the names after `as |`."""
        self.partials = partials
        self.run = run


Step: TypeAlias = Callable[[Frame], object]
"""Renders one node."""
