"""What is wrong with a row's data for a template, and how often. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mailsluice.model.near_miss import closest

ROWS_LISTED_MAX = 10
"""Offending rows that are listed by number, for each defect."""


class Fault(enum.StrEnum):
    """A kind of defect."""

    MISSING = "missing"
    """The template prints a variable that the data lack."""
    NULL = "null"
    """The template prints a variable that is null."""
    HELPER = "helper"
    """A block's name is in the wrong case: SES knows `if`, and not `IF`."""
    PARTIAL = "partial"
    """The template uses a partial that it does not define."""
    FORM = "form"
    """The mail is sent, but how SES writes the value is not documented: an object, a fraction."""
    UNKNOWN = "unknown"
    """What SES does is not known. Never to be taken for fine."""


FAILING = frozenset({Fault.MISSING, Fault.NULL, Fault.HELPER, Fault.PARTIAL})
"""SES accepts the entry, gives a MessageId, and never sends it: a Rendering Failure."""


class Verdict(enum.StrEnum):
    """What becomes of a row."""

    FINE = "fine"
    FAILS = "fails"
    UNKNOWN = "cannot judge"


class Place(NamedTuple):
    """Where in a template something stands."""

    part: str
    """`subject`, `text` or `html`."""
    line: int
    name: str
    """The variable, partial or tag, as the template has it."""
    block: str = ""
    """The innermost `#each` or `#with` around it, whose data the name is looked up in."""


class Finding(NamedTuple):
    """One defect of a row."""

    fault: Fault
    place: Place
    note: str = ""
    """What is not known about SES, of the faults FORM and UNKNOWN."""
    beside: Mapping[str, Any] | None = None
    """The object that lacks the name."""
    outer: Mapping[str, Any] | None = None
    """The object around that one."""

    @property
    def near_miss(self) -> str | None:
        """The known name that the template may have meant."""
        name = self.place.name
        if self.fault is Fault.HELPER:
            return name.lower()
        if self.fault is not Fault.MISSING:
            return None
        if self.outer is not None and name in self.outer:
            return f"../{name}"
        path, dot, last = name.rpartition(".")
        near = closest(last, self.beside) if self.beside else None
        return f"{path}{dot}{near}" if near else None


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Judge a row by its findings."""
    faults = {finding.fault for finding in findings}
    if not faults.isdisjoint(FAILING):
        return Verdict.FAILS
    return Verdict.UNKNOWN if Fault.UNKNOWN in faults else Verdict.FINE


@dataclass(slots=True)
class Defect:
    """One fault of one name, with all rows that have it."""

    fault: Fault
    name: str
    block: str
    note: str
    count: int = 0
    """Rows."""
    rows: list[int] = field(default_factory=list)
    """The first of them, by number."""
    lines: dict[str, int] = field(default_factory=dict)
    """The parts of the template that have it, each with its first line."""
    near_miss: str | None = None


class Defects:
    """Counts findings over the rows of a list. Its size depends on the template alone."""

    def __init__(self) -> None:
        self.rows = dict.fromkeys(Verdict, 0)
        """How many rows have which verdict."""
        self._found: dict[tuple[Fault, str, str], Defect] = {}

    def __iter__(self) -> Iterator[Defect]:
        """Yield the defects, those with most rows first."""
        return iter(sorted(self._found.values(), key=lambda defect: -defect.count))

    def add(self, row: int, findings: Sequence[Finding]) -> None:
        """Count what is wrong with one row."""
        if not findings:
            self.rows[Verdict.FINE] += 1
            return
        self.rows[verdict_of(findings)] += 1
        counted = set()
        for finding in findings:
            place = finding.place
            key = finding.fault, place.name, place.block
            defect = self._found.get(key)
            if defect is None:
                defect = self._found[key] = Defect(*key, finding.note)
            defect.lines.setdefault(place.part, place.line)
            if key not in counted:
                counted.add(key)
                _count(defect, finding, row)


def _count(defect: Defect, finding: Finding, row: int) -> None:
    defect.count += 1
    if defect.count <= ROWS_LISTED_MAX:
        defect.rows.append(row)
        # One row may lack the name altogether and another have it misspelt.
        defect.near_miss = defect.near_miss or finding.near_miss
