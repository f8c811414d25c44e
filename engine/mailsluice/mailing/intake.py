"""Intake turns rows into entries, encoded once, or into remarks that say why not. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

from mailsluice.mailing import addresses
from mailsluice.mailing import fields as wire
from mailsluice.mailing.dedupe import Mailed, Seen
from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.recognition import InOrder, Recogniser
from mailsluice.model import RECIPIENT_ADDRESSES_MAX, Chunk, Dedupe, Entry, Remark, State
from mailsluice.model.bitmap import Bitmap
from mailsluice.model.codes import EXCEPTED_TEXT
from mailsluice.model.errors import StoreError
from mailsluice.sources import Row
from mailsluice.suppression import links

Suppressed = Callable[[Sequence[str]], str | None]
"""Says why a recipient with these addresses, as they are compared, is suppressed; None: it is not.
Raises StoreError if nobody can say."""

Link = Callable[[str, str], str]
"""Makes the link by which a recipient unsubscribes, of its first address and its id tag."""

SHOWN_CHARACTERS_MAX = 320
"""Characters of an address in a remark: the longest valid one and a display name."""

_new = tuple.__new__
_run_id = re.compile(r"[A-Za-z0-9_-]{1,200}").fullmatch

_NOTHING_SEEN = Seen()
"""Shared by all intakes without dedupe: it saves each of them half a megabyte."""

_BODY = (
    b'{"Destination":%%b,%b"ReplacementEmailContent":'
    # Data is always there, if only "{}": the older bulk call refused an entry without it.
    b'{"ReplacementTemplate":{"ReplacementTemplateData":%%b}}%%b}'
)


class _NotAcceptedError(ValueError):
    """A recipient is not accepted; the text is `field: reason`."""

    def __init__(self, reason: str, state: State = State.REFUSED) -> None:
        super().__init__(reason)
        self.state = state


class _Destination(NamedTuple):
    weight: int
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    keys: tuple[str, ...]
    """The keys of all addresses; the first one recognises duplicates."""
    json: bytes


class Intake:
    """Numbers the rows of one run and judges each.

    `dedupe` says what makes a duplicate of an earlier, accepted recipient: the first address (To,
    or else Cc or Bcc), the key (recipients without one are never duplicates), or nothing. The same
    rows in the same order are judged the same, so that a resume agrees with the run it resumes.
    `settled` are the rows whose end the journal knows, `remarked` those of them that were never
    accepted. Recipients that other runs have `mailed`, and those that `suppressed` names, are
    suppressed. `rows` says which row of the journal each of them is; with `known_only` rows that
    are new to the journal are skipped.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # what a run is judged by
        self,
        mailing: Mailing,
        run_id: str,
        dedupe: Dedupe = "address",
        settled: Bitmap | None = None,
        remarked: Bitmap | None = None,
        mailed: Mailed | None = None,
        rows: Recogniser | None = None,
        *,
        known_only: bool = False,
        suppressed: Suppressed | None = None,
        link: Link | None = None,
    ) -> None:
        if not _run_id(run_id):
            raise ValueError("run_id may hold 1 to 200 of A-Z a-z 0-9 _ - and nothing else")
        self._run_id = run_id
        self._dedupe = dedupe
        self._settled = Bitmap() if settled is None else settled
        self._remarked = Bitmap() if remarked is None else remarked
        self._seen = _NOTHING_SEEN if dedupe == "none" else Seen()
        self._mailed = mailed
        self._suppressed = suppressed
        self._link = link
        self.rows: Recogniser = rows or InOrder()
        """Numbers the rows, and knows which rows have come."""
        self._known_only = known_only
        self.passed_over = 0
        """Rows that are new to the journal and not part of this run."""
        self._tags = mailing.tags
        self._tags_id = mailing.tags_id
        self._body = self._body_with(self._tags)
        self._by_address = dedupe == "address"

    def take(self, rows: Sequence[Row]) -> Chunk:
        """Judge the next rows of a source.

        A settled row gives neither entry nor remark, but is remembered like any other. Raises
        DifferentRowError if one is not the row that the journal has there.
        """
        seqs, new, prints = self.rows.place(rows)
        if self._known_only and new:
            self.passed_over += len(new)
            known = [pair for pair in zip(seqs, rows, strict=True) if pair[0] not in new]
            seqs, rows = [seq for seq, _ in known], [row for _, row in known]
            new, prints = range(new.start, new.start), b""
        entries, remarks = self._judge(rows, seqs)
        fresh = [remark for remark in remarks if remark.seq in new]
        unfit = [remark for remark in remarks if remark.seq not in new]
        return Chunk(new.start, new.stop - 1, entries, fresh, prints, unfit)

    def number(self, rows: Sequence[Row], first: int) -> Chunk:
        """Judge single messages as rows; `first` is the number of the first one."""
        last = first + len(rows) - 1
        return Chunk(first, last, *self._judge(rows, range(first, last + 1)), b"", [])

    def _judge(self, rows: Sequence[Row], seqs: Sequence[int]) -> tuple[list[Entry], list[Remark]]:
        """Judge numbered rows. Never raises."""
        entries: list[Entry] = []
        remarks: list[Remark] = []
        settled = self._settled.among(seqs)
        for seq, row in zip(seqs, rows, strict=True):
            if settled and seq in settled:
                self._remember(seq, row)
                continue
            try:
                entries.append(self._accepted(seq, row))
            except _NotAcceptedError as reason:
                remarks.append(_remark(seq, row, reason.state, str(reason)))
            except StoreError:
                raise  # nobody can say who is suppressed: no fault of this row's
            # A caller's mapping may raise anything, and one row never stops the others.
            except Exception as error:  # noqa: BLE001
                why = f"it cannot be read: {type(error).__name__}"
                remarks.append(_remark(seq, row, State.REFUSED, why))
        return entries, remarks

    def close(self) -> None:
        """Free the memory of earlier rows, half a megabyte and more: no row comes after this.

        Tracebacks of cancelled tasks refer to it, and may not be collected for minutes.
        """
        self._seen = _NOTHING_SEEN

    def _remember(self, seq: int, row: Row) -> None:
        """Remember a row that an earlier process judged: later rows may be its duplicates."""
        if row.recipient is None or seq in self._remarked:
            return
        to, cc, bcc, _, _, _, key = row.recipient
        if self._dedupe == "key" and key:
            self._seen.add(key)
        elif self._dedupe == "address":
            plain = type(to) is str and not (cc or bcc) and addresses.plain_key(to)
            with suppress(Exception):  # a caller's sequence may raise anything
                self._seen.add(plain or _destination(to, cc, bcc).keys[0])

    def _accepted(self, seq: int, row: Row) -> Entry:
        """Return the recipient's entry. Raises _NotAcceptedError."""
        keys: tuple[str, ...]
        _, recipient, problem, _ = row
        if problem is not None or recipient is None:
            raise _NotAcceptedError(problem or "it is empty")
        to, cc, bcc, data, tags, headers, key = recipient
        if type(to) is str and not (cc or bcc) and (address := addresses.plain_key(to)):
            # Nothing in such an address means anything to JSON.
            weight, destination = 1, b'{"ToAddresses":["%b"]}' % to.encode()
            to, cc, bcc, keys = (to,), (), (), (address,)
        else:
            weight, to, cc, bcc, keys, destination = _destination(to, cc, bcc)
            address = keys[0]
        if self._link is not None:
            url = self._link(address, f"{self._run_id}-{seq}")
            data, headers = _with_link(url, data, headers)
        data_text = "{}" if data is None else _data(data)
        template = self._body_with(self._tags | self._own(tags)) if tags else self._body
        headers_json = _headers(headers) if headers else b""
        if key:
            key = _key(key)
        if self._mailed is not None or self._suppressed is not None:
            self._require_mailable(keys, key or None)
        # Only after all that can refuse it: a refused recipient makes no later one a duplicate.
        if self._by_address:
            if not self._seen.add(address):
                raise _NotAcceptedError("to: the same address came earlier", State.DUPLICATE)
        elif key and self._dedupe == "key" and not self._seen.add(key):
            raise _NotAcceptedError("key: the same key came earlier", State.DUPLICATE)
        data_json = orjson.dumps(data_text)
        if self._tags_id:
            body = template % (destination, seq, data_json, headers_json)
        else:
            body = template % (destination, data_json, headers_json)
        # A call of a NamedTuple takes twice as long, here as below.
        return _new(Entry, (seq, weight, to, cc, bcc, key or None, body))

    def _require_mailable(self, keys: tuple[str, ...], key: str | None) -> None:
        """Raise _NotAcceptedError for whom another run has mailed, or who is suppressed."""
        if self._mailed is not None and self._mailed.has(keys[0], key):
            raise _NotAcceptedError(EXCEPTED_TEXT, State.SUPPRESSED)
        if self._suppressed is not None and (why := self._suppressed(keys)) is not None:
            raise _NotAcceptedError(why, State.SUPPRESSED)

    def _own(self, tags: Mapping[str, str]) -> dict[str, str]:
        own = _checked("tags", tags, wire.check_tags)
        if self._tags_id and wire.ID_TAG in own:
            raise _NotAcceptedError(f"tags: {wire.ID_TAG} is set by mailsluice")
        return own

    def _body_with(self, tags: Mapping[str, str]) -> bytes:
        """Return the format of an entry with these tags; gaps: destination, seq, data, headers.

        No tag has a character that would be taken for a gap.
        """
        pairs = wire.encode_pairs(tags)
        if self._tags_id:
            pairs = [*pairs, {"Name": wire.ID_TAG, "Value": f"{self._run_id}-%d"}]
        return _BODY % (b'"ReplacementTags":%b,' % orjson.dumps(pairs) if pairs else b"")


