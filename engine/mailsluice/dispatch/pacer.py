"""Recipients per second: when the next batch may leave, and how large it may be. Pure.

Two buckets at one rate, each one batch deep (docs/adr/0003, 0012). A batch takes its permit from
the first one when it is decided upon. When its intent is durable and it has a connection, it leaves
through the second one (`departures`), so that nothing that stalls lets a second's worth out at
once. In every window of t seconds at most `rate * t` + one batch leaves. A usual batch does not
empty the bucket: a caller that wakes up late finds more in it, and sends a larger one.

Above 50,000/s a batch takes less than a timer can tell (`GRAIN_S`), and the second bucket holds
that much instead of one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailsluice.dispatch import batching
from mailsluice.dispatch.adaptive_rate import AdaptiveRate, Answered
from mailsluice.dispatch.bucket import RESIDUE, Bucket
from mailsluice.dispatch.departures import Departures
from mailsluice.model.wait_reason import Reason

NARROW_PER_S = 1.25
"""Below this rate SES's own bucket holds hardly more than one recipient, or call: two that arrive a
little too close together exceed it."""

HAIR = 0.01
"""Part of such a rate that is left unused, so that SES's bucket is never exceeded."""

PROBE_S = 0.025
"""Seconds' worth in a batch after a throttle: if the rate is still too high, little of it is
throttled."""

TICK_S = 0.002
"""If a bucket fills in less than this, every wake-up finds it full."""

GRAIN_S = 0.001
"""Resolution of an event loop's timers (libuv counts milliseconds). If a bucket fills in less, then
batches that wait for their turns ask in every turn of the loop, which costs more than sending."""

CALLS_REFUSED_MAX = 10
"""Throttles in a row for too many calls, without an accepted call in between, after which they are
taken to mean too many recipients, whatever SES's text says."""

LINE_S = 1.0
"""While the ready batches take longer than this to leave, no more are started: an urgent message
would wait behind them. It is longer than any disk takes for a commit."""


@dataclass(frozen=True, slots=True)
class PacerStatistics:
    """Rates in recipients per second."""

    rate_per_s: float
    ceiling_per_s: float
    throttles: int
    """Cuts of the rate so far."""
    size_usual: int
    """Recipients in a usual batch."""
    allowed_per_s: float
    """What the rate and the limit on calls allow together."""


