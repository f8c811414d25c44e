"""SES's operations, from a request to the reply. No I/O but the ledger's.

A SendBulkEmail call is judged in this order: signature, shape, API rate, call faults, names that
must exist, addresses, entry faults, account. Accepted entries are in the ledger before the reply is
returned.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from mailsluice.emulator import (
    control_plane,
    exchange,
    mailboxes,
    resources,
    signature,
    submission,
    templates,
)
from mailsluice.emulator.account import Account, AccountStatistics, Refusal
from mailsluice.emulator.events.plan import Mail
from mailsluice.emulator.events.publisher import Publisher
from mailsluice.emulator.exchange import Answer, RefusedError, Request
from mailsluice.emulator.faults import CallFault, Failure, Faults, Operation
from mailsluice.emulator.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mailsluice.emulator.options import EmulatorOptions
    from mailsluice.emulator.submission import Submission

REQUESTS_KEPT = 64
"""Number of the latest SendBulkEmail bodies that are kept for tests."""

BULK = ("POST", "/v2/email/outbound-bulk-emails")
ACCOUNT = ("GET", "/v2/email/account")


_RESOURCE_FIELDS = dataclasses.fields(resources.Resources)


class Ending(enum.Enum):
    """How a connection goes on after a reply."""

    KEEP = enum.auto()
    """It stays open for the next request."""
    CLOSE = enum.auto()
    """It is closed."""
    RESET = enum.auto()
    """It is reset (RST); what was written before may be lost."""
    CUT = enum.auto()
    """Half of the answer's body is written, then the connection is closed."""


