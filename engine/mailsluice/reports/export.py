"""List a journal's recipients, one line each, in constant memory except for unsettled ones."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice, repeat
from typing import Any, NamedTuple, Protocol, cast

import orjson

from mailsluice.journal import (
    STATE_CODES,
    STATES_BY_CODE,
    AddressColumns,
    Addresses,
    Event,
    Intent,
    Journal,
    Resolution,
    Settlement,
    Taken,
)
from mailsluice.journal.walk import Answered, Step, Unanswered, paired
from mailsluice.model import State
from mailsluice.model.bitmap import Bitmap
from mailsluice.model.errors import JournalError

CHUNK_ROWS = 1_000
"""Rows that are written together."""


NOWHERE = Addresses((), (), (), None)
"""Addresses of a row that was never attempted: the journal does not have them."""


class Line(NamedTuple):
    """What became of one recipient: the columns of `mailsluice export`."""

    seq: int
    key: str | None
    address: str
    """The first To address."""
    to: str
    """Several addresses are separated by a comma and a space, here and in `cc` and `bcc`."""
    cc: str
    bcc: str
    state: str
    status: str
    """SES's status or error code for the last attempt; empty if there was none."""
    message_id: str | None
    error: str | None
    """SES's text, or the reason of a refusal."""
    attempts: int
    """Calls that had this recipient."""
    at: str
    """When the state was recorded: UTC, ISO 8601."""


def lines(journal: Journal, *, running: bool = False) -> Iterator[Line]:
    """Yield all recipients that the journal knows, in the order in which they reached their state.

    Recipients in flight at the end of the records are pending if the run is `running`, otherwise in
    doubt: no process is left to record their answers. Rows that were read and never attempted come
    last, without addresses, which only the source has. Raises JournalError at a record that cannot
    be trusted, after the lines that the records before it make final.
    """
    size, reopened = None, Bitmap()
    with suppress(JournalError):  # `replay` comes to the same place, and has the lines before it
        size, reopened = journal.reopened()
    collector = _Collector(State.PENDING if running else State.IN_DOUBT, reopened)
    # No more than was counted: a run that is under way may be adding to it.
    for step in paired(islice(journal.replay(details=True), size)):
        yield from collector.take(step)
    yield from collector.rest()


_FINAL = frozenset(STATE_CODES[state] for state in (State.SENT, State.REJECTED, State.FAILED))

_new_line = partial(tuple.__new__, Line)


class _Collector:
    """Holds recipients until their state can no longer change.

    `reopened` are rows that an operator has sent once more later in the records.
    """

    def __init__(self, in_flight: State, reopened: Bitmap) -> None:
        self._in_flight = in_flight
        self._reopened = reopened
        self._any_reopened = any(True for _ in reopened)
        self._unsettled: dict[int, Line] = {}
        self._seen = Bitmap()
        self._read = 0
        self._read_at = 0.0

    def take(self, step: Step) -> Iterator[Line]:
        """Yield the lines that this step of the walk makes final."""
        match step:
            case Taken() as record:
                self._read, self._read_at = record.last, record.at
                self._seen.add(remark.seq for remark in record.remarks)
                at = utc(record.at)
                for remark in record.remarks:
                    seq, state, address, key, reason = remark
                    status = remark.status
                    yield Line(
                        seq, key, address, address, "", "", state.value, status, None, reason, 0, at
                    )
            case Intent():
                self._seen.add(step.seqs)
            case Answered(intent, settlement):
                yield from self._settle(intent, settlement)
            case Unanswered(intent):
                yield from self._leave_open(intent)
            case Resolution():
                yield from self._resolve(step)
            case Event():
                pass

    def _settle(self, intent: Intent, record: Settlement) -> Iterator[Line]:
        at = utc(record.at)
        nothing_pending = not (self._unsettled or self._any_reopened)
        if nothing_pending and _is_plain(intent.addresses) and _FINAL.issuperset(record.states):
            # Nearly all are this: ten times as fast as line by line.
            yield from _final_lines(intent, record, at)
            return
        for i, seq in enumerate(intent.seqs):
            before = self._unsettled.pop(seq, None) if self._unsettled else None
            state = STATES_BY_CODE[record.states[i]]
            line = _line(
                seq, intent.addresses.at(i), state, attempts=1 + (before.attempts if before else 0)
            )._replace(
                status=record.statuses[i],
                message_id=record.message_ids[i],
                error=record.errors[i],
                at=at,
            )
            if self._may_change(seq, state):
                self._unsettled[seq] = line
            else:
                yield line

    def _may_change(self, seq: int, state: State) -> bool:
        return state in {State.PENDING, State.IN_DOUBT} or seq in self._reopened

    def _resolve(self, record: Resolution) -> Iterator[Line]:
        self._seen.add(record.seqs)
        for place, seq in enumerate(record.seqs):
            # A single message may be given up, and a row suppressed, before it was attempted.
            before = self._unsettled.pop(seq, None) or _line(
                seq, record.addresses.at(place), State.PENDING, attempts=0
            )
            line = before._replace(
                state=record.state.value,
                status=record.status,
                error=record.reason,
                at=utc(record.at),
            )
            if self._may_change(seq, record.state):
                self._unsettled[seq] = line
            else:
                yield line

    def _leave_open(self, intent: Intent) -> Iterator[Line]:
        """Keep the recipients of a call that is in flight when the records end."""
        for place, seq in enumerate(intent.seqs):
            addresses = intent.addresses.at(place)
            before = self._unsettled.pop(seq, None)
            yield _line(
                seq, addresses, self._in_flight, attempts=1 + (before.attempts if before else 0)
            )._replace(at=utc(intent.at))

    def rest(self) -> Iterator[Line]:
        """Yield the recipients that are deferred, in doubt, or were never attempted."""
        yield from self._unsettled.values()
        at = utc(self._read_at)
        for seq in self._seen.missing(1, self._read):
            yield _line(seq, NOWHERE, State.PENDING, attempts=0)._replace(at=at)


