"""SES events as they arrive in queues, files and webhooks. Pure.

SES publishes one JSON record per event. On its way the record is wrapped: by SNS (as a text in an
envelope, unless the subscription uses raw delivery), by EventBridge (as `detail`), by Lambda (as
`Records`), by Firehose and S3 (one record per line, often gzipped). `parse` takes all of these.

An event belongs to the recipient that its `mailsluice-id` tag names, and never to an address: the
addresses of a bounce come from the remote server's report, and those of a complaint are redacted.

Nothing raises. What cannot be read comes back as `Unreadable`, so that the caller can keep the body
and delete it from the queue: a message that is refused again and again blocks the ones behind it.
"""

from __future__ import annotations

import enum
import re
import zlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

ID_TAG = "mailsluice-id"
"""The tag on every recipient: the run's id, a hyphen, and the row."""

ROW_MAX = 2**40 - 1
"""Largest row; a tag with a larger one is not ours."""

ROW_DIGITS_MAX = 13

BODY_BYTES_MAX = 64 * 2**20
"""Longest body, unpacked: SQS allows 1 MiB; Firehose writes objects of up to 128 MB."""

DETAIL_CHARACTERS_MAX = 200
"""Longest kept text of a remote server's diagnostic, or of SES's reason."""

NAME_CHARACTERS_MAX = 80
"""Longest type or sub type; the longest known has 24."""

URL_CHARACTERS_MAX = 2_000
"""Longest link of a confirmation; real ones have about 400."""

ADDRESS_CHARACTERS_MAX = 320
"""Longest local part and domain that RFC 5321 knows."""

RECIPIENTS_MAX = 100
"""Addresses of one event: a message has 50 at most."""

NESTING_MAX = 5
"""Wrappings in each other: SNS in SQS in Lambda is three."""

_GZIP = b"\x1f\x8b"

VALIDATED = "Successfully validated SNS topic"
"""How the text begins that SES publishes when a topic becomes an event destination."""


class Kind(enum.StrEnum):
    """The type of an event, as SES writes it."""

    SEND = "Send"
    DELIVERY = "Delivery"
    BOUNCE = "Bounce"
    COMPLAINT = "Complaint"
    REJECT = "Reject"
    RENDERING_FAILURE = "Rendering Failure"
    DELIVERY_DELAY = "DeliveryDelay"
    OPEN = "Open"
    CLICK = "Click"
    SUBSCRIPTION = "Subscription"
    OTHER = "Other"
    """A type that this mailsluice does not know. It is counted and proves nothing."""


class Tag(NamedTuple):
    """Our tag on a mail: the run and row that an event belongs to."""

    run: str
    row: int


class SesEvent(NamedTuple):
    """One event. Times are seconds since the epoch; texts are empty if SES gave none."""

    kind: Kind
    tag: Tag | None
    """None: another program's mail, or an identity's notification, which carries no tags."""
    message_id: str
    at: float | None
    """When it happened."""
    sent_at: float | None
    """When SES accepted the mail."""
    sender: str = ""
    """Domain of the From address, lower case."""
    destinations: tuple[str, ...] = ()
    """To whom the mail was sent."""
    recipients: tuple[str, ...] = ()
    """Whom the event is about; of a bounce or complaint as the other side wrote them."""
    type: str = ""
    """`Permanent`, `Transient`, `Undetermined` of a bounce; `abuse` and others of a complaint."""
    sub_type: str = ""
    """`NoEmail`, `OnAccountSuppressionList` and others; unknown ones are kept as they are."""
    detail: str = ""
    """The remote server's diagnostic, SES's reason, or the error of the template."""
    feedback_id: str = ""
    """SES's id of a bounce or complaint; copies of one event share it."""


class Notice(NamedTuple):
    """A body that is in order and no event: to be deleted, not buried."""

    text: str
    url: str = ""
    """To confirm a subscription; an operator's to open, never opened by itself."""


class Unreadable(NamedTuple):
    """A body, or a line of one, that is none of the known shapes."""

    why: str
    """Names keys, never values."""
    body: bytes


Parsed = SesEvent | Notice | Unreadable

_SECTIONS = {
    Kind.SEND: "send",
    Kind.DELIVERY: "delivery",
    Kind.BOUNCE: "bounce",
    Kind.COMPLAINT: "complaint",
    Kind.REJECT: "reject",
    Kind.RENDERING_FAILURE: "failure",
    Kind.DELIVERY_DELAY: "deliveryDelay",
    Kind.OPEN: "open",
    Kind.CLICK: "click",
    Kind.SUBSCRIPTION: "subscription",
}

_KINDS: dict[str, Kind] = {kind.value: kind for kind in _SECTIONS}

