"""The cases of `make bench-quota` and their goals; the tests run them on virtual time.

A case is an emulated account and what happens to it; `Measured` is what became of a run on it, as
the emulator and the run's journal tell it. Seconds count from the first call that was accepted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

BATCH_MAX = 50
SETTLED_S = 3.0
"""How long little must be throttled, and most of the rate used, to call it settled."""

SETTLED_SHARE = 0.85
WHOLE_SHARE = 0.97
"""Part of the rate, over a second, that is the whole of it again: batches come in lumps."""


class Sample(NamedTuple):
    """So many recipients at that second."""

    at: float
    recipients: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """Another program that sends through the account, at its pace, whatever SES says."""

    rate_per_s: float
    begins_s: float
    ends_s: float
    every_s: float = 0.1


class Goal(NamedTuple):
    """One figure of a case."""

    name: str
    of: Callable[[Measured], float]
    least: float | None = None
    most: float | None = None
    percent: bool = True

    def reached(self, value: float) -> bool:
        """Whether this value is as good as wanted."""
        least, most = self.least, self.most
        return (least is None or value >= least) and (most is None or value <= most)

    def shown(self, value: float | None) -> str:
        """Format the value for people."""
        if value is None:
            return "-"
        return f"{value:.2%}" if self.percent else f"{value:,.1f}".removesuffix(".0")

    @property
    def wanted(self) -> str:
        """The goal as a person reads it."""
        signed = [("≥ ", self.least), ("≤ ", self.most)]
        return ", ".join(sign + self.shown(value) for sign, value in signed if value is not None)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table."""

    name: str
    title: str
    account: dict[str, Any]
    """Settings of the emulated account (`emulator.AccountSettings`)."""
    goals: Sequence[Goal]
    seconds: float = 60.0
    recipients: int | None = None
    """In the list; None: more than can be sent."""
    latency_s: tuple[float, float] = (0.05, 0.25)
    changes: Sequence[tuple[float, dict[str, Any]]] = ()
    """When the account's settings change."""
    slow: tuple[float, float, float] | None = None
    """From, until, and how many seconds longer every answer takes then."""
    tenant: Tenant | None = None
    kills: int = 0
    """SIGKILLs, evenly over the time."""

    @property
    def kill_times(self) -> list[float]:
        """When the run is killed, and started again."""
        return [self.seconds * n / (self.kills + 1) for n in range(1, self.kills + 1)]

    @property
    def day_s(self) -> float:
        """Length of the daily quota's window."""
        return float(self.account.get("day_s", 86_400.0))

    def rate_at(self, at: float) -> float:
        """Return the rate that SES allows at that time, recipients per second."""
        rate: float = self.account["rate_per_s"]
        for begins, change in self.changes:
            rate = change.get("rate_per_s", rate) if at >= begins else rate
        return rate


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What became of a case."""

    case: Case
    accepted: Sequence[Sample]
    """Of this run, in the order of time."""
    throttled: Sequence[Sample]
    """Of this run, when it was told."""
    others: Sequence[Sample] = ()
    """What SES accepted of the other tenant."""
    peak: int
    """Most recipients submitted within any second, at SES."""
    daily_refused: int = 0
    """Recipients that SES refused for the daily quota."""
    left_over: int = 0
    """Recipients of the list that were not sent in the end."""

    @cached_property
    def _times(self) -> list[float]:
        return [sample.at for sample in self.accepted]

    def taken(self, begin: float, end: float) -> int:
        """Recipients accepted between these seconds."""
        first, last = (bisect_left(self._times, at) for at in (begin, end))
        return sum(sample.recipients for sample in self.accepted[first:last])

    def allowed(self, begin: float, end: float) -> float:
        """Return what SES would have accepted, without the other tenant's part."""
        edges = sorted({begin, end, *(at for at, _ in self.case.changes if begin < at < end)})
        whole = sum((later - at) * self.case.rate_at(at) for at, later in pairwise(edges))
        return whole - sum(s.recipients for s in self.others if begin <= s.at < end)

    def used(self, begin: float, end: float) -> float:
        """Part of that which was taken."""
        return self.taken(begin, end) / self.allowed(begin, end)

    @property
    def throttled_share(self) -> float:
        """Part of what was submitted that was throttled."""
        throttled = sum(s.recipients for s in self.throttled)
        return throttled / (throttled + sum(s.recipients for s in self.accepted))

    def throttled_between(self, begin: float, end: float) -> int:
        """Recipients of which it was told then that they were throttled."""
        return sum(s.recipients for s in self.throttled if begin <= s.at < end)

    def settled_after(self, begin: float) -> float:
        """Seconds from the first throttle after `begin` until it has settled."""
        first = next((s.at for s in self.throttled if s.at >= begin), None)
        if first is None:
            return 0.0
        for tenth in range(round((self.case.seconds - first) * 10)):
            at = first + tenth / 10
            allowed = self.allowed(at, at + SETTLED_S)
            throttled = self.throttled_between(at, at + SETTLED_S)
            if throttled <= 0.01 * allowed and self.used(at, at + SETTLED_S) >= SETTLED_SHARE:
                return tenth / 10
        return float("inf")

    def whole_after(self, begin: float) -> float:
        """Seconds from then until the whole rate is used again."""
        for tenth in range(round((self.case.seconds - begin) * 10)):
            if self.used(begin + tenth / 10, begin + tenth / 10 + 1) >= WHOLE_SHARE:
                return tenth / 10
        return float("inf")

    @property
    def excess(self) -> float:
        """Most recipients in any second, over what the rate and one batch allow."""
        return self.peak - max(self.case.rate_at(0), *self._rates) - BATCH_MAX

    @property
    def _rates(self) -> list[float]:
        return [0.0, *(change.get("rate_per_s", 0.0) for _, change in self.case.changes)]

    @property
    def most_in_a_day(self) -> int:
        """Most recipients accepted in any window of the daily quota."""
        inside = begun = most = 0
        for sample in self.accepted:
            inside += sample.recipients
            while self.accepted[begun].at <= sample.at - self.case.day_s:
                inside -= self.accepted[begun].recipients
                begun += 1
            most = max(most, inside)
        return most


