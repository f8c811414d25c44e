"""How strong the evidence is that a mailing's rate is above a limit. Pure.

*The question.* Each send bounces with a probability of at most the limit, whatever happened before:
is that still credible? `Evidence` keeps an e-process: the mean, over some rates above the limit, of
how much better that rate explains what was seen. If the rate is within the limit, the e-process
ever reaches 1/a with a probability of at most a (Ville's inequality), however often it is looked at
and however long the mailing is. Its rates are 1.25 to 10 times the limit.

*Delay.* A send counts as one that did not bounce from the moment it is made, and is corrected when
its bounce arrives. A bounce only ever raises the e-process, so what is known at any moment is at
most what will be known in the end, for each prefix of the sends in their order. The largest value
over all prefixes therefore keeps its promise under any delay, loss or order of events, without any
assumption on how late bounces are. Two things would break this. If only sends were counted of which
something was heard, a list of 2 % would look like one of 35 % for its first seconds, because
bounces are quicker than deliveries. And if only the last prefix was looked at, the sends that
nothing can have been heard of yet would drown the evidence, the more the faster the mailing is.

*A bad part in the middle.* Half of the weight is on the start of the mailing. The other half is
spread over later starts, so that a bad part at the end of a long good list is noticed. All weights
together are 1, hence this is an e-process as well. Evidence from a later start stops a mailing only
if the last `WINDOW` sends are as bad as a list at the limit: a dead domain of 200 does not.

docs/adr/0022-brake.md has the figures, and the rules that were compared.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

TIMES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""The rates that compete with the limit, as multiples of it."""

RATE_MAX = 0.95
"""Largest competing rate: a single send without a bounce would refute a rate of 1."""

WINDOW = 10_000
"""Sends that AWS looks at, by the notices that it has sent."""

START_WEIGHT = 0.5

RESTARTS_SUM = 1.3064
"""A little more than the sum of 1 / ((j + 1) ln²(j + 2)) over all j ≥ 1."""

EXPONENT_MAX = 345.0
EVIDENCE_MAX = 1e150
"""Kept no higher, so that no product overflows. Lower is always safe."""

QUANTILE_95 = 1.645


class Estimate(NamedTuple):
    """A rate, for people."""

    sends: int
    heard: int
    low: float
    high: float
    """Between them with 90 %, if everything about these sends has been heard."""

    @property
    def rate(self) -> float:
        """Heard per send."""
        return self.heard / self.sends if self.sends else 0.0


def estimate(sends: int, heard: int) -> Estimate:
    """Estimate the rate, and how far it may be off."""
    return Estimate(sends, heard, _low(heard) / max(1, sends), upper(sends, heard))


def upper(sends: int, heard: int) -> float:
    """Return the upper bound of the rate, with 95 %."""
    more = heard + 1
    return min(1.0, (more + QUANTILE_95 * math.sqrt(more)) / sends) if sends else 1.0


def _low(heard: int) -> float:
    return max(0.0, heard - QUANTILE_95 * math.sqrt(heard))


class Alarm(NamedTuple):
    """The evidence suffices."""

    sends: int
    """Sends in the prefix that raises the alarm."""
    heard: int
    value: float
    """How many times less likely it is, if the rate is within the limit."""


