"""The tables of `feedback.db`, and how values stand in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mailsluice.feedback.fate import Fate
from mailsluice.feedback.records import ROW_MAX

APPLICATION_ID = 0x4D534642
"""`PRAGMA application_id`: "MSFB"."""

ROW_BITS = ROW_MAX.bit_length()

SELECTED_ROWS = 500
"""Rows in one SELECT."""

LAG_EDGES_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 43_200, 86_400)
"""How long after SES had accepted a mail it was first heard of: upper ends of the classes."""

UNTAGGED = 0
"""The run number of events that belong to no run."""

SCHEMA = """
PRAGMA user_version = 1;

CREATE TABLE run (
    no     INTEGER PRIMARY KEY,    -- from 1, in the order in which runs were first heard of
    id     TEXT NOT NULL UNIQUE,
    sender TEXT NOT NULL           -- domain of the From address
) STRICT;

-- The first MessageId that was heard of for a row; `again` has any other.
CREATE TABLE fate (
    row      INTEGER PRIMARY KEY,  -- run.no << 40 | row
    bits     INTEGER NOT NULL,
    first_at INTEGER,              -- seconds since the epoch
    took     INTEGER,              -- seconds from the first to the last event
    id       ANY NOT NULL          -- MessageId, packed if it has SES's usual form
) STRICT;

CREATE TABLE again (
    row INTEGER NOT NULL, id ANY NOT NULL,
    bits INTEGER NOT NULL, first_at INTEGER, took INTEGER,
    PRIMARY KEY (row, id)
) STRICT, WITHOUT ROWID;

-- Bounces and complaints, once each.
CREATE TABLE report (
    key        BLOB PRIMARY KEY,   -- hash of SES's id of it
    row        INTEGER,            -- as in fate; NULL for untagged mail
    message_id TEXT NOT NULL,
    kind       TEXT NOT NULL,
    at         REAL,
    sent_at    REAL,
    type       TEXT NOT NULL,
    sub_type   TEXT NOT NULL,
    addresses  INTEGER NOT NULL,   -- how many the report names
    detail     TEXT NOT NULL       -- without addresses
) STRICT;

-- Every copy counts. Run 0: mail of other programs.
CREATE TABLE heard (
    run INTEGER NOT NULL, kind TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (run, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE lag (
    run INTEGER NOT NULL, class INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (run, class)
) STRICT, WITHOUT ROWID;

-- How far files with events have been read.
CREATE TABLE file (
    name TEXT PRIMARY KEY, version TEXT NOT NULL, position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE unread (
    no   INTEGER PRIMARY KEY,
    key  BLOB NOT NULL UNIQUE,
    at   REAL NOT NULL,
    why  TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
"""

_usual_id = re.compile(
    r"[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]{6}"
).fullmatch

_new = tuple.__new__  # a NamedTuple's own __new__ takes twice as long

Place = tuple[int, bytes | str]
"""Run and row, and the packed MessageId."""


def listed(rows: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield conditions that together find these rows, and their values."""
    for begin in range(0, len(rows), SELECTED_ROWS):
        part = rows[begin : begin + SELECTED_ROWS]
        yield f"row IN ({','.join('?' * len(part))})", part


def packed(message_id: str) -> bytes | str:
    """Pack a MessageId: 54 hexadecimal digits in 27 bytes, if it has SES's usual form."""
    return bytes.fromhex(message_id.replace("-", "")) if _usual_id(message_id) else message_id


def unpacked(id_: bytes | str) -> str:
    """Unpack a MessageId."""
    if isinstance(id_, str):
        return id_
    hex_ = id_.hex()
    uuid = f"{hex_[16:24]}-{hex_[24:28]}-{hex_[28:32]}-{hex_[32:36]}-{hex_[36:48]}"
    return f"{hex_[:16]}-{uuid}-{hex_[48:]}"


def fate_of(bits: int, first_at: int | None, took: int | None) -> Fate:
    """Read the fate in a row."""
    last_at = None if first_at is None or took is None else first_at + took
    return _new(Fate, (bits, first_at, last_at))


def stored(found: Fate) -> tuple[int, int | None, int | None]:
    """Return the columns of a fate."""
    bits, first_at, last_at = found
    return bits, first_at, None if first_at is None or last_at is None else last_at - first_at