_OF_EVENTBRIDGE = {
    "Email Sent": Kind.SEND,
    "Email Delivered": Kind.DELIVERY,
    "Email Bounced": Kind.BOUNCE,
    "Email Complaint Received": Kind.COMPLAINT,
    "Email Rejected": Kind.REJECT,
    "Email Rendering Failed": Kind.RENDERING_FAILURE,
    "Email Delivery Delayed": Kind.DELIVERY_DELAY,
    "Email Opened": Kind.OPEN,
    "Email Clicked": Kind.CLICK,
    "Email Subscribed": Kind.SUBSCRIPTION,
}
"""`detail-type`, for a detail that does not say its `eventType` itself."""

_CONFIRMATIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")

_run = re.compile(r"[A-Za-z0-9_-]{1,200}").fullmatch
_message_id = re.compile(r"[!-~]{1,200}").fullmatch
_domain = re.compile(r"@([A-Za-z0-9.-]{1,253})>?\s*\Z", re.ASCII).search

_new = tuple.__new__  # a NamedTuple's own __new__ takes twice as long


def parse(body: bytes) -> list[Parsed]:
    """Parse all events in a message, an object or a request, in their order."""
    found: list[Parsed] = []
    if body.startswith(_GZIP):
        unpacked = _unpacked(body)
        if unpacked is None:
            return [Unreadable("it is cut off, damaged, or too large when unpacked (gzip)", body)]
        body = unpacked
    value = _json(body)
    if value is not _BROKEN:
        _unwrap(value, body, NESTING_MAX, found)
        return found
    text = body.strip()
    if text.startswith(VALIDATED.encode()):
        return [Notice(VALIDATED)]
    first, *others = text.split(b"\n")
    if not others or _json(first) is _BROKEN:
        return [Unreadable("it is not JSON" if text else "it is empty", body)]
    for line in filter(None, map(bytes.strip, (first, *others))):
        value = _json(line)
        if value is _BROKEN:
            found.append(Unreadable("it is not JSON", line))
        else:
            _unwrap(value, line, NESTING_MAX, found)
    return found


_BROKEN = object()


def _json(text: bytes | str) -> Any:
    """Parse JSON; return the value, or `_BROKEN`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    if isinstance(text, bytes) and not text.isascii():
        # A remote server's diagnostic may hold bytes that are no UTF-8.
        try:
            return orjson.loads(text.decode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            pass
    return _BROKEN


def _unpacked(body: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(wbits=31)
    parts: list[bytes] = []
    left = BODY_BYTES_MAX
    try:
        while body:
            parts.append(unpacker.decompress(body, left))
            left -= len(parts[-1])
            if not unpacker.eof:
                return None
            body = unpacker.unused_data
            if body:  # concatenated members, as `cat a.gz b.gz` makes them
                unpacker = zlib.decompressobj(wbits=31)
                if left <= 0:
                    return None
    except zlib.error:
        return None
    return b"".join(parts)


def _unwrap(value: Any, body: bytes, nesting: int, found: list[Parsed]) -> None:
    """Take off wrappings until records are left."""
    if not isinstance(value, dict):
        found.append(Unreadable("it is JSON, and no object", body))
    elif "eventType" in value or "notificationType" in value:
        found.append(_event(value, body))
    elif not nesting:
        found.append(Unreadable("it is wrapped too often", body))
    elif isinstance(message := value.get("Message"), str):
        if (kind := value.get("Type")) in _CONFIRMATIONS:
            found.append(Notice(kind, _text(value, "SubscribeURL", URL_CHARACTERS_MAX)))
        else:
            _unwrap_text(message, body, nesting, found)
    elif isinstance(detail := value.get("detail"), dict):
        kind = _OF_EVENTBRIDGE.get(_text(value, "detail-type"), Kind.OTHER)
        _unwrap({"eventType": kind, **detail}, body, nesting - 1, found)
    elif isinstance(records := value.get("Records"), list) and records:
        for record in records:
            _unwrap_of_lambda(record, body, nesting, found)
    else:
        found.append(Unreadable("none of eventType, Message, detail, Records is in it", body))


def _unwrap_text(text: str, body: bytes, nesting: int, found: list[Parsed]) -> None:
    """Parse a record inside a text: the Message of SNS, the body of SQS."""
    value = _json(text)
    if value is not _BROKEN:
        _unwrap(value, body, nesting - 1, found)
    elif text.strip().startswith(VALIDATED):
        found.append(Notice(VALIDATED))
    else:
        found.append(Unreadable("its Message is not JSON", body))


def _unwrap_of_lambda(record: Any, body: bytes, nesting: int, found: list[Parsed]) -> None:
    if isinstance(record, dict) and isinstance(record.get("Sns"), dict):
        _unwrap(record["Sns"], body, nesting - 1, found)
    elif isinstance(record, dict) and isinstance(record.get("body"), str):
        _unwrap_text(record["body"], body, nesting, found)
    else:
        found.append(Unreadable("one of its Records has neither Sns nor body", body))


def _event(record: dict[str, Any], body: bytes) -> SesEvent | Unreadable:
    mail = record.get("mail")
    if not isinstance(mail, dict):
        return Unreadable("it has no mail", body)
    message_id = mail.get("messageId")
    if not (isinstance(message_id, str) and _message_id(message_id)):
        return Unreadable("mail.messageId is missing, or not an id", body)
    name = record.get("eventType") or record.get("notificationType")
    kind = _KINDS.get(name, Kind.OTHER) if isinstance(name, str) else Kind.OTHER
    section = record.get(_SECTIONS[kind]) if kind is not Kind.OTHER else None
    if not isinstance(section, dict):
        section = {}
    tags = mail.get("tags")
    sent_at = _time(mail.get("timestamp"))
    at = _time(section.get("timestamp"))
    destinations = _addresses(mail.get("destination"))
    recipients, type_, sub_type, detail = (
        (destinations, "", "", "")
        if kind is Kind.SEND or kind is Kind.DELIVERY  # nearly all
        else _told(kind, section, destinations)
    )
    fields = (
        kind,
        _tag_in(tags) if isinstance(tags, dict) else None,
        message_id,
        sent_at if at is None else at,
        sent_at,
        _sender(mail),
        destinations,
        recipients,
        type_,
        sub_type
        if kind is not Kind.OTHER or not isinstance(name, str)
        else name[:NAME_CHARACTERS_MAX],
        detail,
        _text(section, "feedbackId", 200),
    )
    return _new(SesEvent, fields)


_LISTS = {
    Kind.BOUNCE: "bouncedRecipients",
    Kind.COMPLAINT: "complainedRecipients",
    Kind.DELIVERY_DELAY: "delayedRecipients",
}
_TYPES = {
    Kind.BOUNCE: "bounceType",
    Kind.COMPLAINT: "complaintFeedbackType",
    Kind.DELIVERY_DELAY: "delayType",
}
_SUB_TYPES = {Kind.BOUNCE: "bounceSubType", Kind.COMPLAINT: "complaintSubType"}
_DETAILS = {Kind.REJECT: "reason", Kind.RENDERING_FAILURE: "errorMessage"}


def _told(
    kind: Kind, section: dict[str, Any], destinations: tuple[str, ...]
) -> tuple[tuple[str, ...], str, str, str]:
    """Return an event's recipients, type, sub type and detail."""
    if (listed := _LISTS.get(kind)) is None:
        return destinations, "", "", _text(section, _DETAILS.get(kind, ""), DETAIL_CHARACTERS_MAX)
    about = _dicts(section.get(listed))
    return (
        _addresses([each.get("emailAddress") for each in about]),
        _text(section, _TYPES[kind]),
        _text(section, _SUB_TYPES.get(kind, "")),
        _diagnostic(about),
    )