class Reply(NamedTuple):
    """What the connection does for one request."""

    answer: Answer | None
    """None if nothing is written."""
    delay_s: float = 0.0
    ending: Ending = Ending.KEEP
    stream: Iterator[bytes] | None = None
    """Pieces of the body, in place of the answer's own, if its length is not known yet."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatistics:
    """Requests so far, and how they were answered."""

    account: AccountStatistics
    requests: int
    """Requests of all operations but the reading ones, signed or not."""
    get_account_calls: int
    reading_calls: dict[str, int]
    """Calls by reading operation, refused ones included."""
    errors: dict[str, int]
    """Calls by error code."""
    failures: dict[str, int]
    """Entries by status."""
    faults: dict[str, int]
    """Calls by the fault that struck."""
    ledger: int
    """Entries accepted."""
    rendering_failures: int
    """Entries in the ledger that could not be rendered."""
    events: dict[str, int]
    """Events published, by kind, copies included."""
    events_planned: int
    """Events that are not due yet."""


class Service:
    """SES v2 without a network: requests in, replies out."""

    def __init__(self, options: EmulatorOptions) -> None:
        self.account = Account(options.account)
        self.faults = Faults(options.faults)
        self.ledger = Ledger(options.ledger)
        self.bodies: deque[bytes] = deque(maxlen=REQUESTS_KEPT)
        self.resources = options.resources
        self.publisher = Publisher(options.events) if options.events is not None else None
        self._guard = control_plane.Guard()
        self.readings: Counter[str] = Counter()
        self._options = options
        self._latency = options.latency.random()
        self._requests = 0
        self.get_account_calls = 0
        self._errors: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._struck: Counter[str] = Counter()
        self._rendering_failed = 0

    def change_resources(self, changes: Mapping[str, Any]) -> None:
        """Replace some fields of the resources. Raises ConfigurationError."""
        fields = {field.name: getattr(self.resources, field.name) for field in _RESOURCE_FIELDS}
        self.resources = resources.parse(fields | dict(changes), "resources")

    def handle(self, request: Request, now: float, wall: float) -> Reply:
        """Answer one request. `now` is any monotonic clock, `wall` the epoch's; seconds."""
        try:
            reply = self._answered(request, now, wall)
        except RefusedError as error:
            reply = Reply(error.answer)
        if reply.answer is not None and reply.answer.code is not None:
            self._errors[reply.answer.code] += 1
        return self._in_time(reply)

    def _answered(self, request: Request, now: float, wall: float) -> Reply:
        reading = control_plane.asked(request)
        if reading is None:
            self._requests += 1
        else:
            self.readings[reading.operation] += 1
        self._check_signature(request, wall)
        if reading is not None:
            self._guard.admit(reading.operation, self.resources, now)
            return self._read(reading.operation, lambda: self._controlled(reading, wall))
        operation = (request.method, request.target.partition("?")[0])
        if operation == BULK:
            return self._send_bulk_email(request.body, now, wall)
        if operation == ACCOUNT:
            self.get_account_calls += 1
            _raise_if(self.account.get_account_refusal(now))
            return self._read("GetAccount", lambda: self._described(now))
        raise RefusedError("UnknownOperationException", "No such operation.")

    def statistics(self, now: float) -> ServiceStatistics:
        """Return the statistics so far."""
        return ServiceStatistics(
            account=self.account.statistics(now),
            requests=self._requests,
            get_account_calls=self.get_account_calls,
            reading_calls=dict(self.readings),
            errors=dict(self._errors),
            failures=dict(self._failures),
            faults=dict(self._struck),
            ledger=len(self.ledger),
            rendering_failures=self._rendering_failed,
            events=dict(self.publisher.by_kind) if self.publisher else {},
            events_planned=self.publisher.planned if self.publisher else 0,
        )

    def _check_signature(self, request: Request, wall: float) -> None:
        if self._options.credentials is not None:
            signature.verify(
                request, self._options.credentials, wall=wall, region=self._options.region
            )

    def _send_bulk_email(self, body: bytes, now: float, wall: float) -> Reply:
        options = self._options
        asked = submission.read(
            body, address_faults=options.address_faults, default_tags=options.default_tags
        )
        self.bodies.append(body)
        weights = [entry.weight for entry in asked.entries]
        self.account.arrive(sum(weights), now)
        _raise_if(self.account.call_refusal(now))
        call = self.faults.begin("SendBulkEmail")
        if (fault := self._strike(asked, call, before=True)) is not None:
            return _struck_before(fault)
        failures = self._failing(asked)
        ids = self._submit(asked, weights, failures, call, now, wall)
        results = _results(len(weights), ids, failures)
        self._failures.update(failure.status for failure in failures.values())
        fault = self._strike(asked, call, before=False) if ids else None
        return _after(fault, {"BulkEmailEntryResults": results})

    def _controlled(self, asked: control_plane.Asked, wall: float) -> dict[str, Any]:
        if not asked.is_writing:
            return control_plane.answered(asked, self.resources)
        self.resources = dataclasses.replace(
            self.resources, **control_plane.changed(asked, self.resources, wall)
        )
        return {}

    def _read(self, operation: Operation, describe: Callable[[], dict[str, Any]]) -> Reply:
        """Answer an operation that sends nothing, unless a fault strikes. Raises RefusedError."""
        call = self.faults.begin(operation)
        for before in (True, False):
            fault = self.faults.strike(operation, call, (), before=before)
            if fault is not None:
                self._struck[fault.fault] += 1
                return _struck_before(fault) if before else _after(fault, describe())
        return _after(None, describe())

    def _described(self, now: float) -> dict[str, Any]:
        settings = self.account.settings
        return {
            "DedicatedIpAutoWarmupEnabled": False,
            "EnforcementStatus": settings.enforcement,
            "ProductionAccessEnabled": settings.production,
            "SendQuota": {
                "Max24HourSend": settings.daily_max,
                "MaxSendRate": settings.announced_rate_per_s or settings.rate_per_s,
                "SentLast24Hours": float(self.account.sent_last_day(now)),
            },
            "SendingEnabled": settings.sending_enabled and settings.enforcement != "SHUTDOWN",
            "SuppressionAttributes": {"SuppressedReasons": ["BOUNCE", "COMPLAINT"]},
            **(
                {"PricingAttributes": {"CurrentPlan": settings.pricing_plan}}
                if settings.pricing_plan
                else {}
            ),
        }

    def _strike(self, asked: Submission, call: int, *, before: bool) -> CallFault | None:
        addresses = (
            mailboxes.bare(address) for entry in asked.entries for address in entry.addresses
        )
        fault = self.faults.strike("SendBulkEmail", call, addresses, before=before)
        if fault is not None:
            self._struck[fault.fault] += 1
        return fault

    def _failing(self, asked: Submission) -> dict[int, Failure]:
        """Return the entries that fail before the account is asked, by position."""
        failures = {
            index: Failure("INVALID_PARAMETER", text) for index, text in asked.problems.items()
        }
        if (unknown := self._unknown_name(asked)) is not None:
            return dict.fromkeys(range(len(asked.entries)), unknown) | failures
        if not self.account.settings.production and self.resources.identities is not None:
            failures = self._unverified(asked) | failures
        if self.faults.script.entry:
            bare = [[mailboxes.bare(each) for each in entry.addresses] for entry in asked.entries]
            failures = self.faults.failures(bare) | failures
        return failures

    def _unverified(self, asked: Submission) -> dict[int, Failure]:
        """Return the entries with an address that is not verified, by position; for the sandbox."""
        failures = {}
        for index, entry in enumerate(asked.entries):
            for address in entry.addresses:
                bare = mailboxes.bare(address).strip().lower()
                if not (mailboxes.simulated(bare) or self._is_verified(bare)):
                    failures[index] = Failure("MESSAGE_REJECTED", _NOT_VERIFIED)
        return failures

    def _is_verified(self, address: str) -> bool:
        identity = self.resources.sender(address)
        return identity is not None and identity.verified

    def _unknown_name(self, asked: Submission) -> Failure | None:
        """Return why no entry can be sent. Raises RefusedError if that refuses the whole call."""
        named = asked.configuration_set
        found = self.resources.configuration_set(named) if named is not None else None
        for wrong, name, status, code, text in (
            (not self._is_verified(asked.sender), asked.sender.rpartition("@")[2], *_NO_DOMAIN),
            (named is not None and found is None, named, *_NO_CONFIGURATION_SET),
            (found is not None and not found.sending_enabled, named, *_SET_PAUSED),
            (
                asked.template and self.resources.template(asked.template) is None,
                asked.template,
                *_NO_TEMPLATE,
            ),
        ):
            if wrong:
                if self.account.settings.conditions_refuse == "call":
                    raise RefusedError(code, text.format(name))
                return Failure(status, text.format(name))
        return None

    def _submit(  # noqa: PLR0913, PLR0917 - one step of the call, with all that it knows
        self,
        asked: Submission,
        weights: list[int],
        failures: dict[int, Failure],
        call: int,
        now: float,
        wall: float,
    ) -> list[str]:
        """Return the message ids of accepted entries, in order; add the others to `failures`."""
        indices = [index for index in range(len(weights)) if index not in failures]
        entries = [asked.entries[index] for index in indices]
        weights = [weights[index] for index in indices]
        verdict = self.account.submit(weights, now, _daily(asked, entries, weights))
        _raise_if(verdict.refusal)
        for position, refusal in verdict.refused.items():
            failures[indices[position]] = Failure(*refusal)
        accepted = [
            entry for position, entry in enumerate(entries) if position not in verdict.refused
        ]
        if not accepted:
            return []
        errors = self._rendering_failures(asked, accepted)
        self._rendering_failed += len(errors)
        ids = self.ledger.record(accepted, asked.template, call, wall, errors)
        self._plan_events(asked, accepted, ids, wall, errors)
        return ids

    def _plan_events(
        self,
        asked: Submission,
        entries: list[submission.Entry],
        ids: list[str],
        wall: float,
        errors: Mapping[int, str],
    ) -> None:
        """Have events published about accepted entries, if their configuration set asks for any."""
        if self.publisher is None:
            return
        named = asked.configuration_set or self.resources.default_set(asked.sender)
        if named is None:
            return
        mails = (
            Mail(
                *(id_, wall, asked.source, tuple(entry.to), tuple(entry.cc), tuple(entry.bcc)),
                *(entry.tags, templates.name_of(asked.template), named, errors.get(position)),
            )
            for position, (id_, entry) in enumerate(zip(ids, entries, strict=True))
        )
        self.publisher.accept(mails, self.resources.published(named))

    def _rendering_failures(
        self, asked: Submission, entries: list[submission.Entry]
    ) -> dict[int, str]:
        """Return SES's texts for the entries that cannot be rendered, by position."""
        template = asked.content or self.resources.template(asked.template)
        if template is None or not template.has_tags:
            return {}
        failures = (
            template.failure(templates.merged(asked.data, submission.data_of(entry.data)))
            for entry in entries
        )
        return {position: said for position, said in enumerate(failures) if said is not None}

    def _in_time(self, reply: Reply) -> Reply:
        latency = self._options.latency
        if not latency.high_s:
            return reply
        drawn = self._latency.uniform(latency.low_s, latency.high_s)
        return reply._replace(delay_s=reply.delay_s + drawn)


