"""`feedback.db`: what was heard of every recipient, durable before an event is deleted anywhere.

It lives apart from journals. Events come for weeks after a run has ended and its journal is closed;
a journal has one writer, and events of many runs come from one queue. What a run's journal needs to
know of them, proofs about recipients in doubt, is asked for by `fates`.

Whoever takes events from a queue calls `record` with a batch of them, and deletes them when it has
returned. A crash in between brings the same events again, which changes nothing: fates are joined
(`fate.join`), and bounces and complaints have identities of their own. Events of runs and rows that
nobody here knows are kept like all others, because an event may come before the answer that it is
about.

A row takes about 50 bytes: one number for run and row, the bits, first and last second, and the
MessageId, whose 54 hexadecimal digits are packed into 27 bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mailsluice.database import Database
from mailsluice.feedback import fate
from mailsluice.feedback.batch import Batch, Change
from mailsluice.feedback.fate import Fate
from mailsluice.feedback.records import ROW_MAX, Kind, Parsed
from mailsluice.feedback.schema import (
    APPLICATION_ID,
    LAG_EDGES_S,
    ROW_BITS,
    SCHEMA,
    UNTAGGED,
    fate_of,
    listed,
    packed,
    unpacked,
)

LAGS_LOOKED_AT = 1_000
"""Newest bounces that say how long a bounce takes."""


class Report(NamedTuple):
    """A bounce or complaint as it was kept."""

    message_id: str
    kind: str
    at: float | None
    type: str
    sub_type: str
    addresses: int
    detail: str


class Mark(NamedTuple):
    """How far a file has been read."""

    name: str
    version: str
    """Another one if the file has been replaced."""
    position: int
    """Bytes."""


class FeedbackStore:
    """`feedback.db`, for one thread at a time; any number of processes may have it open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._runs: dict[str, int] = {}

    @classmethod
    def open(cls, path: Path) -> FeedbackStore:
        """Open the file; create it if it is missing. Raises StoreError."""
        return cls(Database.open(path, APPLICATION_ID, SCHEMA, "a feedback store"))

    def close(self) -> None:
        """Close it. Safe to call twice."""
        self._database.close()

    def record(
        self, parsed: Iterable[Parsed], now: float, marks: Iterable[Mark] = ()
    ) -> list[Change]:
        """Keep what a batch says; durable on return. Raises StoreError, and then kept nothing.

        `marks` say how far the files have been read from which the batch comes.

        Copies of events, in one batch or in two, are kept once. A batch of a thousand costs about
        5 µs an event; smaller ones share the price of a commit among fewer.
        """
        runs: dict[str, int] = {}
        with self._database.transaction() as connection:
            batch = Batch(connection, self._runs, now)
            for each in parsed:
                batch.take(each)
            changes = batch.write()
            connection.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?)", marks)
            runs = batch.new_runs
        self._runs |= runs
        return changes

    def fates(self, run: str, rows: Sequence[int] | None = None) -> dict[int, dict[str, Fate]]:
        """Return the fates of rows of a run (None: all), by MessageId. Silent rows are left out."""
        no = self._number(run)
        if no is None:
            return {}
        found: dict[int, dict[str, Fate]] = {}
        for where, values in _ranges(no, rows):
            for table in ("fate", "again"):
                sql = f"SELECT row, id, bits, first_at, took FROM {table} WHERE {where}"  # noqa: S608  # ours
                for row, id_, *rest in self._database.read(sql, *values):
                    found.setdefault(row & ROW_MAX, {})[unpacked(id_)] = fate_of(*rest)
        return found

    def tally(self, run: str) -> Counter[int]:
        """How many rows of a run have which bits: those of a row's last mail."""
        no = self._number(run)
        if no is None:
            return Counter()
        [(where, values)] = _ranges(no, None)
        sql = f"SELECT bits, count(*) FROM fate WHERE {where} GROUP BY bits"  # noqa: S608  # ours
        counts = Counter(dict(self._database.read(sql, *values)))
        sql = f"SELECT DISTINCT row FROM again WHERE {where}"  # noqa: S608  # ours
        several = [row & ROW_MAX for (row,) in self._database.read(sql, *values)]
        firsts = self._database.read(
            f"SELECT bits FROM fate WHERE row IN (SELECT row FROM again WHERE {where})",  # noqa: S608
            *values,
        )
        counts.subtract(bits for (bits,) in firsts)
        for fates in self.fates(run, several).values() if several else ():
            counts[fate.latest(fates).bits] += 1
        return +counts

    def past(self, sender: str, most: int, since: float = 0.0) -> list[int]:
        """Bits of the last mails of a sender's domain, the oldest first; not those before `since`.

        The evidence that a new mailing begins with.
        """
        found: list[int] = []
        runs = self._database.read("SELECT no FROM run WHERE sender = ? ORDER BY no DESC", sender)
        for (no,) in list(runs):
            [(where, values)] = _ranges(no, None)
            rows = self._database.read(
                f"SELECT bits FROM fate WHERE {where} AND ifnull(first_at, 0) >= ? "  # noqa: S608
                "ORDER BY row DESC LIMIT ?",
                *values,
                since,
                most - len(found),
            )
            found += [bits for (bits,) in rows]
            if len(found) >= most:
                break
        return found[::-1]

    def bounce_lags(self) -> list[float]:
        """Seconds from SES's answer to the report of a bounce, of the newest ones, sorted."""
        rows = self._database.read(
            "SELECT at - sent_at FROM report WHERE kind = ? AND at >= sent_at AND type = ? "
            "ORDER BY rowid DESC LIMIT ?",
            Kind.BOUNCE,
            "Permanent",
            LAGS_LOOKED_AT,
        )
        return sorted(lag for (lag,) in rows)

    def heard_within(self, run: str | None) -> list[tuple[int | None, int]]:
        """In how many seconds at most how many rows of a run were first heard of; None: longer.

        `run` None: of all runs.
        """
        rows = self._database.read(
            "SELECT class, sum(count) FROM lag WHERE ?1 OR run = ?2 GROUP BY class ORDER BY class",
            run is None,
            None if run is None else self._number(run),
        )
        edges: tuple[int | None, ...] = (*LAG_EDGES_S, None)
        return [(edges[class_], count) for class_, count in rows]

    def heard(self, run: str | None) -> dict[str, int]:
        """How many events of each kind have come, every copy counted; None: of no run."""
        no = UNTAGGED if run is None else self._number(run)
        return dict(self._database.read("SELECT kind, count FROM heard WHERE run = ?", no))

    def heard_in_all(self) -> dict[str, int]:
        """Return how many events of each kind have come of all runs, every copy counted."""
        sql = "SELECT kind, sum(count) FROM heard WHERE run <> ? GROUP BY kind"
        return dict(self._database.read(sql, UNTAGGED))

    def of_message(self, message_id: str) -> tuple[str, int, Fate] | None:
        """Return the run, the row and the fate of a mail; None if nothing was heard of it.

        The first call makes an index, which takes a second a million rows, and 40 bytes for each.
        """
        with self._database.transaction() as connection:
            connection.execute("CREATE INDEX IF NOT EXISTS fate_id ON fate (id)")
            connection.execute("CREATE INDEX IF NOT EXISTS again_id ON again (id)")
        for table in ("fate", "again"):
            rows = self._database.read(
                f"SELECT run.id, row, bits, first_at, took FROM {table} "  # noqa: S608  # ours
                f"JOIN run ON run.no = row >> {ROW_BITS} WHERE {table}.id = ?",
                packed(message_id),
            )
            for run, row, *rest in rows:
                return run, row & ROW_MAX, fate_of(*rest)
        return None

    def rows(self, run: str) -> Iterator[int]:
        """Iterate over the rows of a run of which anything has been heard."""
        if (no := self._number(run)) is None:
            return
        [(where, values)] = _ranges(no, None)
        for (row,) in self._database.read(f"SELECT row FROM fate WHERE {where}", *values):  # noqa: S608  # ours
            yield row & ROW_MAX

    def reports(self, run: str, row: int) -> list[Report]:
        """Bounces and complaints of a row, in the order of their times."""
        no = self._number(run)
        rows = self._database.read(
            "SELECT message_id, kind, at, type, sub_type, addresses, detail FROM report "
            "WHERE row = ? ORDER BY at, key",
            None if no is None else no << ROW_BITS | row,
        )
        return [Report(*each) for each in rows]

    def marks(self) -> dict[str, Mark]:
        """Return how far each file has been read, by name."""
        rows = self._database.read("SELECT name, version, position FROM file")
        return {name: Mark(name, *rest) for name, *rest in rows}

    def unread(self) -> list[tuple[float, str, bytes]]:
        """When, why, and what: bodies that could not be read, the oldest first."""
        rows = self._database.read("SELECT at, why, body FROM unread ORDER BY no")
        return [(at, why, body) for at, why, body in rows]

    def _number(self, run: str) -> int | None:
        if (known := self._runs.get(run)) is None:
            for (no,) in self._database.read("SELECT no FROM run WHERE id = ?", run):
                known = self._runs[run] = no
        return known


def _ranges(no: int, rows: Sequence[int] | None) -> Iterator[tuple[str, Sequence[int]]]:
    """Conditions that together find these rows of a run, or all of them."""
    if rows is None:
        yield "row BETWEEN ? AND ?", (no << ROW_BITS, no << ROW_BITS | ROW_MAX)
    else:
        yield from listed([no << ROW_BITS | row for row in rows])
