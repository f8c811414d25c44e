"""A rate that adapts to throttles: it falls at once, and comes back along a cubic. Pure.

Only SES's throttles show what the account can really take: another program may send through it, or
its rate may have been cut before GetAccount says so. Between two throttles SES's bucket went from
empty to empty, so what SES accepted meanwhile, divided by the time, is the limit. The rate falls
below that limit, comes back to it, stays there for a while, and then probes for more until the
ceiling or the next throttle (docs/adr/0012; the curve is CUBIC's, RFC 9438, on recipients per
second).
"""

from __future__ import annotations

import math
from typing import NamedTuple

CUT = 0.2
"""Part of the rate that a throttled batch costs; a batch throttled in part costs proportionally
less. All batches that were under way together cost it once."""

DIP = 0.1
"""Part of the measured limit by which the rate falls below it, proportionally as with CUT."""

TOLERATED = 0.01
"""Share of recipients that may be throttled without a cut of the rate: strays."""

TOLERANCE_S = 5.0
"""Time over which that share is averaged, seconds."""

MEASURE_MIN_S, MEASURE_MAX_S = 0.5, 30.0
"""Shortest and longest time between two throttles for the limit to be measured, seconds."""

CURVE_PER_S3 = 0.002
"""Steepness of the cubic: part of the ceiling per cubed second."""

CREEP_PER_S = 0.01
"""Least part of the ceiling that comes back per second."""

FLOOR = 0.02
"""Part of the ceiling below which throttles do not push the rate."""


class Answered(NamedTuple):
    """What became of one batch."""

    number: int
    accepted: int
    throttled: int
    left_at: float


class AdaptiveRate:
    """One rate under one ceiling, in recipients (or calls) per second."""

    def __init__(self, ceiling_per_s: float) -> None:
        self.throttles = 0
        """Cuts so far."""
        self._ceiling = ceiling_per_s
        self._limit = ceiling_per_s
        self._cut_rate = ceiling_per_s
        self._cut_at: float | None = None
        """When the rate was cut last; None if the rate is the ceiling."""
        self._cut_number = 0
        self._measured_since = float("-inf")
        self._accepted = 0
        self._answered_at = 0.0
        self._lately_accepted = self._lately_throttled = 0.0

    @property
    def ceiling_per_s(self) -> float:
        """The rate that throttles slow down from, and that comes back."""
        return self._ceiling

    @property
    def cut(self) -> bool:
        """True while the rate is below the ceiling because of a throttle."""
        return self._cut_at is not None

    def at(self, now: float) -> float:
        """Return the present rate."""
        if self._cut_at is None:
            return self._ceiling
        elapsed = now - self._cut_at
        steepness = CURVE_PER_S3 * self._ceiling
        plateau_s = math.cbrt(max(0.0, self._limit - self._cut_rate) / steepness)
        curve = self._limit + steepness * math.pow(elapsed - plateau_s, 3)
        creep = self._cut_rate + CREEP_PER_S * self._ceiling * elapsed
        return min(self._ceiling, max(curve, creep))

    def restore(self) -> None:
        """Go back to the ceiling: forget all throttles."""
        self._cut_at = None

    def answered(self, answer: Answered, latest: int, now: float) -> None:
        """Take note of a batch's answer; `latest` is the newest batch started.

        A batch that was under way at the last cut says nothing about the rate since then.
        """
        number, accepted, throttled, left_at = answer
        if number <= self._cut_number:
            return
        self._accepted += accepted
        kept = math.exp((self._answered_at - now) / TOLERANCE_S)
        self._answered_at = now
        self._lately_accepted = self._lately_accepted * kept + accepted
        self._lately_throttled = self._lately_throttled * kept + throttled
        lately = self._lately_accepted + self._lately_throttled
        if throttled and self._lately_throttled > TOLERATED * lately:
            self._cut(throttled / (accepted + throttled), latest, left_at, now)

    def _cut(self, share: float, latest: int, left_at: float, now: float) -> None:
        rate = self.at(now)
        reduced = max(FLOOR * self._ceiling, rate * (1 - CUT * share))
        limit = self._measured(left_at)
        self._cut_rate = self._limit = reduced
        if limit is not None:
            self._cut_rate = max(FLOOR * self._ceiling, min(reduced, limit * (1 - DIP * share)))
            self._limit = max(limit, self._cut_rate)
        self._cut_at = now
        self._cut_number = latest
        self._measured_since, self._accepted = now, 0
        self.throttles += 1

    def _measured(self, left_at: float) -> float | None:
        """Return the rate that SES took since the last throttle; None if it cannot be measured."""
        elapsed = left_at - self._measured_since
        if not MEASURE_MIN_S <= elapsed <= MEASURE_MAX_S:
            return None
        return min(self._ceiling, self._accepted / elapsed)

    def set_ceiling(self, ceiling_per_s: float, now: float) -> None:
        """Change the ceiling. A rate that was cut comes back from where it is.

        If nothing was cut, a higher ceiling takes effect at once.
        """
        if self._cut_at is not None:
            self._cut_rate = self._limit = min(ceiling_per_s, self.at(now))
            self._cut_at = now
        self._ceiling = ceiling_per_s
