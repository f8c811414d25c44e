"""The schema of the SQLite journal, and every SQL statement that reads or writes its tables."""

from __future__ import annotations

APPLICATION_ID = 0x4D534C43
"""`PRAGMA application_id`: "MSLC", which tells a journal from other databases."""

SCHEMA_VERSION = 5
"""`PRAGMA user_version`."""

UPGRADED_VERSION = 4
"""The version before, without fingerprints: readers read it as it is, a writer upgrades it."""

PAGE_BYTES = 8192
"""A settlement of 50 recipients is about 4 KB: two fit a page without overflow."""

SCHEMA = f"""
PRAGMA page_size = {PAGE_BYTES};  -- before the transaction: within it, it is passed over
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};

-- The run that this journal belongs to: one row, JSON.
CREATE TABLE run (
    body BLOB NOT NULL,
    seal INTEGER NOT NULL     -- CRC-32 of the body
) STRICT;

-- Everything that happened, in the order in which it became durable. Never updated or deleted.
CREATE TABLE record (
    id     INTEGER PRIMARY KEY,
    at     REAL NOT NULL,     -- seconds since the epoch
    kind   TEXT NOT NULL,     -- taken, intent, settlement, resolution, event
    number INTEGER,           -- batch of an intent or settlement; first row of a taken
    rows   BLOB,              -- JSON: rows of an intent or resolution; last row of a taken, and
                              -- size and SHA-256 of what of the source had been read by then
    states TEXT,              -- one letter a recipient of a settlement
    weight INTEGER,           -- addresses of an intent that count to the daily quota
    prints BLOB,              -- fingerprints of the rows of a taken, 4 or 8 bytes each
    body   BLOB,              -- JSON: the details
    body_seal INTEGER NOT NULL,  -- CRC-32 of the body
    seal   INTEGER NOT NULL   -- CRC-32 of the other columns, begun with the seal before
) STRICT;
COMMIT;
"""

INSERT = """
INSERT INTO record (id, at, kind, number, rows, states, weight, prints, body, body_seal, seal)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

UPGRADE = f"""
BEGIN IMMEDIATE;
ALTER TABLE record ADD COLUMN prints BLOB;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

LAST_RECORD = "SELECT id, seal FROM record ORDER BY id DESC LIMIT 1"

ANY_TAKEN = "SELECT 1 FROM record WHERE kind = 'taken' LIMIT 1"

REPLAY = """
SELECT id, at, kind, number, rows, states, weight, prints, body, body_seal, seal
FROM record ORDER BY id
"""

REPLAY_4 = REPLAY.replace("prints", "NULL")

RESOLUTIONS = """
SELECT at, kind, number, rows, states, weight, NULL, body FROM record
WHERE kind = 'resolution' AND id <= ? ORDER BY id
"""

FORGET_RUN = "DELETE FROM run"

INSERT_RUN = "INSERT INTO run (body, seal) VALUES (?, ?)"

READ_RUN = "SELECT body, seal FROM run"

CHECK_PAGES = "PRAGMA quick_check(1)"
"""SQLite's own check of the whole file; stops at the first problem."""
