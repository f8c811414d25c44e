"""Lists of suppressed addresses as SES and other providers export them, and any CSV. Pure.

All come as rows with names: CSV with a header, JSON objects per line, or a JSON document with a
list of objects. `parse` finds the columns by their names, `scope` and `expires` of our own exports
among them. Nothing is left out in silence: a row that cannot be used comes back as `Refused`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

import orjson

from mailsluice.suppression.scopes import SCOPE_OF, Reason, Suppression, is_scope

Format = Literal["ses", "mailgun", "sendgrid", "postmark", "csv"]


class Refused(NamedTuple):
    """A row that cannot be used."""

    row: int
    """Number of the row, from 1, without the header."""
    why: str
    """The reason, without the address."""


class Unusable(Exception):  # noqa: N818  # it is caught where it becomes an error of the command
    """The whole file cannot be used; the text says why."""


SECONDS_MAX = 1e11
"""The year 5138; as milliseconds, 1973."""

_ADDRESSES = ("emailaddress", "email", "address", "recipient", "recipientaddress", "mail")
_TIMES = ("lastupdatetime", "createdat", "created", "date", "timestamp", "time", "at")
_REASONS = ("suppressionreason", "reason", "type", "event")

_WORDS = {
    "bounce": Reason.BOUNCE,
    "bounced": Reason.BOUNCE,
    "hardbounce": Reason.BOUNCE,
    "permanent": Reason.BOUNCE,
    "invalid": Reason.BOUNCE,
    "complaint": Reason.COMPLAINT,
    "complained": Reason.COMPLAINT,
    "spamcomplaint": Reason.COMPLAINT,
    "spam": Reason.COMPLAINT,
    "spamreport": Reason.COMPLAINT,
    "abuse": Reason.COMPLAINT,
    "unsubscribe": Reason.UNSUBSCRIBE,
    "unsubscribed": Reason.UNSUBSCRIBE,
    "optout": Reason.UNSUBSCRIBE,
    "manual": Reason.MANUAL,
    "manualsuppression": Reason.UNSUBSCRIBE,  # Postmark: by the recipient or the customer
}

_FREE_TEXT: dict[str, frozenset[str]] = {"sendgrid": frozenset({"reason"})}
"""Columns that are called like a reason and hold what the remote server said."""

_GIVEN_AWAY: dict[str, Mapping[str, Reason]] = {
    "mailgun": {"code": Reason.BOUNCE, "error": Reason.BOUNCE, "tags": Reason.UNSUBSCRIBE},
    "sendgrid": {"status": Reason.BOUNCE, "reason": Reason.BOUNCE, "ip": Reason.COMPLAINT},
}
"""Columns that only one of a provider's lists has."""

_not_letters = re.compile(r"[^a-z0-9]+")


def parse(
    content: bytes, format_: Format, reason: Reason | None, now: float
) -> Iterator[Suppression | Refused]:
    """Yield every row of a file, in its order. Raises Unusable.

    `reason`: for rows that do not say it themselves; what a row says comes first. `now`: for rows
    without a time. Addresses are as they stand there: to be checked, and brought into the form in
    which they are compared, by the caller.
    """
    rows = iter(_rows(content))
    for number, row in enumerate(rows, 1):
        named = {_not_letters.sub("", str(name).lower()): value for name, value in row.items()}
        yield _read(number, named, format_, reason, now)


def _read(
    number: int, row: Mapping[str, Any], format_: Format, reason: Reason | None, now: float
) -> Suppression | Refused:
    address = _first(row, _ADDRESSES)
    if not isinstance(address, str) or not address.strip():
        columns = ", ".join(sorted(row))[:200]
        return Refused(number, f"no column has an address; there are: {columns or 'none'}")
    said = _first(row, [name for name in _REASONS if name not in _FREE_TEXT.get(format_, ())])
    if isinstance(said, str) and said.strip():
        known = _WORDS.get(_not_letters.sub("", said.lower()))
        if known is None:
            return Refused(number, f"{said[:40]!r} is no reason that mailsluice knows")
    else:
        known = reason or _given_away(row, format_)
        if known is None:
            return Refused(number, "it does not say why; give --reason for such rows")
    at = _time(_first(row, _TIMES), now)
    if at is None:
        return Refused(number, "its time cannot be read")
    scope, expires = str(row.get("scope") or SCOPE_OF[known]), row.get("expires") or None
    if not is_scope(scope):
        return Refused(number, "its scope is none: 1 to 64 of A-Z a-z 0-9 . _ -")
    # A time that cannot be read is for good.
    until = None if expires is None else _time(expires, now)
    return Suppression(address.strip(), known, scope, at, format_, until)


def _given_away(row: Mapping[str, Any], format_: Format) -> Reason | None:
    known = _GIVEN_AWAY.get(format_, {})
    return next((reason for name, reason in known.items() if name in row), None)


def _first(row: Mapping[str, Any], names: Iterator[str] | list[str] | tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _time(value: Any, now: float) -> float | None:
    """Return seconds since the epoch, from any of the forms in use; `now` if there is none."""
    if value is None:
        return now
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _plausible(float(value))
    if not isinstance(value, str):
        return None
    text = value.strip()
    for read in (float, _iso, _rfc5322):
        try:
            return _plausible(read(text))
        except (ValueError, OverflowError, TypeError):
            continue
    return None


def _plausible(at: float) -> float | None:
    """Return a plausible time in seconds; a larger number is milliseconds."""
    seconds = at / 1_000 if at > SECONDS_MAX else at
    return seconds if 0 <= seconds <= SECONDS_MAX else None


def _iso(text: str) -> float:
    moment = datetime.fromisoformat(text.removesuffix(" UTC"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _rfc5322(text: str) -> float:
    moment = parsedate_to_datetime(text.replace(" UTC", " +0000"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _rows(content: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unusable("it is not UTF-8; save it as UTF-8, and import that") from None
    begin = text.lstrip()[:1]
    if not begin:
        raise Unusable("it is empty")
    return _json_rows(text) if begin in "{[" else _csv_rows(text)


def _json_rows(text: str) -> Iterator[Mapping[str, Any]]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        yield from _json_lines(text)
        return
    found = document if isinstance(document, list) else _listed(document)
    for each in [document] if found is None else found:
        yield each if isinstance(each, dict) else {}


def _listed(document: dict[str, Any]) -> list[Any] | None:
    """Return the list in a page of an API; None if the document itself is a row."""
    for name in ("SuppressedDestinationSummaries", "Suppressions", "items", "result"):
        if isinstance(document.get(name), list):
            found: list[Any] = document[name]
            return found
    return None


def _json_lines(text: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise Unusable(f"line {number} is not JSON ({error})") from None
            yield row if isinstance(row, dict) else {}


def _csv_rows(text: str) -> Iterator[Mapping[str, Any]]:
    first, _, _ = text.partition("\n")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = next(reader)
    if any("@" in cell for cell in header):
        # A list without a header, as SES's import takes: address, and perhaps its reason.
        header = ["email", "reason"]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise Unusable(f"line {reader.line_num} is no CSV ({error})") from None
