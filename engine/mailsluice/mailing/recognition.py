"""Finds a recipient's row in a run: by its place in the source, or by its key.

A journal keeps a fingerprint of every row that was read. When a run is resumed, each row that the
source gives is compared with it before anything of that row is sent. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from mailsluice.journal import Intent, Taken
from mailsluice.mailing import fingerprints
from mailsluice.mailing.fingerprints import KEYED_BYTES, ORDERED_BYTES
from mailsluice.model.bitmap import Bitmap
from mailsluice.sources import Row

_BUCKET_BITS = 16
_BUCKET_MASK = (1 << _BUCKET_BITS) - 1
_PRINT_LEFT_BYTES = KEYED_BYTES - _BUCKET_BITS // 8
_SEQ_BYTES = 4
_RECORD_BYTES = _PRINT_LEFT_BYTES + _SEQ_BYTES


class DifferentRowError(Exception):
    """The source gives another recipient than the one that the journal has at this row."""

    def __init__(self, seq: int, row: Row, known_as: int | None) -> None:
        super().__init__(f"row {seq} is another recipient")
        self.seq = seq
        self.row = row
        """The row that the source gives."""
        self.known_as = known_as
        """The later row that had this recipient before; None if no row is known to have had it."""


class Placed(NamedTuple):
    """Rows with their numbers."""

    seqs: Sequence[int]
    """The number of each row, in order. A `range` if they are consecutive."""
    new: range
    """Numbers of rows that are new to the journal."""
    prints: bytes
    """Fingerprints of the new rows, in order."""


class Recogniser(Protocol):
    """Numbers the rows of one run as they come."""

    known: int
    """Rows that the journal had when this process began: 1 .. `known`."""
    by_key: bool
    """True if rows may come in any order."""

    def place(self, rows: Sequence[Row]) -> Placed:
        """Return the numbers of the next rows. Raises DifferentRowError."""

    @property
    def missing(self) -> int:
        """Return how many of the known rows have not come yet."""


class Prints:
    """The fingerprints in a journal, gathered from its records."""

    def __init__(self, width: int = ORDERED_BYTES) -> None:
        self.width = width
        """Bytes per fingerprint, as in the first rows, or else as given; 0: there are none."""
        self.joined = bytearray()
        self.blank = Bitmap()
        """Rows without a fingerprint: journals of schema version 4 have none."""
        self.known = 0

    def take(self, record: Taken) -> None:
        """Add the rows of this record; they follow those added before."""
        rows = record.last - record.first + 1
        if record.prints and not self.known:
            self.width = len(record.prints) // rows
        if len(record.prints) == rows * self.width:
            self.joined += record.prints
        else:
            self.joined += bytes(rows * self.width)
            self.blank.add(range(record.first, record.last + 1))
        self.known = record.last

    @property
    def has_blanks(self) -> bool:
        """Return True if some rows have no fingerprint."""
        return any(True for _ in self.blank)

    def fill(self, intent: Intent) -> None:
        """Fill in missing fingerprints from the addresses of an attempt."""
        for place, seq in enumerate(intent.seqs):
            if seq in self.blank:
                text = fingerprints.of_attempted(intent.addresses.at(place), self.width)
                self.joined[(seq - 1) * self.width : seq * self.width] = text
                self.blank.discard([seq])

    def recogniser(self, *, by_key: bool) -> Recogniser:
        """Return what numbers the rows from here on. Call it once: it takes over the memory.

        Rows are known by their keys only if all have fingerprints that are made for it.
        """
        if by_key and self.width == KEYED_BYTES and not self.has_blanks:
            return ByKey(self)
        return InOrder(self)


class InOrder:
    """Row n of the source is row n of the run."""

    by_key = False

    def __init__(self, prints: Prints | None = None) -> None:
        prints = prints or Prints()
        self.known = prints.known
        self._width = prints.width
        self._left = prints.joined
        """Fingerprints of the known rows from `_next` on."""
        self._blank = prints.blank
        self._next = 1

    @property
    def missing(self) -> int:
        """Return how many of the known rows have not come yet."""
        return max(0, self.known + 1 - self._next)

    def place(self, rows: Sequence[Row]) -> Placed:
        """See `Recogniser.place`."""
        prints = fingerprints.of(rows, self._width)
        size = min(self.missing, len(rows)) * self._width
        if size:
            if self._left[:size] != prints[:size]:
                self._compare(rows, prints[:size])
            del self._left[:size]
        first = self._next
        self._next += len(rows)
        new = range(max(first, self.known + 1), self._next)
        return Placed(range(first, self._next), new, prints[size:])

    def _compare(self, rows: Sequence[Row], prints: bytes) -> None:
        for place, given in enumerate(_cut(prints, self._width)):
            seq = self._next + place
            at = place * self._width
            if self._left[at : at + self._width] != given and seq not in self._blank:
                raise DifferentRowError(seq, rows[place], self._known_as(given, place))

    def _known_as(self, given: bytes, place: int) -> int | None:
        """Return the row after this place that has this fingerprint."""
        at = self._left.find(given, (place + 1) * self._width)
        while at >= 0 and at % self._width:
            at = self._left.find(given, at + 1)
        return None if at < 0 else self._next + at // self._width


class ByKey:
    """A row is the one that had its key, or its addresses if it has none, wherever it comes.

    Rows that are alike (duplicates) are matched in their order. A row that is not found by its key
    may be one that had no key before. Otherwise it is new.
    """

    by_key = True

    def __init__(self, prints: Prints) -> None:
        self.known = prints.known
        self._came = Bitmap()
        self._claimed = 0
        self._last = prints.known
        self._buckets = [b""] * (1 << _BUCKET_BITS) if prints.known else []
        for seq, text in enumerate(_cut(prints.joined, KEYED_BYTES), 1):
            index, record = _split(text)
            self._buckets[index] += record + seq.to_bytes(_SEQ_BYTES, "little")
        prints.joined.clear()

    @property
    def missing(self) -> int:
        """Return how many of the known rows have not come yet."""
        return self.known - self._claimed

    def place(self, rows: Sequence[Row]) -> Placed:
        """See `Recogniser.place`; never raises."""
        prints = fingerprints.of(rows, KEYED_BYTES)
        first = self._last + 1
        if not self.missing:
            self._last += len(rows)
            return Placed(range(first, self._last + 1), range(first, self._last + 1), prints)
        seqs, new = [], []
        for text, row in zip(_cut(prints, KEYED_BYTES), rows, strict=True):
            seq = self._claim(text)
            if seq is None and (keyless := fingerprints.keyless(row)):
                seq = self._claim(keyless)
            if seq is None:
                self._last = seq = self._last + 1
                new.append(text)
            seqs.append(seq)
        return Placed(seqs, range(first, self._last + 1), b"".join(new))

    def _claim(self, text: bytes) -> int | None:
        """Claim the first known row with that fingerprint that has not come yet."""
        index, record = _split(text)
        bucket = self._buckets[index]
        at = bucket.find(record)
        while at >= 0:
            if not at % _RECORD_BYTES:
                seq = int.from_bytes(bucket[at + _PRINT_LEFT_BYTES : at + _RECORD_BYTES], "little")
                if seq not in self._came:
                    self._came.add((seq,))
                    self._claimed += 1
                    return seq
            at = bucket.find(record, at + 1)
        return None


def _cut(joined: bytes | bytearray, width: int) -> Iterator[bytes]:
    return (bytes(joined[at : at + width]) for at in range(0, len(joined), width))


def _split(text: bytes) -> tuple[int, bytes]:
    """Split a fingerprint into its bucket and the rest."""
    return int.from_bytes(text[:2], "little") & _BUCKET_MASK, text[2:]