_NO_DOMAIN = (
    "MAIL_FROM_DOMAIN_NOT_VERIFIED",
    "MailFromDomainNotVerifiedException",
    "The domain {} is not verified.",
)
_NO_CONFIGURATION_SET = (
    "CONFIGURATION_SET_NOT_FOUND",
    "NotFoundException",
    "Configuration set {} does not exist.",
)
_SET_PAUSED = (
    "CONFIGURATION_SET_SENDING_PAUSED",
    "SendingPausedException",
    "Sending is disabled for configuration set {}.",
)
_NOT_VERIFIED = "Email address is not verified."
_NO_TEMPLATE = ("TEMPLATE_NOT_FOUND", "NotFoundException", "Template {} does not exist.")


_ENDINGS = {"lost": Ending.CLOSE, "reset_after": Ending.RESET, "cut": Ending.CUT}


def _raise_if(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RefusedError(*refusal)


def _struck_before(fault: CallFault) -> Reply:
    if fault.fault == "reset_before":
        return Reply(None, ending=Ending.RESET)
    return Reply(_error(fault))


def _error(fault: CallFault) -> Answer:
    if fault.code is None:
        text = fault.message or "Service unavailable"
        return Answer(fault.http_status or 500, text.encode(), None, "text/html")
    text = fault.message or f"The emulator was told to answer {fault.code}."
    return exchange.refusal(fault.code, text, fault.http_status)


def _after(fault: CallFault | None, document: dict[str, Any]) -> Reply:
    """Return the answer to an accepted call, as the fault leaves it."""
    kind = fault.fault if fault is not None else None
    if kind == "short":
        document = {name: value[:-1] for name, value in document.items()}
    answer = exchange.document(document)
    if fault is None or kind == "short":
        return Reply(answer)
    if kind == "broken":
        answer = answer._replace(body=answer.body[: len(answer.body) // 2])
    elif kind == "error":
        answer = _error(fault)
    written = None if kind in {"lost", "reset_after"} else answer
    return Reply(written, fault.delay_s or 0.0, _ENDINGS.get(fault.fault, Ending.KEEP))


def _results(count: int, ids: list[str], failures: dict[int, Failure]) -> list[dict[str, str]]:
    if not failures:
        return [{"Status": "SUCCESS", "MessageId": message_id} for message_id in ids]
    left = iter(ids)
    return [
        {"Status": failures[index].status, "Error": failures[index].error}
        if index in failures
        else {"Status": "SUCCESS", "MessageId": next(left)}
        for index in range(count)
    ]


def _daily(asked: Submission, entries: list[submission.Entry], weights: list[int]) -> list[int]:
    """Return the weights that count to the daily quota: the mailbox simulator's do not."""
    if not asked.may_be_simulated:
        return weights
    return [sum(not mailboxes.simulated(each) for each in entry.addresses) for entry in entries]
