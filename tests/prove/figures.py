"""What a proof prints: figures, each with its goal."""

from __future__ import annotations

from typing import Literal, NamedTuple

Size = Literal["short", "full"]
"""short: in every test run, some seconds; full: for `make prove`, up to a quarter of an hour."""


class Figure(NamedTuple):
    """One line of the table."""

    name: str
    goal: str
    found: str
    good: bool


class Proved(NamedTuple):
    """What a proof came to."""

    figures: list[Figure]
    details: list[str] = []  # noqa: RUF012  # never written to
    """Lines for whoever wants to see more than the table."""


def exactly(name: str, wanted: int, found: int) -> Figure:
    """A count that must be this one."""
    return Figure(name, f"{wanted:,}", f"{found:,}", found == wanted)


def at_least(name: str, wanted: int, found: int) -> Figure:
    """How much was tried: a figure of 0 in the lines below it says nothing without that."""
    return Figure(name, f"≥ {wanted:,}", f"{found:,}", found >= wanted)


def at_most(name: str, wanted: int, found: int) -> Figure:
    """A count that must not be more."""
    return Figure(name, f"≤ {wanted:,}", f"{found:,}", found <= wanted)


def told(name: str, found: str) -> Figure:
    """Something to know, with no goal of its own."""
    return Figure(name, "", found, good=True)
