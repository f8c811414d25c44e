"""Seals: checksums that show if a journal's records were changed after they were written.

SQLite notices a page that is no page, but neither a flipped bit in a value nor a lost row. So each
record's seal covers the record, and continues the seal of the record before.
"""

from __future__ import annotations

import zlib

from mailsluice.journal import columns


def of_bytes(body: bytes) -> int:
    """Return the seal of a run's head, or of a record's body."""
    return zlib.crc32(body)


def of_record(id_: int, row: columns.Columns, body_seal: int, before: int) -> int:
    """Return the seal of a record with the body seal `body_seal`, after one sealed `before`."""
    at, kind, number, rows, states, weight, prints, _ = row
    head = f"{id_} {float(at)!r} {kind} {number} {states} {weight} {body_seal} "
    seal = zlib.crc32(rows or b"", zlib.crc32(head.encode(), before))
    return zlib.crc32(prints, seal) if prints else seal