def _destination(to: object, cc: object, bcc: object) -> _Destination:
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
    keys = tuple(address.key for listed in found.values() for address in listed)
    return _Destination(weight, texts[0], texts[1], texts[2], keys, orjson.dumps(json))


def _listed(field: str, value: object) -> list[object]:
    """Return the addresses of a field. A blank text is an empty cell, which holds none."""
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


def _with_link(url: str, data: Any, headers: Any) -> tuple[Any, Any]:
    """Add a recipient's link to its data and headers; what it has of its own counts."""
    if data is None or isinstance(data, Mapping):
        data = {links.VARIABLE: url, **(data or {})}
    if not headers:
        headers = links.headers(url)
    elif isinstance(headers, Mapping) and links.LINK_HEADER not in map(str.lower, headers):
        headers = {**links.headers(url), **headers}
    return data, headers


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
    reason = _as_the_list_says(reason, row.names)
    return Remark(seq, state, shown, key or None, where + _storable(reason))


def _as_the_list_says(reason: str, names: Mapping[str, str] | None) -> str:
    """Begin the reason with the list's own name of the field."""
    fields, colon, what = reason.partition(":")
    if not names or not colon:
        return reason
    return ", ".join(names.get(field, field) for field in fields.split(", ")) + colon + what


def _storable(text: object) -> str:
    """Return text that can be written as UTF-8; empty if it is not text."""
    return text.encode(errors="replace").decode() if isinstance(text, str) else ""
