"""The ledger: every entry that the emulator accepted, in memory or appended to a file.

In memory a call is one block of JSON, about 165 bytes a recipient with two tags: 1,000,000 entries
take some 165 MB. With a file nothing stays in memory, and the queries read the file. A line of it,
and of `Ledger.lines`, is one accepted entry:

    {"message_id": "0100…-000000", "call": 7, "at": 1732312345.5, "to": ["a@example.com"], "cc": [],
     "bcc": [], "tags": {"mailsluice-id": "…"}, "template": "welcome", "event": "Delivery",
     "sub_type": null, "error": null}
"""

from __future__ import annotations

import os
import secrets
from bisect import bisect_left
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from mailsluice.emulator import mailboxes
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mailsluice.emulator.submission import Entry

ID_TAG = "mailsluice-id"
"""The tag by which mailsluice names a recipient in a run."""

RENDERING_FAILURE = mailboxes.Event("Rendering Failure", None)
"""The event of an entry whose data do not fit the template: no mail is sent."""

LINES_BYTES = 64 * 1024
"""Bytes of the file read at a time."""


class Accepted(NamedTuple):
    """One accepted entry."""

    message_id: str
    call: int
    """Number of the SendBulkEmail call, from 1 since the start of the emulator."""
    at: float
    """Seconds since the epoch."""
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    tags: dict[str, str]
    template: str
    """Name or ARN; empty for inline content."""
    event: str
    """`eventType` of the last event that SES publishes about the message, without a script."""
    sub_type: str | None
    """`bounceSubType`; None if the event is no bounce."""
    error: str | None = None
    """`errorMessage`; None if the event is no Rendering Failure."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All To, Cc and Bcc addresses."""
        return (*self.to, *self.cc, *self.bcc)


class _Block(NamedTuple):
    call: int
    at: float
    template: str
    first: int
    """Serial number of the first message."""
    rows: bytes
    """JSON: a list of [to, cc, bcc, tags], and the error for entries that could not be rendered."""


class Ledger:
    """All accepted entries, in memory or in a file to which it appends.

    Raises ConfigurationError if the file cannot be opened.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file = None if path is None else _open(path)
        self._blocks: list[_Block] = []
        self._run = secrets.token_hex(10)
        self._count = 0

    def __len__(self) -> int:
        """Count the entries accepted since the ledger was opened."""
        return self._count

    def record(
        self,
        entries: Sequence[Entry],
        template: str,
        call: int,
        at: float,
        errors: Mapping[int, str] | None = None,
    ) -> list[str]:
        """Record the accepted entries of a call. Return their message ids.

        `errors` are SES's texts for entries that cannot be rendered, by position. With a file, the
        entries are with the operating system on return: a killed emulator loses nothing that it
        has answered.
        """
        ids = self._message_ids(at, self._count, len(entries))
        rows: list[tuple[Any, ...]] = [entry[:4] for entry in entries]
        for position, error in (errors or {}).items():
            rows[position] += (error,)
        if self._file is None:
            self._blocks.append(_Block(call, at, template, self._count, orjson.dumps(rows)))
        else:
            _write(self._file, b"".join(map(_line, _together(rows, ids, template, call, at))))
        self._count += len(entries)
        return ids

    def entries(self, since: int = 0) -> Iterator[Accepted]:
        """Iterate over everything accepted so far, in order; later entries are not included.

        `since` leaves out the first entries: the value that `len` had at an earlier moment.
        """
        if self._path is None:
            first = bisect_left(self._blocks, since, key=lambda block: block.first)
            for block in self._blocks[first:]:
                yield from self._entries_of(block)
        else:
            with self._path.open("rb") as file:
                lines = (line for line in file if line.endswith(b"\n"))
                yield from map(_accepted, islice(lines, since, None))

    def lines(self) -> Iterator[bytes]:
        """Iterate over the same as NDJSON, in pieces of many lines."""
        if self._path is None:
            for block in self._blocks[:]:
                yield b"".join(map(_line, self._entries_of(block)))
        else:
            with self._path.open("rb") as file:
                while piece := file.read(LINES_BYTES):
                    yield piece

    def to(self, address: str) -> list[Accepted]:
        """Return the entries accepted for this address, as To, Cc or Bcc."""
        return [accepted for accepted in self.entries() if address in accepted.addresses]

    def by_address(self) -> Counter[str]:
        """Count the messages accepted for each address."""
        return Counter(address for accepted in self.entries() for address in accepted.addresses)

    def by_tag(self, name: str = ID_TAG) -> Counter[str]:
        """Count the messages accepted for each value of a tag; messages without it are left out."""
        return Counter(accepted.tags[name] for accepted in self.entries() if name in accepted.tags)

    def duplicates(self, name: str = ID_TAG) -> dict[str, int]:
        """Return the values of a tag that occurred more than once, with their counts."""
        return {value: times for value, times in self.by_tag(name).items() if times > 1}

    def close(self) -> None:
        """Close the file. What was accepted can still be read."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _message_ids(self, at: float, first: int, count: int) -> list[str]:
        run = self._run
        prefix = f"0100{int(at * 1000):012x}-{run[:8]}-{run[8:12]}-{run[12:16]}-{run[16:20]}-"
        return [f"{prefix}{serial:012x}-000000" for serial in range(first, first + count)]

    def _entries_of(self, block: _Block) -> Iterator[Accepted]:
        rows = orjson.loads(block.rows)
        ids = self._message_ids(block.at, block.first, len(rows))
        return _together(rows, ids, block.template, block.call, block.at)


def _together(
    rows: Iterable[Sequence[Any]], ids: list[str], template: str, call: int, at: float
) -> Iterator[Accepted]:
    for message_id, (to, cc, bcc, tags, *error) in zip(ids, rows, strict=True):
        event = RENDERING_FAILURE if error else mailboxes.event((*to, *cc, *bcc))
        yield Accepted(
            message_id, call, at, tuple(to), tuple(cc), tuple(bcc), tags, template, *event, *error
        )


def _line(accepted: Accepted) -> bytes:
    return orjson.dumps(accepted._asdict(), option=orjson.OPT_APPEND_NEWLINE)


def _accepted(line: bytes) -> Accepted:
    fields: dict[str, Any] = orjson.loads(line)
    for name in ("to", "cc", "bcc"):
        fields[name] = tuple(fields[name])
    return Accepted(**fields)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the ledger cannot be opened: {error.strerror}; name a file in a folder that "
            "exists and can be written"
        ) from error


def _write(file: int, lines: bytes) -> None:
    written = os.write(file, lines)
    while written < len(lines):
        written += os.write(file, lines[written:])
