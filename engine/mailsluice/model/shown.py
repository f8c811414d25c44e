"""The `repr` of long-lived objects: their statistics in one line. Pure."""

from __future__ import annotations

from dataclasses import asdict

from mailsluice.model import Counts


def shown(owner: object, *parts: str) -> str:
    """Return `<Type: part, part>`; empty parts are left out."""
    return f"<{type(owner).__name__}: {', '.join(filter(None, parts))}>"


def counted(counts: Counts) -> str:
    """Return the counts that are not 0, as "read 12, sent 9, pending 3"."""
    return ", ".join(f"{name} {number:,}" for name, number in asdict(counts).items() if number)


def numbered(number: int, what: str) -> str:
    """Return "3 in flight"; empty for 0."""
    return f"{number:,} {what}" if number else ""