def _used(least: float, begin: float, end: float, name: str = "quota used") -> Goal:
    return Goal(name, lambda m: m.used(begin, end), least=least)


def _throttled(most: float) -> Goal:
    return Goal("throttled", lambda m: m.throttled_share, most=most)


_NO_EXCESS = Goal(
    "over rate + one batch in any 1 s", lambda m: max(0.0, m.excess), most=0, percent=False
)


def _steady(rate: float, seconds: float) -> Case:
    return Case(
        name=f"{rate:g}",
        title=f"{rate:,.0f}/s",
        account={"rate_per_s": rate, "daily_max": -1},
        seconds=seconds,
        goals=[_used(0.99, 1, seconds), _throttled(0.001)],
    )


def cases(*, fast_s: float = 60.0) -> list[Case]:
    """All of them; `fast_s` is how long the fastest account is sent through."""
    return [
        _steady(14, 60),
        _steady(200, 60),
        _steady(5000, fast_s),
        Case(
            name="sandbox",
            title="sandbox: 1/s, 200 a day",
            account={"rate_per_s": 1, "daily_max": 200},
            goals=[_used(0.98, 1, 60), _throttled(0)],
        ),
        Case(
            name="tenant",
            title="another tenant takes 30 % of 500/s, 20-40 s",
            account={"rate_per_s": 500, "daily_max": -1},
            tenant=Tenant(150, 20, 40),
            goals=[
                _used(0.95, 20, 40, "of what was left, used"),
                _throttled(0.01),
                Goal("whole again after, s", lambda m: m.whole_after(40), most=10, percent=False),
            ],
        ),
        Case(
            name="halved",
            title="500/s halved at 10 s, doubled at 25 s; GetAccount lags 30 s",
            account={"rate_per_s": 500, "daily_max": -1},
            changes=[
                (10, {"rate_per_s": 250, "announced_rate_per_s": 500}),
                (25, {"rate_per_s": 500}),
                (40, {"announced_rate_per_s": 250}),
                (55, {"announced_rate_per_s": None}),
            ],
            goals=[
                Goal("settled after, s", lambda m: m.settled_after(10), most=5, percent=False),
                _throttled(0.01),
            ],
        ),
        Case(
            name="slow",
            title="500/s; answers take 5 s instead of 50 ms, 20-30 s",
            account={"rate_per_s": 500, "daily_max": -1},
            latency_s=(0.04, 0.06),
            slow=(20, 30, 5.0),
            goals=[_used(0.95, 40, 50, "used 10 s after"), _throttled(0.001), _NO_EXCESS],
        ),
        Case(
            name="killed",
            title="200/s, killed and restarted 20 times",
            account={"rate_per_s": 200, "daily_max": -1},
            kills=20,
            goals=[_NO_EXCESS, _throttled(0.001)],
        ),
        Case(
            name="daily",
            title="200/s, 5,000 a day, the day 100 times as fast (864 s)",
            account={"rate_per_s": 200, "daily_max": 5000, "day_s": 864.0, "lag_s": 9.0},
            recipients=7000,
            seconds=960,
            goals=[
                Goal("most in a day", lambda m: m.most_in_a_day, most=5000, percent=False),
                Goal("refused by SES", lambda m: m.daily_refused, most=0, percent=False),
                Goal("not sent in the end", lambda m: m.left_over, most=0, percent=False),
            ],
        ),
    ]