def _tag_in(tags: dict[str, Any]) -> Tag | None:
    """Return our tag; None if there is none, or if there are several."""
    values = tags.get(ID_TAG)
    if isinstance(values, list) and len(values) == 1:
        values = values[0]
    if not isinstance(values, str):
        return None
    run, _, row = values.rpartition("-")
    if not (_is_run(run) and row.isascii() and row.isdecimal() and row[0] != "0"):
        return None
    if len(row) > ROW_DIGITS_MAX or (number := int(row)) > ROW_MAX:
        return None
    return _new(Tag, (run, number))


@lru_cache(256)
def _is_run(run: str) -> bool:
    return _run(run) is not None


def _sender(mail: dict[str, Any]) -> str:
    source = mail.get("source")
    return _domain_of(source[-300:]) if isinstance(source, str) else ""


@lru_cache(256)
def _domain_of(source: str) -> str:
    found = _domain(source)
    return found[1].lower() if found else ""


def _time(text: Any) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _text(record: dict[str, Any], key: str, most: int = NAME_CHARACTERS_MAX) -> str:
    value = record.get(key)
    return value[:most] if isinstance(value, str) else ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    items = value[:RECIPIENTS_MAX] if isinstance(value, list) else []
    return [each for each in items if isinstance(each, dict)]


def _addresses(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):  # nearly all
        return (value[0][:ADDRESS_CHARACTERS_MAX],)
    items = value[:RECIPIENTS_MAX] if isinstance(value, list) else []
    return tuple([each[:ADDRESS_CHARACTERS_MAX] for each in items if isinstance(each, str)])


def _diagnostic(recipients: list[dict[str, Any]]) -> str:
    """Return status and text of the first diagnostic."""
    for each in recipients:
        found = f"{_text(each, 'status')} {_text(each, 'diagnosticCode', DETAIL_CHARACTERS_MAX)}"
        if found.strip():
            return found.strip()[:DETAIL_CHARACTERS_MAX]
    return ""
