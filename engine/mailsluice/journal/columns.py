"""Records to columns of a table, and back; structured columns are JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mailsluice.journal import (
    AddressColumns,
    Event,
    Intent,
    Record,
    Resolution,
    RunHeader,
    Settlement,
    Taken,
)
from mailsluice.model import Head, Remark, SourceIdentity, State

Columns = tuple[
    float, str, int | None, bytes | None, str | None, int | None, bytes | None, bytes | None
]
"""at, kind, number, rows, states, weight, prints, body: see the schema in `sqlite`."""


def encode(record: Record) -> Columns:
    """Return the columns of a record."""
    match record:
        case Taken(at, first, last, remarks, prints, head):
            rows = _dumps([last, *head] if head else last)
            body = _dumps([list(remark) for remark in remarks])
            return at, "taken", first, rows, None, None, prints or None, body
        case Intent(at, number, seqs, addresses, weight):
            body = _encode_addresses(addresses)
            return at, "intent", number, _rows(seqs), None, weight, None, body
        case Settlement(at, number, states, statuses, message_ids, errors):
            columns = {"status": statuses, "message_id": message_ids, "error": errors}
            return at, "settlement", number, None, states, None, None, _dumps(_folded(columns))
        case Resolution(at, seqs, state, status, reason, addresses):
            named = {name: column for name, column in addresses._asdict().items() if column}
            body = _dumps([state, status, reason, *([named] if named else [])])
            return at, "resolution", None, _rows(seqs), None, None, None, body
        case Event(at, name, text):
            return at, "event", None, None, None, None, None, _dumps([name, text])


def decode(columns: Columns) -> Record:
    """Return the record of these columns. Raises ValueError and the like if they are no record."""
    at, kind, number, rows, states, weight, prints, body = columns
    match kind, number, rows, states:
        case "taken", int(first), bytes(last_and_head), _:
            remarks = [Remark(seq, State(state), *rest) for seq, state, *rest in _loads(body)]
            found = orjson.loads(last_and_head)
            last, head = (found[0], Head(*found[1:])) if isinstance(found, list) else (found, None)
            return Taken(at, first, last, remarks, prints or b"", head)
        case "intent", int(batch), bytes(seqs), _:
            addresses = AddressColumns() if body is None else AddressColumns(**orjson.loads(body))
            return Intent(at, batch, _seqs(seqs), addresses, weight or 0)
        case "settlement", int(batch), _, str(codes):
            if body is None:
                return Settlement(at, batch, codes, [], [], [])
            columns_by_name = orjson.loads(body)
            unfolded = (
                _unfolded(columns_by_name.get(name), len(codes))
                for name in ("status", "message_id", "error")
            )
            return Settlement(at, batch, codes, *unfolded)
        case "resolution", _, bytes(seqs), _:
            state, status, reason, *named = _loads(body)
            columns_of = AddressColumns(**named[0]) if named else AddressColumns()
            return Resolution(at, _seqs(seqs), State(state), status, reason, columns_of)
        case "event", _, _, _:
            return Event(at, *_loads(body))
        case _:
            raise ValueError(f"a record of kind {kind!r} with columns missing")


def _rows(seqs: Sequence[int]) -> bytes:
    """Write consecutive rows as their first and last, others one by one."""
    if isinstance(seqs, range):
        return _dumps({"first": seqs[0], "last": seqs[-1]})
    return _dumps(seqs)


def _seqs(rows: bytes) -> Sequence[int]:
    found = orjson.loads(rows)
    return range(found["first"], found["last"] + 1) if isinstance(found, dict) else found


def _encode_addresses(addresses: AddressColumns) -> bytes:
    return _dumps({name: column for name, column in addresses._asdict().items() if column})


def _folded(columns: dict[str, Sequence[Any]]) -> dict[str, Any]:
    """Write a column of equal elements as one element, and a column of nulls as nothing."""
    folded = {
        name: column[0] if len(set(column)) == 1 else column for name, column in columns.items()
    }
    return {name: column for name, column in folded.items() if column is not None}


def _unfolded(column: Any, size: int) -> list[Any]:
    return column if isinstance(column, list) else [column] * size


def encode_run(run: RunHeader) -> bytes:
    """Return the run as JSON."""
    source = run.source
    parts = None
    if source is not None:
        parts = [source.name, source.size, source.modified, source.tag]
    return _dumps([run.id, run.begun_at, parts, run.mailing_digest])


def decode_run(body: bytes) -> RunHeader:
    """Return the run of that JSON. Raises ValueError and the like if it is none."""
    id_, begun_at, parts, digest = orjson.loads(body)
    source = None
    if parts is not None:
        name, size, modified, tag = parts
        if tag and not tag.startswith('"'):
            tag = None  # schema version 4 had the hash of a file's first 64 KiB there
        source = SourceIdentity(name=name, size=size, modified=modified, tag=tag)
    return RunHeader(id=id_, begun_at=begun_at, source=source, mailing_digest=digest)


def _loads(body: bytes | None) -> Any:
    if body is None:
        raise ValueError("a record without its body")
    return orjson.loads(body)


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_printable(value))


def _printable(value: Any) -> Any:
    """Replace undecodable bytes and lone surrogates by a form that JSON can hold."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_printable(key): _printable(each) for key, each in value.items()}
        case list() | tuple():
            return [_printable(each) for each in value]
        case _:
            return value
