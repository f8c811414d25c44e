"""A text that is no template."""

from __future__ import annotations

from typing import Self

from mailsluice.model.errors import ConfigurationError


class TemplateError(ConfigurationError):
    """A part of a template cannot be parsed; the message names part, line and column."""

    @classmethod
    def at(cls, part: str, source: str, offset: int, text: str) -> Self:
        """Say what is wrong at a character of a part."""
        before = source[:offset]
        column = offset - (before.rfind("\n") + 1) + 1
        return cls(f"{part}, line {before.count(chr(10)) + 1}, column {column}: {text}")
