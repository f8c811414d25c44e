"""Intake: rows become entries, encoded once, or remarks that say why not. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import orjson

from mailsluice import addresses, wire
from mailsluice.dedupe import Seen
from mailsluice.mailing import Mailing
from mailsluice.model import RECIPIENT_ADDRESSES_MAX, Chunk, Entry, Remark, State
from mailsluice.sources import Row

Dedupe = Literal["address", "key", "none"]

SHOWN_CHARACTERS_MAX = 320
"""Of an address in a remark: room for the longest valid one and a display name."""

_run_id = re.compile(r"[A-Za-z0-9_-]{1,200}").fullmatch

_BODY = (
    b'{"Destination":%b,%b"ReplacementEmailContent":'
    # Data is always there, if only "{}": the older bulk call refused an entry without it.
    b'{"ReplacementTemplate":{"ReplacementTemplateData":%b}}%b}'
)


class Settled(Protocol):
    """The rows of this run whose end the journal knows."""

    def __contains__(self, seq: int, /) -> bool:
        """Whether the row of this number is one of them."""


class _NotAcceptedError(ValueError):
    """Why a recipient is not handed on: `field: reason`."""

    def __init__(self, reason: str, state: State = State.REFUSED) -> None:
        super().__init__(reason)
        self.state = state


class _Destination(NamedTuple):
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    key: str
    """Of the first address, by which duplicates are recognised."""
    json: bytes


class Intake:
    """Numbers the rows of one run and judges each.

    `dedupe` says what makes a duplicate of an earlier, accepted recipient: the first address (To,
    or else Cc or Bcc), the key (recipients without one are never duplicates), or nothing. The same
    rows in the same order are judged the same, so that a resume agrees with the run it resumes.
    """

    def __init__(
        self, mailing: Mailing, run_id: str, dedupe: Dedupe = "address", settled: Settled = ()
    ) -> None:
        if not _run_id(run_id):
            raise ValueError("run_id may hold 1 to 200 of A-Z a-z 0-9 _ - and nothing else")
        self._run_id = run_id
        self._dedupe = dedupe
        self._settled = settled
        self._seen = Seen()
        self._last = 0
        self._tags = mailing.tags
        self._tags_id = mailing.tags_id
        self._tags_head = self._tags_opened(self._tags)

    def take(self, rows: Sequence[Row]) -> Chunk:
        """Judge the next rows. Raises nothing, whatever they hold.

        A settled row gives neither entry nor remark, but is remembered like any other.
        """
        first = self._last + 1
        entries: list[Entry] = []
        remarks: list[Remark] = []
        for seq, row in enumerate(rows, first):
            judged = self._judged(seq, row)
            if isinstance(judged, Entry):
                entries.append(judged)
            elif judged is not None:
                remarks.append(judged)
        self._last += len(rows)
        return Chunk(first, self._last, entries, remarks)

    def _judged(self, seq: int, row: Row) -> Entry | Remark | None:
        settled = seq in self._settled
        if settled and self._dedupe == "none":
            return None
        judged: Entry | Remark | None
        try:
            judged = self._accepted(seq, row, settled=settled)
        except _NotAcceptedError as reason:
            judged = _remark(seq, row, reason.state, str(reason))
        # A caller's mapping may raise anything, and one row never stops the others.
        except Exception as error:  # noqa: BLE001
            judged = _remark(seq, row, State.REFUSED, f"it cannot be read: {type(error).__name__}")
        return None if settled else judged

    def _accepted(self, seq: int, row: Row, *, settled: bool) -> Entry | None:
        """Its entry, or None where it is settled. Raises _NotAcceptedError."""
        if row.problem is not None or row.recipient is None:
            raise _NotAcceptedError(row.problem or "it is empty")
        to, cc, bcc, data, tags, headers, key = row.recipient
        destination = _one(to) if type(to) is str and not (cc or bcc) else _several(to, cc, bcc)
        data_text = "{}" if data is None else _data(data)
        tags_head = self._tags_opened(self._tags | self._own(tags)) if tags else self._tags_head
        headers_json = _headers(headers) if headers else b""
        key = _key(key) if key else None
        # Only after all that can refuse it: a refused recipient makes no later one a duplicate.
        self._remember(destination.key, key)
        if settled:
            return None
        tags_json = b'%b%d"}],' % (tags_head, seq) if self._tags_id else tags_head
        body = _BODY % (destination.json, tags_json, orjson.dumps(data_text), headers_json)
        to, cc, bcc = destination.to, destination.cc, destination.bcc
        return Entry(seq, len(to) + len(cc) + len(bcc), to, cc, bcc, key, body)

    def _remember(self, address: str, key: str | None) -> None:
        if self._dedupe == "address" and not self._seen.add(address):
            raise _NotAcceptedError("to: the same address came earlier", State.DUPLICATE)
        if self._dedupe == "key" and key and not self._seen.add(key):
            raise _NotAcceptedError("key: the same key came earlier", State.DUPLICATE)

    def _own(self, tags: Mapping[str, str]) -> dict[str, str]:
        own = _checked("tags", tags, wire.check_tags)
        if self._tags_id and wire.ID_TAG in own:
            raise _NotAcceptedError(f"tags: {wire.ID_TAG} is set by mailsluice")
        return own

    def _tags_opened(self, tags: Mapping[str, str]) -> bytes:
        """The member ReplacementTags: with the id tag up to its seq, without it the whole."""
        pairs = orjson.dumps(wire.encode_pairs(tags))[1:-1]
        if not self._tags_id:
            return b'"ReplacementTags":[%b],' % pairs if pairs else b""
        comma = b"," if pairs else b""
        opened = b'{"Name":"%b","Value":"%b-' % (wire.ID_TAG.encode(), self._run_id.encode())
        return b'"ReplacementTags":[%b%b%b' % (pairs, comma, opened)


def _one(to: str) -> _Destination:
    if not to or to.isspace():
        raise _NotAcceptedError("to: there is no address")
    try:
        text, key = addresses.normalise(to)
    except addresses.AddressError as error:
        raise _NotAcceptedError(f"to: {error}") from error
    return _Destination((text,), (), (), key, b'{"ToAddresses":[%b]}' % orjson.dumps(text))


def _several(to: object, cc: object, bcc: object) -> _Destination:
    given = {"to": _listed("to", to), "cc": _listed("cc", cc), "bcc": _listed("bcc", bcc)}
    weight = sum(map(len, given.values()))
    if not weight:
        raise _NotAcceptedError("to: there is no address")
    if weight > RECIPIENT_ADDRESSES_MAX:
        raise _NotAcceptedError(
            f"to, cc, bcc: {weight} addresses; SES takes {RECIPIENT_ADDRESSES_MAX} at most"
        )
    found = {field: _normalised(field, texts) for field, texts in given.items()}
    json = {
        f"{field.capitalize()}Addresses": [address.text for address in listed]
        for field, listed in found.items()
        if listed
    }
    texts = [tuple(address.text for address in listed) for listed in found.values()]
    first = next(address for listed in found.values() for address in listed)
    return _Destination(texts[0], texts[1], texts[2], first.key, orjson.dumps(json))


def _listed(field: str, value: object) -> list[object]:
    """Addresses of a field. A blank text is an empty cell, which holds none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise _NotAcceptedError(f"{field}: it is neither an address nor a list of addresses")


