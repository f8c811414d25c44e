"""THE table: what each SES status, error code and wire failure means for the engine.

Sources: the SES v2 API model (enum `BulkEmailStatus` and the exceptions of SendBulkEmail), the
SendBulkEmail page, whose prose spells four statuses differently from the enum (both spellings are
here), and "Common errors" of AWS services. `classify` is the only reader of an answer.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from mailsluice.model import Answer, EntryResult
from mailsluice.model.codes import BROKEN_ANSWER, NO_ANSWER, NO_CREDENTIALS, NOT_SENT, NOT_SES

FAILED_ATTEMPTS_MAX = 3
"""Attempts for the status FAILED, which SES describes only as "see the error message"."""


_new = tuple.__new__

_TEXTS: frozenset[type] = frozenset({str, type(None)})


class Action(enum.Enum):
    """What the engine does with a recipient, or with a whole call."""

    SENT = "sent"
    DEFER = "try again later; an attempt is burned"
    THROTTLE = "try again; the pacer slows down"
    WAIT_DAILY = "try again when the rolling 24 hours have room"
    RECONNECT = "not sent; try again, one call at a time, with back-off"
    REJECT = "refused for good"
    FAIL = "given up at once"
    BISECT = "not sent; halve the batch until the bad entries stand alone"
    HOLD = "stop the run; everything unsent stays pending"
    DOUBT = "may have been sent"


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One row of the table. Rows compare by identity, so that sets of them are cheap."""

    action: Action
    attempts_max: int | None = None
    """A lower limit than `delivery.max_attempts`; None: no other limit."""
    warn: bool = False
    """True if a status is undocumented and is logged as a warning."""
    of_mailing: bool = False
    """For HOLD rules: True if only this mailing is affected, not the whole account."""


_SENT = Rule(Action.SENT)
_DEFER = Rule(Action.DEFER)
_THROTTLE = Rule(Action.THROTTLE)
_WAIT_DAILY = Rule(Action.WAIT_DAILY)
_RECONNECT = Rule(Action.RECONNECT)
_REJECT = Rule(Action.REJECT)
_BISECT = Rule(Action.BISECT)
_HOLD = Rule(Action.HOLD)
_HOLD_MAILING = Rule(Action.HOLD, of_mailing=True)
_DOUBT = Rule(Action.DOUBT)

CALLS_TEXT = "rate exceeded"
"""SES's text for too many calls; for too many recipients it is "Maximum sending rate exceeded".
Seen of GetSendQuota; whether SendBulkEmail has such a limit is not established."""

SUCCESS = "SUCCESS"

ENTRY_RULES = {
    SUCCESS: _SENT,
    "TRANSIENT_FAILURE": _DEFER,
    "FAILED": Rule(Action.DEFER, attempts_max=FAILED_ATTEMPTS_MAX),
    "ACCOUNT_THROTTLED": _THROTTLE,
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": _WAIT_DAILY,
    "MESSAGE_REJECTED": _REJECT,
    "INVALID_PARAMETER": _REJECT,
    "INVALID_PARAMETER_VALUE": _REJECT,
    "ACCOUNT_SUSPENDED": _HOLD,
    "ACCOUNT_SENDING_PAUSED": _HOLD,
    "CONFIGURATION_SET_SENDING_PAUSED": _HOLD_MAILING,
    "CONFIGURATION_SET_NOT_FOUND": _HOLD_MAILING,
    "CONFIGURATION_SET_DOES_NOT_EXIST": _HOLD_MAILING,
    "TEMPLATE_NOT_FOUND": _HOLD_MAILING,
    "TEMPLATE_DOES_NOT_EXIST": _HOLD_MAILING,
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": _HOLD_MAILING,
    "INVALID_SENDING_POOL_NAME": _HOLD_MAILING,
}
"""Rules by `BulkEmailEntryResults[].Status`."""

CALL_RULES = {
    NOT_SENT: _RECONNECT,
    NO_ANSWER: _DOUBT,
    BROKEN_ANSWER: _DOUBT,
    NO_CREDENTIALS: _HOLD,
    "TooManyRequestsException": _THROTTLE,
    "ThrottlingException": _THROTTLE,
    "Throttling": _THROTTLE,
    "ThrottledException": _THROTTLE,
    "RequestThrottled": _THROTTLE,
    "RequestThrottledException": _THROTTLE,
    "RequestLimitExceeded": _THROTTLE,
    "SlowDown": _THROTTLE,
    "BadRequestException": _BISECT,
    "MessageRejected": _BISECT,
    "LimitExceededException": _BISECT,
    "ValidationException": _BISECT,
    "AccountSuspendedException": _HOLD,
    "SendingPausedException": _HOLD,
    "MailFromDomainNotVerifiedException": _HOLD_MAILING,
    "NotFoundException": _HOLD_MAILING,
    # A policy may allow some From addresses and templates, and not others.
    "AccessDenied": _HOLD_MAILING,
    "AccessDeniedException": _HOLD_MAILING,
    "ExpiredToken": _HOLD,
    "ExpiredTokenException": _HOLD,
    "IncompleteSignature": _HOLD,
    "InvalidClientTokenId": _HOLD,
    "InvalidSignatureException": _HOLD,
    "MissingAuthenticationToken": _HOLD,
    "MissingAuthenticationTokenException": _HOLD,
    "NotAuthorized": _HOLD_MAILING,
    "OptInRequired": _HOLD,
    "RequestExpired": _HOLD,
    "SignatureDoesNotMatch": _HOLD,
    "UnrecognizedClientException": _HOLD,
    "ServiceUnavailable": _RECONNECT,
    "ServiceUnavailableException": _RECONNECT,
    "InternalFailure": _DOUBT,
    "InternalServiceErrorException": _DOUBT,
    "InternalServerError": _DOUBT,
    "RequestTimeout": _DOUBT,
    "RequestTimeoutException": _DOUBT,
}
"""Rules by the error code of a whole call."""

