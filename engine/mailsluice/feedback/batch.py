"""A batch of events on its way into `feedback.db`: one transaction."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from sqlite3 import Connection
from typing import NamedTuple

from mailsluice.feedback import fate
from mailsluice.feedback.fate import Fate
from mailsluice.feedback.records import Kind, Notice, Parsed, SesEvent, Unreadable
from mailsluice.feedback.schema import (
    LAG_EDGES_S,
    ROW_BITS,
    UNTAGGED,
    Place,
    fate_of,
    listed,
    packed,
    stored,
)
from mailsluice.model.hold import without_addresses

UNREAD_MAX = 1_000
"""Unreadable bodies that are kept: the newest ones."""

UNREAD_BYTES_MAX = 64 * 1024
"""Bytes kept of each unreadable body: 64 MB in all."""

_ADD = (
    "INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
)
_JOINED = (
    "ON CONFLICT DO UPDATE SET bits = excluded.bits, first_at = excluded.first_at, "
    "took = excluded.took"
)
_REPORT = "INSERT OR IGNORE INTO report VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UNREAD = "INSERT OR IGNORE INTO unread (key, at, why, body) VALUES (?, ?, ?, ?)"
_FORGET_UNREAD = "DELETE FROM unread WHERE no <= (SELECT max(no) FROM unread) - ?"


_new = tuple.__new__  # a NamedTuple's own __new__ takes twice as long


class Change(NamedTuple):
    """What a batch of events has added to one mail."""

    run: str
    row: int
    message_id: str
    new: int
    """Bits that were not there before: a copy of an event adds none."""
    bits: int


_Mail = tuple[Fate, SesEvent]
"""What a batch says of one mail, and one of the events behind it."""


class Batch:
    """Events that share a transaction."""

    def __init__(self, connection: Connection, runs: dict[str, int], now: float) -> None:
        self.new_runs: dict[str, int] = {}
        """Numbers of runs that are durable after the transaction is committed."""
        self._connection = connection
        self._runs = runs
        self._now = now
        self._mails: dict[Place, _Mail] = {}
        self._heard: Counter[tuple[int, str]] = Counter()
        self._reports: list[tuple[object, ...]] = []
        self._unread: list[tuple[object, ...]] = []

    def take(self, parsed: Parsed) -> None:
        """Add the events of one body."""
        if isinstance(parsed, SesEvent):
            self._take_event(parsed)
            return
        self._heard[UNTAGGED, type(parsed).__name__] += 1
        if isinstance(parsed, Unreadable):
            body = parsed.body
            self._unread.append((_digest(body), self._now, parsed.why, body[:UNREAD_BYTES_MAX]))
        else:
            assert isinstance(parsed, Notice)

    def _take_event(self, event: SesEvent) -> None:
        if (tag := event.tag) is None:
            run, row = UNTAGGED, None
        else:
            run = self._runs.get(tag.run) or self._new_run(tag.run, event.sender)
            row = run << ROW_BITS | tag.row
        self._heard[run, event.kind] += 1
        if event.kind is Kind.BOUNCE or event.kind is Kind.COMPLAINT:
            self._reports.append(_report(event, row))
        told = fate.of(event)
        if row is None or not told.bits:
            return
        place = (row, packed(event.message_id))
        if (before := self._mails.get(place)) is not None:
            told = fate.join(before[0], told)
        self._mails[place] = (told, event)

    def _new_run(self, id_: str, sender: str) -> int:
        """Return the number of a run that is not durable yet."""
        no = self.new_runs.get(id_)
        if no is None:
            execute = self._connection.execute
            execute("INSERT OR IGNORE INTO run (id, sender) VALUES (?, ?)", (id_, sender))
            found: tuple[int] = execute("SELECT no FROM run WHERE id = ?", (id_,)).fetchone()
            no = self.new_runs[id_] = found[0]
        return no

    def write(self) -> list[Change]:
        """Write everything in the transaction."""
        changes = self._write_fates() if self._mails else []
        many = self._connection.executemany
        many(_ADD.format(table="heard"), [(*key, n) for key, n in self._heard.items()])
        many(_REPORT, self._reports)
        if self._unread:
            many(_UNREAD, self._unread)
            self._connection.execute(_FORGET_UNREAD, (UNREAD_MAX,))
        return changes

    def _write_fates(self) -> list[Change]:
        first_ids, known = self._known(sorted({row for row, _ in self._mails}))
        changes: list[Change] = []
        first: list[tuple[object, ...]] = []
        again: list[tuple[object, ...]] = []
        lags: Counter[tuple[int, int]] = Counter()
        for place, (told, event) in self._mails.items():
            row, id_ = place
            before = known.get(place)
            after = told
            if before is not None and (after := fate.join(before, told)) == before:
                continue
            if row not in first_ids:
                first_ids[row] = id_
                if event.sent_at is not None:
                    class_ = bisect_left(LAG_EDGES_S, self._now - event.sent_at)
                    lags[row >> ROW_BITS, class_] += 1
            (first if first_ids[row] == id_ else again).append((row, id_, *stored(after)))
            bits = after.bits
            if new := bits if before is None else bits & ~before.bits:
                assert event.tag is not None
                run, number = event.tag
                changes.append(_new(Change, (run, number, event.message_id, new, bits)))
        first.sort()  # in the order of the table: rows are unique here
        columns = "(row, id, bits, first_at, took) VALUES (?, ?, ?, ?, ?)"
        many = self._connection.executemany
        many(f"INSERT INTO fate {columns} {_JOINED}", first)
        many(f"INSERT INTO again {columns} {_JOINED}", again)
        many(_ADD.format(table="lag"), [(*key, n) for key, n in lags.items()])
        return changes

    def _known(self, rows: Sequence[int]) -> tuple[dict[int, bytes | str], dict[Place, Fate]]:
        """Return the MessageId that `fate` has for each row, and all fates of these rows."""
        known: dict[Place, Fate] = {}
        execute = self._connection.execute
        [newest] = execute("SELECT ifnull(max(row), 0) FROM fate").fetchone()
        rows = rows[: bisect_right(rows, newest)]  # half of all events are of rows beyond it
        for where, values in listed(rows):
            sql = f"SELECT row, id, bits, first_at, took FROM fate WHERE {where}"  # noqa: S608  # ours
            for row, id_, *rest in execute(sql, values):
                known[row, id_] = fate_of(*rest)
        first_ids = dict(known.keys())
        if execute("SELECT 1 FROM again LIMIT 1").fetchone():
            for where, values in listed(rows):
                sql = f"SELECT row, id, bits, first_at, took FROM again WHERE {where}"  # noqa: S608  # ours
                for row, id_, *rest in execute(sql, values):
                    known[row, id_] = fate_of(*rest)
        return first_ids, known


def _report(event: SesEvent, row: int | None) -> tuple[object, ...]:
    # SES's id is one per report, and not per mail: two addresses of one mail may bounce apart.
    identity = event.feedback_id or repr((event.at, event.recipients))
    return (
        _digest(f"{event.kind} {event.message_id} {event.tag} {identity}".encode()),
        row,
        event.message_id,
        event.kind,
        event.at,
        event.sent_at,
        event.type,
        event.sub_type,
        len(event.recipients),
        without_addresses(event.detail),
    )


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=12).digest()