def _is_plain(addresses: AddressColumns) -> bool:
    """Return True if every recipient has one To address, and no other."""
    several = addresses.cc or addresses.bcc or not addresses.to
    return not several and set(map(type, addresses.to)) == {str}


def _final_lines(intent: Intent, record: Settlement, at: str) -> Iterator[Line]:
    """Return the lines of a batch whose recipients have one address each, and their final state."""
    to = cast("Sequence[str]", intent.addresses.to)
    size = len(to)
    return map(
        _new_line,
        zip(
            intent.seqs,
            intent.addresses.key or repeat(None, size),
            to,
            to,
            repeat("", size),
            repeat("", size),
            [STATES_BY_CODE[code].value for code in record.states],
            record.statuses,
            record.message_ids,
            record.errors,
            repeat(1, size),
            repeat(at, size),
            strict=True,
        ),
    )


def _line(seq: int, addresses: Addresses, state: State, *, attempts: int) -> Line:
    to, cc, bcc, key = addresses
    first = to[0] if to else ""
    joined = first if len(to) < 2 else ", ".join(to)  # noqa: PLR2004  # nothing to join
    return Line(
        seq,
        key,
        first,
        joined,
        ", ".join(cc) if cc else "",
        ", ".join(bcc) if bcc else "",
        state.value,
        "",
        None,
        None,
        attempts,
        "",
    )


def utc(at: float) -> str:
    """Format seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


class Writes(Protocol):
    """What `write_csv` and `write_ndjson` need of a text file."""

    def write(self, text: str, /) -> object:
        """Append `text`."""


def write_csv(rows: Iterable[Line], out: Writes, *, defused: bool = True) -> None:
    """Write a header, then one row per recipient, with CRLF line ends (RFC 4180).

    `defused`: put an apostrophe before each cell that a spreadsheet would run as a formula (OWASP,
    "CSV Injection"): an address may begin with `=` or `+`.
    """
    writer = csv.writer(out)
    writer.writerow(Line._fields)
    some: list[Line] = []
    try:
        for row in rows:
            some.append(row)
            if len(some) == CHUNK_ROWS:
                _write_some(some, writer, out, defused=defused)
                some.clear()
    finally:
        # Also what came before a record that cannot be trusted.
        _write_some(some, writer, out, defused=defused)


def _write_some(rows: list[Line], writer: Any, out: Writes, *, defused: bool) -> None:
    text = _unquoted(rows)
    if text is None or (defused and _formula(text)):
        writer.writerows([list(map(_defused, row)) for row in rows] if defused else rows)
    else:
        out.write(text)


_FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")
_formula = re.compile(r"(?:\A|[,\n])[=+\-@\t]").search


def _defused(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_MARKS) else cell


def _unquoted(rows: list[Line]) -> str | None:
    """Return the CSV of rows if no field needs quotes, four times as fast as the `csv` module.

    None if one does: then the text has more commas, quotes or line ends than separate the fields
    and rows.
    """
    text = "".join(
        [
            f"{seq},{key or ''},{address},{to},{cc},{bcc},{state},{status},{message_id or ''},"
            f"{error or ''},{attempts},{at}\r\n"
            for (
                seq, key, address, to, cc, bcc, state, status, message_id, error, attempts, at,
            ) in rows
        ]
    )  # fmt: skip
    marks = tuple(text.count(mark) for mark in (",", "\r", "\n", '"'))
    return text if marks == (11 * len(rows), len(rows), len(rows), 0) else None


def write_ndjson(rows: Iterable[Line], out: Writes) -> None:
    """Write one JSON object per line."""
    for row in rows:
        document = dict(zip(Line._fields, row, strict=True))
        out.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode())
