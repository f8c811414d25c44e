"""The emulated account: its quota, what it accepts now, and its statistics. Pure.

Every method takes `now`, seconds on any clock that does not go back, so that a simulation can run
it on virtual time. Recipients, not messages, are counted everywhere, as SES does ("Managing your
Amazon SES sending limits", developer guide).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from mailsluice.emulator.windows import Bucket, Peak, RollingDay

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE_TEXT = "Maximum sending rate exceeded."
DAILY_TEXT = "Daily message quota exceeded."
CALLS_TEXT = "Rate exceeded"

Refuses = Literal["call", "entry"]
"""How SES refuses: the whole call by an exception, or single entries by a status."""


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AccountSettings:
    """Limits of the account. All of them can be changed while the emulator runs."""

    rate_per_s: Annotated[float, Field(gt=0)] = 14.0
    """MaxSendRate: recipients per second."""
    announced_rate_per_s: Annotated[float, Field(gt=0)] | None = None
    """The rate that GetAccount reports, if it differs: after a change it may lag."""
    daily_max: Annotated[float, Field(ge=-1)] = 50_000.0
    """Max24HourSend: recipients in the rolling day; -1 is unlimited."""
    model: Literal["strict", "debt"] = "strict"
    """`strict`: recipients that do not fit the bucket are refused. `debt`: while the bucket has one
    recipient, a call of any size is accepted, and the bucket goes into debt (as quoted in
    django-ses#59)."""
    burst_s: Annotated[float, Field(gt=0)] = 1.0
    """Capacity of the bucket, in seconds of the rate; it holds one recipient at least."""
    throttles: Refuses = "call"
    """Over the rate: 429 for the call, or ACCOUNT_THROTTLED for the entries that do not fit.
    Which of them real SES does has not been established."""
    daily_refuses: Refuses = "entry"
    """Over the day: ACCOUNT_DAILY_QUOTA_EXCEEDED for entries, or 429 for the call."""
    conditions_refuse: Refuses = "entry"
    """How a paused or suspended account, or an unknown name, is refused."""
    day_s: Annotated[float, Field(gt=0)] = 86_400.0
    """Length of the rolling day; tests shorten it."""
    lag_s: Annotated[float, Field(ge=0)] = 0.0
    """How far SentLast24Hours lags behind what was accepted."""
    get_account_per_s: Annotated[float, Field(ge=0)] = 0.0
    """GetAccount calls per second; 0: no limit."""
    calls_per_s: Annotated[float, Field(ge=0)] = 0.0
    """SendBulkEmail calls per second, apart from the recipients in them; 0: no limit."""
    sending_enabled: bool = True
    enforcement: Literal["HEALTHY", "PROBATION", "SHUTDOWN"] = "HEALTHY"
    production: bool = True
    pricing_plan: Literal["NONE", "ESSENTIALS", "PRO", "ENTERPRISE"] | None = None
    """The pricing plan that GetAccount reports; None: it reports none, as older SES did."""


class Refusal(NamedTuple):
    """Why something was not accepted: an exception's code for a call, a status for an entry."""

    code: str
    text: str


class Verdict(NamedTuple):
    """The account's answer to one call: refused as a whole, in part, or not at all."""

    refusal: Refusal | None = None
    refused: dict[int, Refusal] = {}  # noqa: RUF012 - never written to
    """Refusals by position of the entry; all other entries were accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatistics:
    """Totals since the account was made: recipients, except `calls`."""

    calls: int
    submitted: int
    accepted: int
    throttled: int
    daily_refused: int
    submitted_peak: int
    """Most recipients submitted in any second."""
    accepted_peak: int
    """Most recipients accepted in any second."""
    sent_last_day: int


ACCEPTED = Verdict()

_PAUSED = {
    "call": Refusal("SendingPausedException", "Email sending is paused for your account."),
    "entry": Refusal("ACCOUNT_SENDING_PAUSED", "Email sending is paused for your account."),
}
_SUSPENDED = {
    "call": Refusal("AccountSuspendedException", "Your account is suspended."),
    "entry": Refusal("ACCOUNT_SUSPENDED", "Your account is suspended."),
}
_THROTTLED = Refusal("ACCOUNT_THROTTLED", RATE_TEXT)
_DAILY = Refusal("ACCOUNT_DAILY_QUOTA_EXCEEDED", DAILY_TEXT)
_CALL_THROTTLED = Refusal("TooManyRequestsException", RATE_TEXT)
_CALL_DAILY = Refusal("TooManyRequestsException", DAILY_TEXT)
_TOO_MANY_CALLS = Refusal("TooManyRequestsException", CALLS_TEXT)


class Account:
    """One SES account in one region, beginning with a full bucket and an unused day."""

    def __init__(self, settings: AccountSettings | None = None) -> None:
        self._settings = settings or AccountSettings()
        self._bucket = Bucket()
        self._calls_bucket = Bucket()
        self._get_account_bucket = Bucket()
        self._day = RollingDay()
        self._submitted = Peak()
        self._accepted = Peak()
        self._calls = 0
        self._throttled = 0
        self._daily_refused = 0
        self._apply(0.0)

    @property
    def settings(self) -> AccountSettings:
        """The limits in force."""
        return self._settings

    @property
    def calls(self) -> int:
        """SendBulkEmail calls so far, accepted or refused."""
        return self._calls

    def change(self, now: float, **changes: Any) -> None:
        """Change some of the settings; what was accepted so far still counts.

        Raises pydantic.ValidationError for a bad value, TypeError for an unknown name.
        """
        self._settings = replace(self._settings, **changes)
        self._apply(now)

    def arrive(self, recipients: int, now: float) -> None:
        """Count a call as submitted, accepted or not."""
        self._calls += 1
        self._submitted.add(recipients, now)

    def call_refusal(self, now: float) -> Refusal | None:
        """Charge a SendBulkEmail call to the API rate. Return a refusal if the rate is used up."""
        return self._take_call(self._settings.calls_per_s, self._calls_bucket, now)

    def get_account_refusal(self, now: float) -> Refusal | None:
        """Charge one GetAccount call to the API rate. Return a refusal if the rate is used up."""
        return self._take_call(self._settings.get_account_per_s, self._get_account_bucket, now)

    def standing(self) -> Refusal | None:
        """Return why the account sends nothing at present; None if it sends."""
        way = self._settings.conditions_refuse
        if self._settings.enforcement == "SHUTDOWN":
            return _SUSPENDED[way]
        return None if self._settings.sending_enabled else _PAUSED[way]

    def submit(
        self, weights: Sequence[int], now: float, daily: Sequence[int] | None = None
    ) -> Verdict:
        """Accept what fits of one call whose entries have these weights.

        `daily` are the weights that count to the daily quota, if they differ: the mailbox
        simulator's addresses count to the rate only.
        """
        daily = weights if daily is None else daily
        if (standing := self.standing()) is not None:
            return self._refuse_all(standing, len(weights))
        total, daily_total = sum(weights), sum(daily)
        self._bucket.refill(now)
        if daily_total <= self._daily_left(now) and self._bucket.admits(total):
            self._accept(total, daily_total, now)
            return ACCEPTED
        return self._submit_in_part(weights, daily, now)

    def sent_last_day(self, now: float) -> int:
        """Return SentLast24Hours, which lags by `lag_s`."""
        return self._day.used(now, self._settings.day_s, self._settings.lag_s)

    def statistics(self, now: float) -> AccountStatistics:
        """Return the totals so far."""
        return AccountStatistics(
            calls=self._calls,
            submitted=self._submitted.total,
            accepted=self._accepted.total,
            throttled=self._throttled,
            daily_refused=self._daily_refused,
            submitted_peak=self._submitted.most,
            accepted_peak=self._accepted.most,
            sent_last_day=self._day.used(now, self._settings.day_s),
        )

    def _submit_in_part(self, weights: Sequence[int], daily: Sequence[int], now: float) -> Verdict:
        left = self._daily_left(now)
        if sum(daily) > left and self._settings.daily_refuses == "call":
            self._daily_refused += sum(weights)
            return Verdict(_CALL_DAILY)
        refused, total, daily_total = self._sift(weights, daily, left)
        if self._settings.throttles == "call":
            if total and not self._bucket.admits(total):
                self._throttled += total
                return Verdict(_CALL_THROTTLED)
            self._bucket.take(total)
        for index, refusal in refused.items():
            self._count_refused(refusal, weights[index])
        self._accepted.add(total, now)
        self._day.add(daily_total, now, self._settings.day_s)
        return Verdict(None, refused)

    def _sift(
        self, weights: Sequence[int], daily: Sequence[int], left: float
    ) -> tuple[dict[int, Refusal], int, int]:
        """Return the refused entries in order, and the weights of the others: all, and daily."""
        one_by_one = self._settings.throttles == "entry"
        refused: dict[int, Refusal] = {}
        total = daily_total = 0
        for index, (weight, daily_weight) in enumerate(zip(weights, daily, strict=True)):
            if daily_total + daily_weight > left:
                refused[index] = _DAILY
            elif one_by_one and not self._bucket.admits(weight):
                refused[index] = _THROTTLED
            else:
                total += weight
                daily_total += daily_weight
                if one_by_one:
                    self._bucket.take(weight)
        return refused, total, daily_total

    def _accept(self, total: int, daily_total: int, now: float) -> None:
        self._bucket.take(total)
        self._accepted.add(total, now)
        self._day.add(daily_total, now, self._settings.day_s)

    def _count_refused(self, refusal: Refusal, weight: int) -> None:
        if refusal is _DAILY:
            self._daily_refused += weight
        else:
            self._throttled += weight

    def _refuse_all(self, refusal: Refusal, entries: int) -> Verdict:
        if self._settings.conditions_refuse == "call":
            return Verdict(refusal)
        return Verdict(None, dict.fromkeys(range(entries), refusal))

    def _daily_left(self, now: float) -> float:
        if self._settings.daily_max < 0:
            return float("inf")
        return self._settings.daily_max - self._day.used(now, self._settings.day_s)

    def _take_call(self, rate_per_s: float, bucket: Bucket, now: float) -> Refusal | None:
        if not rate_per_s:
            return None
        bucket.refill(now)
        if not bucket.admits(1):
            return _TOO_MANY_CALLS
        bucket.take(1)
        return None

    def _apply(self, now: float) -> None:
        settings = self._settings
        self._bucket.change(
            now, settings.rate_per_s, settings.burst_s, in_debt=settings.model == "debt"
        )
        self._calls_bucket.change(now, settings.calls_per_s)
        self._get_account_bucket.change(now, settings.get_account_per_s)
