"""Counting over time: a token bucket, a rolling day, the peak of any second. Pure."""

from __future__ import annotations

from collections import deque

DAY_STEPS = 86_400
"""Steps into which the rolling day is cut: one second each for a real day."""

PEAK_WINDOW_S = 1.0
"""Length of the sliding window over which the peaks are taken."""

ROUNDING_RECIPIENTS = 1e-6
"""Rounding error that a bucket forgives, in recipients."""


class Bucket:
    """A token bucket that begins full. `refill` comes before `admits`, `admits` before `take`."""

    def __init__(self) -> None:
        self._rate_per_s = 0.0
        self._capacity = 0.0
        self._in_debt = False
        self._left: float | None = None
        self._at: float | None = None

    def change(
        self, now: float, rate_per_s: float, burst_s: float = 1.0, *, in_debt: bool = False
    ) -> None:
        """Change the rate. What the bucket holds stays, up to the new capacity."""
        if self._left is not None:
            self.refill(now)
        self._rate_per_s, self._in_debt = rate_per_s, in_debt
        self._capacity = max(1.0, rate_per_s * burst_s)
        if self._left is not None:
            self._left = min(self._left, self._capacity)

    def refill(self, now: float) -> None:
        """Add what has flowed in since the last call."""
        if self._left is None or self._at is None:
            self._left, self._at = self._capacity, now
        elif now > self._at:
            gained = (now - self._at) * self._rate_per_s
            self._left, self._at = min(self._capacity, self._left + gained), now

    def admits(self, weight: int) -> bool:
        """Return True if this much may be taken."""
        needed = 1 if self._in_debt else weight
        return self._left is not None and self._left >= needed - ROUNDING_RECIPIENTS

    def take(self, weight: int) -> None:
        """Take this much; in the debt model it may exceed what is there."""
        if self._left is not None:
            self._left -= weight


class RollingDay:
    """Recipients accepted in the last day, in steps of a `DAY_STEPS`-th of it.

    A step leaves when its newest recipient does, so that no 24 hours see more than the quota.
    """

    def __init__(self) -> None:
        self._steps: deque[list[float]] = deque()
        self._used = 0

    def add(self, recipients: int, now: float, day_s: float) -> None:
        """Count recipients that were accepted now."""
        if not recipients:
            return
        self._used += recipients
        if self._steps and now - self._steps[-1][0] < day_s / DAY_STEPS:
            self._steps[-1][1] = now
            self._steps[-1][2] += recipients
        else:
            self._steps.append([now, now, recipients])

    def used(self, now: float, day_s: float, lag_s: float = 0.0) -> int:
        """Return the recipients of the last day, without those of the last `lag_s`."""
        while self._steps and self._steps[0][1] <= now - day_s:
            self._used -= int(self._steps.popleft()[2])
        unseen = 0
        for first, _last, recipients in reversed(self._steps):
            if not lag_s or first <= now - lag_s:
                break
            unseen += int(recipients)
        return self._used - unseen


class Peak:
    """A total, and its peak in any sliding window of `PEAK_WINDOW_S`."""

    def __init__(self) -> None:
        self.total = 0
        self.most = 0
        self._recent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, recipients: int, now: float) -> None:
        """Count recipients at this moment."""
        self.total += recipients
        self._sum += recipients
        self._recent.append((now, recipients))
        while self._recent[0][0] <= now - PEAK_WINDOW_S:
            self._sum -= self._recent.popleft()[1]
        self.most = max(self.most, self._sum)
