"""Recipients per second: when the next batch may leave, and how throttles change that.

The bucket is a schedule (GCRA): `ready_at` is the moment from which the next batch may go, and a
batch of weight w moves it on by w / rate. Nothing is polled and nothing is rounded, so it is exact
over time and safe under a virtual clock (docs/adr/0003).
"""

from __future__ import annotations

from dataclasses import dataclass

from mailsluice import batching

THROTTLE_CUT = 0.3
"""Part of the rate that a wholly throttled batch costs; a batch throttled in part costs as much
less. All calls that were under way together cost it once."""

RECOVERY_PER_S = 0.05
"""Part of the ceiling that the rate regains each second after a throttle."""

RATE_FLOOR = 0.05
"""Part of the ceiling below which throttles do not push the rate."""


@dataclass(frozen=True, slots=True)
class PacerStatistics:
    """Rates in recipients per second."""

    rate_per_s: float
    ceiling_per_s: float
    throttles: int
    """Slow-downs so far."""


class Pacer:
    """The paced rate of one account; every batch takes its permit here.

    The bucket is one batch deep: in every window of t seconds the weights permitted are at most
    `rate * t` + one batch. So a caller that comes late does not get its lateness back.
    """

    def __init__(
        self, ceiling_per_s: float, now: float, *, calls_per_s: float = 0, resumed: bool = False
    ) -> None:
        """`calls_per_s` limits calls as well, whatever their weight; 0 does not.

        `resumed`: another process may have sent a batch just now, so the first one waits as long as
        one takes.
        """
        self._ceiling = ceiling_per_s
        self._call_interval_s = 1 / calls_per_s if calls_per_s else 0.0
        self._cut_rate = ceiling_per_s
        self._cut_at = now
        self._cut_number = 0
        self._ready_at = now + batching.size_for(ceiling_per_s) / ceiling_per_s * resumed
        self._throttles = 0

    @property
    def ceiling_per_s(self) -> float:
        """The rate that throttles slow down from, and that comes back: addresses per second."""
        return self._ceiling

    @property
    def ready_at(self) -> float:
        """The moment from which the next batch may go."""
        return self._ready_at

    def rate(self, now: float) -> float:
        """The present rate, recipients per second."""
        regained = self._ceiling * RECOVERY_PER_S * max(0.0, now - self._cut_at)
        return min(self._ceiling, self._cut_rate + regained)

    def spend(self, weight: int, now: float) -> None:
        """A batch of that weight goes now."""
        rate = self.rate(now)
        interval_s = max(weight / rate, self._call_interval_s)
        self._ready_at = max(self._ready_at, now) + interval_s

    def throttled(self, number: int, share: float, latest: int, now: float) -> None:
        """SES throttled that share (0-1] of batch `number`; `latest` is the newest batch started.

        A batch that left before the last slow-down says nothing about the rate since.
        """
        if number <= self._cut_number:
            return
        self._cut_rate = max(
            self._ceiling * RATE_FLOOR, self.rate(now) * (1 - THROTTLE_CUT * share)
        )
        self._cut_at = now
        self._cut_number = latest
        self._throttles += 1

    def set_ceiling(self, ceiling_per_s: float, now: float) -> None:
        """The account's rate has become this one."""
        if ceiling_per_s == self._ceiling:
            return
        unthrottled = self.rate(now) >= self._ceiling
        before = self.rate(now)
        self._ceiling = ceiling_per_s
        self._cut_rate = ceiling_per_s if unthrottled else min(ceiling_per_s, before)
        self._cut_at = now
        # What is already booked was booked at the old rate.
        self._ready_at = now + max(0.0, self._ready_at - now) * before / self.rate(now)

    def statistics(self, now: float) -> PacerStatistics:
        """The present rates."""
        return PacerStatistics(self.rate(now), self._ceiling, self._throttles)