_HTTP_RULES = {401: _HOLD, 403: _HOLD, 404: _HOLD, 408: _DOUBT, 429: _THROTTLE, 503: _RECONNECT}

_DAILY_TEXT = re.compile(r"daily (message|sending) quota exceeded", re.IGNORECASE)
"""SES developer guide, "errors related to sending quotas": the text of the daily throttle."""


class Verdict(NamedTuple):
    """The rule for one entry, with what SES said."""

    rule: Rule
    status: str
    message_id: str | None = None
    error: str | None = None


def holds_mailing(status: str) -> bool:
    """Return True if a hold for that status concerns one mailing, not the account."""
    rule = ENTRY_RULES.get(status) or CALL_RULES.get(status)
    return rule is not None and rule.of_mailing


def classify(answer: Answer, entries: int) -> list[Verdict]:
    """Return what an answer to a call of `entries` entries means for each of them.

    Results are matched by position; another number of results than entries leaves the whole batch
    in doubt, because no result can be trusted to belong to its entry.
    """
    if answer.code is not None:
        return [_call_verdict(answer)] * entries
    if len(answer.results) != entries:
        error = f"SES answered {len(answer.results)} results for {entries} entries"
        return [Verdict(_DOUBT, BROKEN_ANSWER, error=error)] * entries
    return [
        # Nearly all are this; a call for each of them takes four times as long.
        _new(Verdict, (_SENT, status, message_id, error))
        if message_id and status == SUCCESS
        else _entry_verdict(status, message_id, error)
        for status, message_id, error in answer.results
    ]


def checked(answer: object) -> Answer:
    """Return a transport's answer if its fields have the right types.

    A caller's own transport may return anything. Raises TypeError or ValueError, naming the field.
    """
    if not isinstance(answer, Answer):
        raise TypeError(f"an Answer is wanted, and not a {type(answer).__name__}")
    for name in ("code", "error"):
        _require(name, getattr(answer, name), _TEXTS)
    _require("http_status", answer.http_status, {int, type(None)})
    _require("results", answer.results, {tuple, list})
    if {type(result) for result in answer.results} <= {tuple, EntryResult}:
        # All fields at once: nearly all are right.
        kinds = {(type(s), type(m), type(e)) for s, m, e in answer.results}
        if all(s is str and {m, e} <= _TEXTS for s, m, e in kinds):
            return answer
    for n, result in enumerate(answer.results):
        _require(f"results[{n}]", result, {tuple, EntryResult})
        status, message_id, error = result
        _require(f"results[{n}].status", status, {str})
        _require(f"results[{n}].message_id", message_id, _TEXTS)
        _require(f"results[{n}].error", error, _TEXTS)
    return answer


def _require(name: str, value: object, kinds: Collection[type]) -> None:
    if type(value) not in kinds:
        raise TypeError(f"{name} is of type {type(value).__name__}")


def limits_calls(verdict: Verdict) -> bool:
    """Return True if a throttle concerns the number of calls, not of recipients."""
    return (verdict.error or "").strip(". ").lower() == CALLS_TEXT


def _call_verdict(answer: Answer) -> Verdict:
    code = answer.code or ""
    if code == NOT_SES:
        return Verdict(_rule_of_others(answer.http_status), code, error=answer.error)
    rule = CALL_RULES.get(code) or _http_rule(answer.http_status)
    if rule.action is Action.THROTTLE and _DAILY_TEXT.search(answer.error or ""):
        rule = _WAIT_DAILY
    return Verdict(rule, code, error=answer.error)


def _rule_of_others(status: int | None) -> Rule:
    """Return the rule for an answer that is not SES's. It says nothing about recipients or rate.

    Not even a 503 proves that SES has not got the request: a proxy answers so, too, when it has
    passed the request on and the connection to SES breaks.
    """
    if status == 429:  # noqa: PLR2004  # HTTP's Too Many Requests
        return _RECONNECT
    return _HOLD if status is not None and status < 500 and status != 408 else _DOUBT  # noqa: PLR2004  # HTTP's own classes


def _http_rule(status: int | None) -> Rule:
    """Return the rule for a code that the table does not name, by its HTTP status."""
    if status is None:
        return _DOUBT
    if status in _HTTP_RULES:
        return _HTTP_RULES[status]
    if 300 <= status < 400:  # noqa: PLR2004  # HTTP's own classes
        return _HOLD
    return _BISECT if 400 <= status < 500 else _DOUBT  # noqa: PLR2004  # as above


def _entry_verdict(status: str, message_id: str | None, error: str | None) -> Verdict:
    rule = ENTRY_RULES.get(status)
    if rule is _SENT and not message_id:
        # "sent" promises a MessageId: a success without one cannot be shown to anybody.
        rule = Rule(Action.DOUBT, warn=True)
    elif rule is None and not status and not message_id:
        # It says nothing at all of this entry.
        rule = Rule(Action.DOUBT, warn=True)
    elif rule is None:
        rule = Rule(Action.SENT if message_id else Action.FAIL, warn=True)
    elif rule.action is Action.THROTTLE and _DAILY_TEXT.search(error or ""):
        rule = _WAIT_DAILY
    return Verdict(rule, status, message_id, error)