def _normalised(field: str, texts: Sequence[object]) -> list[addresses.Address]:
    found = []
    for number, text in enumerate(texts, 1):
        where = field if len(texts) == 1 else f"{field}: address {number}"
        if not isinstance(text, str):
            raise _NotAcceptedError(f"{where}: it is not text")
        try:
            found.append(addresses.normalise(text))
        except addresses.AddressError as error:
            raise _NotAcceptedError(f"{where}: {error}") from error
    return found


def _data(data: object) -> str:
    if type(data) is not dict:
        if not isinstance(data, Mapping):
            raise _NotAcceptedError("data: it is not a JSON object")
        data = dict(data)
    try:
        return wire.encode_data(data)
    except ValueError as error:
        raise _NotAcceptedError(f"data: {error}") from error


def _headers(headers: object) -> bytes:
    checked = _checked("headers", headers, wire.check_headers)
    return b',"ReplacementHeaders":%b' % orjson.dumps(wire.encode_pairs(checked))


def _checked(field: str, given: object, check: Callable[[dict[str, str]], None]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise _NotAcceptedError(f"{field}: it is not an object of names and texts")
    pairs = dict(given)
    try:
        check(pairs)
    except ValueError as error:
        raise _NotAcceptedError(f"{field}: {error}") from error
    return pairs


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise _NotAcceptedError("key: it is not text")
    if _storable(key) != key:
        raise _NotAcceptedError("key: it has half of a character (a lone surrogate)")
    return str(key)


def _remark(seq: int, row: Row, state: State, reason: str) -> Remark:
    to = getattr(row.recipient, "to", "")
    first = to[0] if isinstance(to, list | tuple) and to else to
    key = _storable(getattr(row.recipient, "key", None))
    where = f"line {row.line}: " if row.line else ""
    shown = _storable(first)[:SHOWN_CHARACTERS_MAX]
    return Remark(seq, state, shown, key or None, where + _storable(reason))


def _storable(text: object) -> str:
    """Text that can be written as UTF-8; empty where it is not text."""
    return text.encode(errors="replace").decode() if isinstance(text, str) else ""
