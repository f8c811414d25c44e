"""Chooses rows of a list, in memory that does not grow with it. No I/O.

A choice takes chunk after chunk, and says when it has seen enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, Protocol

from mailsluice.checking.rows import RUN_ID, data_of
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.rendering.template import Template
from mailsluice.model import Entry
from mailsluice.model.errors import ConfigurationError
from mailsluice.sources import Row


class Chosen(NamedTuple):
    """A row that can be sent."""

    entry: Entry
    row: Row


class Choice(Protocol):
    """Chooses while the rows pass by."""

    def take(self, rows: Sequence[Row], first: int) -> bool:
        """See the next rows, of which `first` is the first; False: more need not be read."""

    def chosen(self) -> list[Chosen]:
        """Return the rows. Raises ConfigurationError if there is none."""


class _Taking:
    """Takes in single rows as a run would."""

    def __init__(self, mailing: Mailing) -> None:
        self._intake = Intake(mailing, RUN_ID, "none")
        self.read = 0

    def taken(self, number: int, row: Row) -> Chosen | str:
        """Return the row, or the reason why it is refused."""
        chunk = self._intake.number([row], number)
        return Chosen(chunk.entries[0], row) if chunk.entries else chunk.remarks[0].reason


class ByNumber(_Taking):
    """The row of a number, from 1."""

    def __init__(self, mailing: Mailing, number: int) -> None:
        super().__init__(mailing)
        self._number = number
        self._found: Chosen | str | None = None

    def take(self, rows: Sequence[Row], first: int) -> bool:
        """See `Choice.take`."""
        self.read += len(rows)
        if self._number <= self.read:
            self._found = self.taken(self._number, rows[self._number - first])
        return self._found is None

    def chosen(self) -> list[Chosen]:
        """See `Choice.chosen`."""
        if self._found is None:
            raise ConfigurationError(
                f"there is no row {self._number:,}: the list has {self.read:,}; count from 1, "
                "without the header"
            )
        if isinstance(self._found, str):
            raise ConfigurationError(
                f"row {self._number:,} is refused, and would not be sent: {self._found}; choose "
                "another, or correct the list"
            )
        return [self._found]


class ByAddress(_Taking):
    """The first row that is sent to an address."""

    def __init__(self, mailing: Mailing, address: str) -> None:
        super().__init__(mailing)
        self._address = address.strip().lower()
        self._found: Chosen | None = None

    def take(self, rows: Sequence[Row], first: int) -> bool:
        """See `Choice.take`."""
        for number, row in enumerate(rows, first):
            recipient = row.recipient
            if recipient is None or self._address not in (
                f"{recipient.to}\n{recipient.cc}\n{recipient.bcc}".lower()
            ):
                continue
            found = self.taken(number, row)
            if isinstance(found, Chosen) and self._address in _bare(found.entry):
                self._found = found
                return False
        return True

    def chosen(self) -> list[Chosen]:
        """See `Choice.chosen`."""
        if self._found is None:
            raise ConfigurationError(
                "no row that can be sent has that address; look for it in the list, or choose a "
                "row by --row"
            )
        return [self._found]


class Longest(_Taking):
    """The row with the longest message."""

    def __init__(self, mailing: Mailing, template: Template) -> None:
        super().__init__(mailing)
        self._mailing = mailing
        self._template = template
        self._length = -1
        self._found: Chosen | None = None

    def take(self, rows: Sequence[Row], first: int) -> bool:
        """See `Choice.take`."""
        for number, row in enumerate(rows, first):
            if row.recipient is None:
                continue
            found = self.taken(number, row)
            if isinstance(found, str):
                continue
            rendering = self._template.render(data_of(self._mailing.data, row))
            length = sum(map(len, filter(None, rendering[1:])))
            if length > self._length:
                self._length, self._found = length, found
        return True

    def chosen(self) -> list[Chosen]:
        """See `Choice.chosen`."""
        return _some([self._found] if self._found else [])


class Sampled(_Taking):
    """Rows at random, the same ones each time, in the order of the list."""

    def __init__(self, mailing: Mailing, size: int) -> None:
        super().__init__(mailing)
        self._size = size
        self._random = Random(0)
        self._kept: list[Chosen] = []

    def take(self, rows: Sequence[Row], first: int) -> bool:
        """See `Choice.take`."""
        for number, row in enumerate(rows, first):
            # The n-th row is kept with the chance size / n (reservoir sampling).
            place = len(self._kept)
            if place == self._size:
                place = self._random.randrange(number)
            if place < self._size and isinstance(found := self.taken(number, row), Chosen):
                self._kept[place : place + 1] = [found]
        return True

    def chosen(self) -> list[Chosen]:
        """See `Choice.chosen`."""
        return _some(sorted(self._kept, key=lambda each: each.entry.seq))


def _some(chosen: list[Chosen]) -> list[Chosen]:
    if not chosen:
        raise ConfigurationError("the list has no row that can be sent; see `mailsluice check`")
    return chosen


def _bare(entry: Entry) -> Iterator[str]:
    for address in (*entry.to, *entry.cc, *entry.bcc):
        yield address.rpartition("<")[2].removesuffix(">").lower()
