"""Reads a SendBulkEmail request, or says why it is refused. Pure.

A fast reading takes all entries at once, about a microsecond each, in the form that nearly every
request has. If anything differs from that form, the entries are read again one by one, against
`shapes`. The fast reading accepts nothing that the other would refuse: a test compares them.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson
from pydantic import ValidationError

from mailsluice.emulator import mailboxes, shapes, templates
from mailsluice.emulator.exchange import RefusedError
from mailsluice.emulator.templates import Template
from mailsluice.model import RECIPIENT_ADDRESSES_MAX

AddressFaults = Literal["entry", "call"]

PLAIN_HEADER_VALUE_CHARACTERS_MAX = 870
"""Longest header value of the fast reading: short enough for a name of any length."""

_header_name = re.compile(r"[!-9;-@A-~]{1,126}").fullmatch
_header_value = re.compile(rf"[ -~]{{1,{PLAIN_HEADER_VALUE_CHARACTERS_MAX}}}").fullmatch
_inline_operation = re.compile(r"\{\{\{?\s*[#/^>&]").search
_ABSENT: list[Any] = []

_Reading: TypeAlias = "tuple[list[Entry], dict[int, str], list[str]]"
"""What a reading gives: entries, problems by position, all addresses."""


class Entry(NamedTuple):
    """One recipient of a call."""

    to: list[str]
    cc: list[str]
    bcc: list[str]
    tags: dict[str, str]
    """The entry's tags over the default ones."""
    weight: int
    """Number of the entry's addresses."""
    data: str = "{}"
    """The entry's ReplacementTemplateData: a JSON object, as text."""

    @property
    def addresses(self) -> list[str]:
        """All To, Cc and Bcc addresses."""
        return [*self.to, *self.cc, *self.bcc]


class Submission(NamedTuple):
    """A request whose shape is right."""

    source: str
    """FromEmailAddress as it was given."""
    sender: str
    """The From address in lower case, without a display name."""
    template: str
    """Name or ARN; empty for inline content."""
    content: Template | None
    """Inline content."""
    data: dict[str, Any]
    """TemplateData."""
    configuration_set: str | None
    entries: list[Entry]
    problems: dict[int, str]
    """Problems with addresses, by position of the entry; these entries cannot be sent."""
    may_be_simulated: bool
    """False if no address is the mailbox simulator's."""


def read(
    body: bytes, *, address_faults: AddressFaults = "entry", default_tags: bool = True
) -> Submission:
    """Read the body of a SendBulkEmail request.

    `address_faults` says whether a bad address fails its entry or the call (SES's own way is not
    established); `default_tags=False` drops DefaultEmailTags, as seen in boto3#4838.
    Raises RefusedError if the whole request is refused.
    """
    request = _parse(body)
    _refuse_if(shapes.problem(shapes.REQUEST, request, ""))
    template, content, data = _template(request["DefaultContent"])
    sender = _sender(request)
    raw = request.get("BulkEmailEntries")
    defaults = _tags(request.get("DefaultEmailTags")) if default_tags else {}
    entries, problems, addresses = _read_at_once(raw, defaults) or _read_one_by_one(raw, defaults)
    if problems and address_faults == "call":
        _refuse_if(next(iter(problems.values())))
    return Submission(
        request["FromEmailAddress"],
        sender,
        template,
        content,
        data,
        request.get("ConfigurationSetName"),
        entries,
        problems,
        mailboxes.may_be_simulated(addresses),
    )


