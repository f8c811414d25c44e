"""What SES answers is data from outside: every field is checked before it becomes one of ours.

Both transports read answers here. Who answered is checked, too: an answer of a proxy or firewall is
never taken for SES's. Shapes: SES v2 service model, SendBulkEmail and GetAccount.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import orjson

from mailsluice.model import Account, Answer, EntryResult
from mailsluice.model.codes import BROKEN_ANSWER, NOT_SES
from mailsluice.ses import AccountUnavailableError
from mailsluice.ses.exchange import ERROR_CHARS_MAX, Response, told
from mailsluice.ses.statuses import CALL_RULES

HTTP_ERROR_MIN = 300
"""From this status on an answer is an error, as for the SDK."""

FIELD_CHARS_MAX = 256
"""Longest status or MessageId. SES's have up to 60 characters."""

_ERROR_TYPE = "x-amzn-errortype"

_MARKUP = re.compile(r"<(script|style|head)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)

_new = tuple.__new__

_TEXTS = {str, type(None)}


class BrokenError(ValueError):
    """A field has a wrong type or value; the text names it."""


def bulk_answer(response: Response, secrets: Iterable[str] = ()) -> Answer:
    """Read the answer to SendBulkEmail."""
    if response.status >= HTTP_ERROR_MIN:
        return refusal_of(response, secrets)
    try:
        results = field_of(document_of(response), "BulkEmailEntryResults", list)
        return Answer(results=entry_results(results))
    except ValueError as error:
        return broken(error)


def account(response: Response, secrets: Iterable[str] = ()) -> Account:
    """Read the answer to GetAccount. Raises AccountUnavailableError if it is no account."""
    if response.status >= HTTP_ERROR_MIN:
        raise AccountUnavailableError(refusal_of(response, secrets))
    try:
        document = document_of(response)
        quota = field_of(document, "SendQuota", dict)
        pricing = field_of(document, "PricingAttributes", dict, default={})
        return Account(
            rate_per_s=number_of(quota, "MaxSendRate"),
            daily_max=number_of(quota, "Max24HourSend", -1, least=-1),
            daily_sent=number_of(quota, "SentLast24Hours", 0),
            sending_enabled=field_of(document, "SendingEnabled", bool, default=True),
            enforcement=field_of(document, "EnforcementStatus", str, default="HEALTHY"),
            production=field_of(document, "ProductionAccessEnabled", bool, default=True),
            pricing_plan=field_of(pricing, "CurrentPlan", str, default="") or None,
        )
    except ValueError as error:
        raise AccountUnavailableError(broken(error)) from error


def entry_results(results: list[Any]) -> tuple[EntryResult, ...]:
    """Read an answer's `BulkEmailEntryResults`. Raises ValueError, naming the wrong field."""
    try:
        read: list[Any] = [
            # A call of a NamedTuple takes three times as long, and nearly all have no error.
            _new(EntryResult, (result.get("Status") or "", result.get("MessageId"), None))
            if "Error" not in result
            else _refused_result(result)
            for result in results
        ]
        # All at once: join takes nothing but strings, and there are few different statuses.
        ids = [message_id for _, message_id, _ in read if message_id is not None]
        statuses = [text for text in {result.get("Status") for result in results} if text != ""]
        kinds = {type(status) for status in statuses}
        texts = "".join([*ids, *filter(None, statuses)])
        longest = max(map(len, [*ids, *filter(None, statuses)]), default=0)
    except (TypeError, AttributeError):
        _require_results(results)
        raise
    is_plain = texts.isascii() and texts.isprintable() and longest <= FIELD_CHARS_MAX
    if not is_plain or not kinds <= _TEXTS:
        _require_results(results)
    return tuple(read)


def _refused_result(result: dict[str, Any]) -> EntryResult:
    error = result["Error"]
    if error is not None and type(error) is not str:
        raise TypeError
    return EntryResult(
        result.get("Status") or "", result.get("MessageId"), error and told(error, ())
    )


def _require_results(results: list[Any]) -> None:
    """Raise BrokenError for the first wrong field."""
    for n, result in enumerate(results):
        where = f"BulkEmailEntryResults[{n}]"
        if not isinstance(result, dict):
            raise BrokenError(f"{where} is {_kind(result)}")
        for name in ("Status", "MessageId", "Error"):
            value: Any = result.get(name)
            if value is not None and not isinstance(value, str):
                raise BrokenError(f"{where}.{name} is {_kind(value)}")
            if name == "Error" or not value:
                continue
            if len(value) > FIELD_CHARS_MAX:
                raise BrokenError(f"{where}.{name} has {len(value):,} characters")
            if not (value.isascii() and value.isprintable()):
                raise BrokenError(f"{where}.{name} has characters that none has")


def document_of(response: Response) -> dict[str, Any]:
    """Return the JSON object of an answer. Raises BrokenError."""
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        raise BrokenError(f"it is no JSON ({error}): {_plain(response.body)}") from error
    if not isinstance(document, dict):
        raise BrokenError(f"it is {_kind(document)}, and not an object")
    return document


def field_of(
    document: dict[str, Any],
    name: str,
    kind: type,
    default: Any = None,
    characters_max: int = FIELD_CHARS_MAX,
) -> Any:
    """Return a field of an answer, or its default. Raises BrokenError, naming the field."""
    value = document.get(name)
    if value is None:
        if default is None:
            raise BrokenError(f"{name} is missing")
        return default
    if not isinstance(value, kind):
        raise BrokenError(f"{name} is {_kind(value)}")
    if isinstance(value, str) and len(value) > characters_max:
        raise BrokenError(f"{name} has {len(value):,} characters")
    return value


def number_of(
    quota: dict[str, Any], name: str, default: float | None = None, least: float = 0
) -> float:
    """Return a field that is a number. Raises BrokenError."""
    value = quota.get(name, default)
    if value is None:
        raise BrokenError(f"SendQuota.{name} is missing")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BrokenError(f"SendQuota.{name} is {_kind(value)}")
    if not math.isfinite(value) or value < least:
        raise BrokenError(f"SendQuota.{name} is {value}")
    return float(value)


_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def _kind(value: object) -> str:
    return _KINDS[type(value)]


def broken(error: ValueError) -> Answer:
    """Return the Answer for a response that cannot be read."""
    text = told(f"the answer cannot be read: {error}", ())
    return Answer(code=BROKEN_ANSWER, error=text)


def refusal_of(response: Response, secrets: Iterable[str]) -> Answer:
    """Read an answer with an HTTP status of 300 or more: SES's error if it has SES's error type."""
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        document = None
    details = document if isinstance(document, dict) else {}
    code = _code(response, details)
    if code is None:
        text = f"HTTP {response.status} without SES's error type: {_plain(response.body)}"
        if place := response.headers.get("location"):
            text = f"HTTP {response.status}: a redirect to {place}, which is not followed"
        return Answer(code=NOT_SES, http_status=response.status, error=told(text, secrets))
    message = details.get("message", details.get("Message", ""))
    text = message if isinstance(message, str) else ""
    return Answer(code=code, http_status=response.status, error=told(text, secrets))


def _code(response: Response, details: dict[str, Any]) -> str | None:
    """Return SES's error type; None if there is none.

    SES puts it in a header. In a body alone it counts only if it is known, as anybody's JSON may
    have a `code`.
    """
    if (header := response.headers.get(_ERROR_TYPE)) is not None:
        return _bare(header) or None
    for name in ("code", "Code", "__type"):
        value = details.get(name)
        if isinstance(value, str) and _bare(value) in CALL_RULES:
            return _bare(value)
    return None


def _bare(code: str) -> str:
    """Return `Code` of `ns#Code:uri` (restJson1, "operation error serialization")."""
    return code.split(":", 1)[0].rsplit("#", 1)[-1].strip()[:FIELD_CHARS_MAX]


def _plain(body: bytes) -> str:
    """Return the readable text of a page that came instead of SES's JSON."""
    text = body[:8192].decode("utf-8", "replace")
    return " ".join(_MARKUP.sub(" ", text).split())[:ERROR_CHARS_MAX] or "nothing"