class Evidence:
    """One e-process over buckets of sends, in the order in which they were made."""

    def __init__(self, limit: float, false_alarm: float, least: int) -> None:
        """Begin.

        `limit`: a rate, between 0 and 1. `false_alarm`: how probable an alarm may be at most in a
        mailing that keeps the limit. `least`: no alarm before so many were heard.
        """
        rates = [min(limit * times, RATE_MAX) for times in TIMES if limit < RATE_MAX]
        self.limit = limit
        self._wanted = 1 / false_alarm
        self._least = least
        self._hits = [math.log(rate / limit) for rate in rates]
        self._misses = [math.log((1 - rate) / (1 - limit)) for rate in rates]
        self._sends: list[int] = []
        self._heard: list[int] = []
        self._sends_up_to: list[int] = []
        self._heard_up_to: list[int] = []
        self._from_start: list[list[float]] = []
        """After each bucket: for each rate, the likelihood ratio of all that was sent so far."""
        self._from_later: list[list[float]] = []
        """The same, added up over all later starts with their weights."""
        self._valid = 0
        """Buckets before this one are up to date in the lists above."""
        self._news = False
        """Something was heard since the last look; sends alone can only weaken the evidence."""
        self._alarm: Alarm | None = None
        self.value = 0.0
        """The largest that there has been."""

    @property
    def sends(self) -> int:
        """Number of all sends."""
        return sum(self._sends)

    @property
    def heard(self) -> int:
        """Number of sends of which it was heard."""
        return sum(self._heard)

    def send(self, bucket: int, sends: int) -> None:
        """Count sends in a bucket: the last one, or the one after it."""
        if bucket == len(self._sends):
            self._sends.append(0)
            self._heard.append(0)
        self._sends[bucket] += sends
        self._valid = min(self._valid, bucket)

    def hear(self, bucket: int) -> None:
        """Count one that was heard of a send in that bucket."""
        self._heard[bucket] += 1
        self._valid = min(self._valid, bucket)
        self._news = True

    def alarm(self) -> Alarm | None:
        """Look at what is new. Once there is an alarm, it stays."""
        if self._alarm is None and self._news:
            self._news = False
            self._alarm = self._look()
        return self._alarm

    def _look(self) -> Alarm | None:
        """Update all prefixes that have changed; raise the alarm if one suffices."""
        first = self._valid
        self._recount(first)
        size = len(self._hits)
        start = self._from_start[first - 1] if first else [START_WEIGHT / max(1, size)] * size
        later = self._from_later[first - 1] if first else [0.0] * size
        found = None
        for bucket in range(first, len(self._sends)):
            heard = self._heard[bucket]
            missed = max(0, self._sends[bucket] - heard)
            ratios = [
                math.exp(min(heard * hit + missed * miss, EXPONENT_MAX))
                for hit, miss in zip(self._hits, self._misses, strict=True)
            ]
            weight = _restart_weight(bucket) / size if bucket else 0.0
            start = [min(x * ratio, EVIDENCE_MAX) for x, ratio in zip(start, ratios, strict=True)]
            later = [
                min((x + weight) * ratio, EVIDENCE_MAX)
                for x, ratio in zip(later, ratios, strict=True)
            ]
            self._from_start.append(start)
            self._from_later.append(later)
            found = found or self._judge(bucket, sum(start), sum(later))
        self._valid = len(self._sends)
        return found

    def _recount(self, first: int) -> None:
        del self._from_start[first:], self._from_later[first:]
        _add_up(self._sends_up_to, self._sends, first)
        _add_up(self._heard_up_to, self._heard, first)

    def _judge(self, bucket: int, start: float, later: float) -> Alarm | None:
        self.value = max(self.value, start + later)
        heard = self._heard_up_to[bucket]
        if heard < self._least or start + later < self._wanted:
            return None
        if start < self._wanted and self._heard_lately(bucket) < self.limit * WINDOW:
            return None
        return Alarm(self._sends_up_to[bucket], heard, start + later)

    def _heard_lately(self, bucket: int) -> int:
        """Return how many were heard in the last `WINDOW` sends up to the end of that bucket."""
        up_to = self._sends_up_to
        begin = bisect_right(up_to, up_to[bucket] - WINDOW, 0, bucket)
        before = self._heard_up_to[begin - 1] if begin else 0
        return self._heard_up_to[bucket] - before


def _add_up(up_to: list[int], counts: list[int], first: int) -> None:
    """Renew the sums from that index on."""
    del up_to[first:]
    up_to += list(accumulate(counts[first:], initial=up_to[-1] if up_to else 0))[1:]


def _restart_weight(bucket: int) -> float:
    """How much of the weight is on a start at that bucket; never more than 1 with all others."""
    return (1 - START_WEIGHT) / RESTARTS_SUM / ((bucket + 1) * math.log(bucket + 2) ** 2)