def _parse(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RefusedError("SerializationException", f"Malformed JSON: {error}") from None
    if not isinstance(request, dict):
        raise RefusedError("SerializationException", "The request is not a JSON object")
    return request


def _template(content: dict[str, Any]) -> tuple[str, Template | None, dict[str, Any]]:
    template: dict[str, Any] = content.get("Template") or {}
    name, arn, inline = (
        template.get(member) for member in ("TemplateName", "TemplateArn", "TemplateContent")
    )
    if sum(given is not None for given in (name, arn, inline)) != 1:
        _refuse_if("Exactly one of TemplateName, TemplateArn and TemplateContent must be given.")
    data = data_of(template.get("TemplateData"))
    _check_headers(template.get("Headers"))
    for part in (inline or {}).values():
        if part is not None and _inline_operation(part):
            _refuse_if("Template contains unsupported operations.")
    try:
        return name or arn or "", templates.of(inline) if inline else None, data
    except ValidationError as error:
        raise RefusedError("BadRequestException", error.errors()[0]["msg"]) from None


def _sender(request: dict[str, Any]) -> str:
    sender: str = request.get("FromEmailAddress") or ""
    if not sender:
        _refuse_if("Missing required header 'From'.")
    others = (
        request.get("FeedbackForwardingEmailAddress"),
        *(request.get("ReplyToAddresses") or ()),
    )
    for address in (sender, *others):
        if address is not None:
            _refuse_if(mailboxes.problem(address))
    return mailboxes.bare(sender).strip().lower()


def _read_at_once(raw: Any, defaults: dict[str, str]) -> _Reading | None:
    if raw.__class__ is not list or not 1 <= len(raw) <= shapes.ENTRIES_MAX:
        return None
    addresses: list[str] = []
    texts: list[str] = []
    headers: list[Any] = []
    try:
        entries = [_plain_entry(entry, defaults, addresses, texts, headers) for entry in raw]
        if (
            all(entries)
            and mailboxes.are_plain(addresses)
            and _are_tag_texts(texts)
            and all(_header_name(header["Name"]) for header in headers)
            and all(_header_value(header["Value"]) for header in headers)
        ):
            return entries, {}, addresses  # type: ignore[return-value]  # no entry is None
    except (KeyError, TypeError, ValueError, AttributeError):
        # The second reading says what is wrong.
        return None
    return None


def _plain_entry(
    entry: dict[str, Any],
    defaults: dict[str, str],
    addresses: list[str],
    texts: list[str],
    headers: list[Any],
) -> Entry | None:
    destination = entry["Destination"]
    to = destination["ToAddresses"]
    raw_tags = entry.get("ReplacementTags", _ABSENT)
    if len(destination) != 1 or to.__class__ is not list or raw_tags.__class__ is not list:
        return None
    if not 1 <= len(to) <= RECIPIENT_ADDRESSES_MAX:
        return None
    tags = {tag["Name"]: tag["Value"] for tag in raw_tags}
    if len(tags) != len(raw_tags):
        return None
    data = "{}"
    if "ReplacementEmailContent" in entry:
        data = entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"]
        if len(data) > shapes.DATA_CHARACTERS_MAX or orjson.loads(data).__class__ is not dict:
            return None
    if "ReplacementHeaders" in entry:
        own = entry["ReplacementHeaders"]
        if own.__class__ is not list or len(own) > shapes.HEADERS_MAX:
            return None
        headers += own
    addresses += to
    texts += tags
    texts += tags.values()
    return Entry(to, [], [], {**defaults, **tags} if defaults else tags, len(to), data)


def _are_tag_texts(texts: list[str]) -> bool:
    """Return True if each text is 1-256 of A-Z a-z 0-9 _ -; tests all of them together."""
    if not texts:
        return True
    letters = "".join(texts).replace("_", "").replace("-", "")
    return (
        all(texts)
        and max(map(len, texts)) <= 256  # noqa: PLR2004 - as `shapes`
        and letters.isascii()
        and (letters.isalnum() or not letters)
    )


def _read_one_by_one(raw: Any, defaults: dict[str, str]) -> _Reading:
    if raw is None:
        _refuse_if("Value at 'bulkEmailEntries' failed to satisfy constraint: must not be null")
    _refuse_if(shapes.problem(shapes.ENTRIES, raw, "bulkEmailEntries"))
    entries = [_entry(entry, defaults) for entry in raw]
    problems = {
        index: found for index, entry in enumerate(entries) if (found := _addresses_problem(entry))
    }
    return entries, problems, [address for entry in entries for address in entry.addresses]


def _entry(entry: dict[str, Any], defaults: dict[str, str]) -> Entry:
    content = entry.get("ReplacementEmailContent") or {}
    data = (content.get("ReplacementTemplate") or {}).get("ReplacementTemplateData")
    data_of(data)
    _check_headers(entry.get("ReplacementHeaders"))
    destination = entry["Destination"]
    to, cc, bcc = (
        destination.get(member) or [] for member in ("ToAddresses", "CcAddresses", "BccAddresses")
    )
    tags = {**defaults, **_tags(entry.get("ReplacementTags"))}
    return Entry(to, cc, bcc, tags, len(to) + len(cc) + len(bcc), data or "{}")


def _addresses_problem(entry: Entry) -> str | None:
    if not entry.weight:
        return "Destination must have at least one address."
    if entry.weight > RECIPIENT_ADDRESSES_MAX:
        return f"Recipient count exceeds {RECIPIENT_ADDRESSES_MAX}."
    return next(filter(None, map(mailboxes.problem, entry.addresses)), None)


def _tags(raw: list[dict[str, str]] | None) -> dict[str, str]:
    return {tag["Name"]: tag["Value"] for tag in raw or ()}


def data_of(text: str | None) -> dict[str, Any]:
    """Parse template data. Raises RefusedError."""
    if text is None:
        return {}
    try:
        data: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        raise RefusedError(
            "BadRequestException", "The template data is invalid: it must be a JSON object."
        )
    return data


def _check_headers(headers: list[dict[str, str]] | None) -> None:
    for header in headers or ():
        if len(header["Name"]) + len(header["Value"]) > shapes.HEADER_CHARACTERS_MAX:
            _refuse_if(
                f"Header name and value must be {shapes.HEADER_CHARACTERS_MAX} characters at most."
            )


def _refuse_if(text: str | None) -> None:
    if text is not None:
        raise RefusedError("BadRequestException", text)