class Pacer:
    """The paced rate of one account; every batch takes its permit here."""

    def __init__(
        self, ceiling_per_s: float, now: float, *, calls_per_s: float = 0, resumed: bool = False
    ) -> None:
        """`calls_per_s` limits calls as well, whatever their weight; 0 does not.

        `resumed`: another process may have sent a batch just now, so the bucket is empty.
        """
        self._adaptive = AdaptiveRate(ceiling_per_s)
        self._calls = AdaptiveRate(calls_per_s) if calls_per_s else None
        self._learnt = False
        """True if the limit on calls was learnt from throttles, not configured."""
        self._calls_refused = 0
        """Throttles in a row for too many calls, without an accepted call in between."""
        self._calls_disbelieved = False
        rate, depth = _spaced(self.rate(now)), self.size_max(now)
        self._permits = Bucket(rate, depth, 0.0 if resumed else depth, now)
        grains = max(depth, rate * GRAIN_S)
        self._departures = Departures(rate, grains, 0.0 if resumed else grains, now)
        call = 0.0 if resumed else 1.0
        self._call_permits = Bucket(_spaced(calls_per_s), 1.0, call, now)
        self._call_departures = Bucket(_spaced(calls_per_s), 1.0, call, now)

    @property
    def ceiling_per_s(self) -> float:
        """The rate that throttles slow down from, and that comes back: addresses per second."""
        return self._adaptive.ceiling_per_s

    def rate(self, now: float) -> float:
        """Return the present rate, recipients per second."""
        return self._adaptive.at(now)

    def size_max(self, now: float) -> int:
        """Return the largest batch, in recipients."""
        calls_per_s = self._calls.at(now) if self._calls else 0
        return batching.size_for(self.rate(now), calls_per_s)

    def size_usual(self, now: float) -> int:
        """Return the size of a batch that is worth waiting for, in recipients."""
        size_max = self.size_max(now)
        if self._calls or size_max < self.rate(now) * TICK_S:
            return size_max
        if self._adaptive.cut:
            return max(1, min(size_max, int(self.rate(now) * PROBE_S)))
        return batching.usual(size_max)

    def size_now(self, now: float) -> int:
        """Return the largest batch that may start now, in recipients; one at least."""
        self._follow(now)
        return max(1, int(self._permits.level(now) + RESIDUE))

    def ready_at(self, weight: int, now: float) -> tuple[float, Reason]:
        """Return when a batch of that weight may start, and what it waits for until then."""
        self._follow(now)
        line_at = self._departures.free_at(now) - LINE_S
        ready_at = max(self._permits.ready_at(weight, now), line_at)
        if self._calls and (calls_at := self._call_permits.ready_at(1, now)) > ready_at:
            return calls_at, Reason.CALLS
        return ready_at, Reason.THROTTLED if self._adaptive.cut else Reason.RATE

    def spend(self, weight: int, now: float) -> None:
        """Take the permits for a batch of that weight."""
        self._permits.take(weight, now)
        if self._calls:
            self._call_permits.take(1, now)

    def leave(self, batch: int, weight: int, now: float) -> float:
        """Let a batch leave that could: return `now` if it leaves, else the moment to ask again.

        Call `written` after it has been written, or `stay` if it does not leave.
        """
        self._follow(now)
        moment = self._departures.turn(batch, weight, now)
        if self._calls:
            moment = max(moment, self._call_departures.ready_at(1, now))
        if moment <= now:
            self._departures.leave(batch, now)
            if self._calls:
                self._call_departures.take(1, now)
        return moment

    def stay(self, batch: int) -> None:
        """Remove a batch that does not leave."""
        self._departures.forget(batch)

    def written(self, weight: int, now: float) -> None:
        """Take note that a batch of that weight, which left, has been written."""
        self._departures.written(weight, now)

    def answered(
        self, answer: Answered, *, of_calls: bool = False, latest: int, now: float
    ) -> None:
        """Take note of a batch's answer; `latest` is the newest batch started.

        `of_calls`: it was throttled because of too many calls, however few recipients they had.
        If no limit on calls is configured, one is learnt.
        """
        throttles = self._throttles
        if of_calls and self._calls_disbelieved:
            self._adaptive.answered(answer, latest, now)
        elif of_calls:
            self._too_many_calls(answer, latest, now)
        else:
            self._calls_refused = 0 if answer.accepted else self._calls_refused
            self._adaptive.answered(answer, latest, now)
            if self._calls:
                self._calls.answered(answer._replace(accepted=1, throttled=0), latest, now)
        if self._throttles > throttles:
            self._change(now)

    def _too_many_calls(self, answer: Answered, latest: int, now: float) -> None:
        if self._calls is None:
            self._calls = AdaptiveRate(self._calls_needed_per_s)
            self._learnt = True
        before = self._calls.throttles
        self._calls.answered(answer._replace(accepted=0, throttled=1), latest, now)
        self._calls_refused += self._calls.throttles - before
        if self._calls_refused >= CALLS_REFUSED_MAX:
            self._calls_disbelieved = True
            self._calls = None if self._learnt else self._calls

    def set_ceiling(self, ceiling_per_s: float, now: float) -> None:
        """Change the account's rate."""
        if ceiling_per_s != self.ceiling_per_s:
            self._adaptive.set_ceiling(ceiling_per_s, now)
            if self._calls and self._learnt:
                self._calls.set_ceiling(self._calls_needed_per_s, now)
            self._change(now)

    def set_calls(self, calls_per_s: float, now: float) -> None:
        """Change the configured limit on calls; 0: none."""
        self._calls = AdaptiveRate(calls_per_s) if calls_per_s else None
        self._learnt = False
        self._call_permits = Bucket(_spaced(calls_per_s), 1.0, 0.0, now)
        self._call_departures = Bucket(_spaced(calls_per_s), 1.0, 0.0, now)
        self._change(now)

    def statistics(self, now: float) -> PacerStatistics:
        """Return the present rates."""
        rate, size_usual = self.rate(now), self.size_usual(now)
        by_calls = self._calls.at(now) * size_usual if self._calls else rate
        return PacerStatistics(
            rate, self.ceiling_per_s, self._throttles, size_usual, min(rate, by_calls)
        )

    @property
    def _throttles(self) -> int:
        return self._adaptive.throttles + (self._calls.throttles if self._calls else 0)

    @property
    def _calls_needed_per_s(self) -> float:
        """Calls per second that the whole rate takes if nothing limits their number."""
        return self.ceiling_per_s / batching.usual(batching.size_for(self.ceiling_per_s))

    def _follow(self, now: float) -> None:
        """Update the buckets to a rate that is coming back."""
        coming_back = [rate for rate in (self._adaptive, self._calls) if rate and rate.cut]
        if coming_back:
            self._change(now)
        for rate in coming_back:
            if rate.at(now) >= rate.ceiling_per_s:
                rate.restore()
        if self._learnt and self._calls and not self._calls.cut:
            self._calls = None  # so many calls as are needed are not too many

    def _change(self, now: float) -> None:
        rate, depth = _spaced(self.rate(now)), self.size_max(now)
        self._permits.change(rate, depth, now)
        self._departures.change(rate, max(depth, rate * GRAIN_S), now)
        for calls in (self._call_permits, self._call_departures):
            if self._calls:
                calls.change(_spaced(self._calls.at(now)), 1.0, now)


def _spaced(rate_per_s: float) -> float:
    """Return the rate to send at if SES allows `rate_per_s`."""
    return rate_per_s * (1 - HAIR) if rate_per_s < NARROW_PER_S else rate_per_s
