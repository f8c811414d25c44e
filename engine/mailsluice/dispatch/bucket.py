"""A token bucket: so much a second, and never more than its depth at once. Pure."""

from __future__ import annotations

RESIDUE = 1e-9
"""Of a recipient, that adding up fractions may leave missing."""


class Bucket:
    """So much a second, and never more than `depth` at once. It may go into debt."""

    def __init__(self, rate_per_s: float, depth: float, level: float, now: float) -> None:
        self._rate_per_s = rate_per_s
        self._depth = depth
        self._level = level
        self._at = now

    def change(self, rate_per_s: float, depth: float, now: float) -> None:
        """Go on at another rate; what is there stays, as far as there is room for it."""
        self._level = min(depth, self.level(now))
        self._at = now
        self._rate_per_s, self._depth = rate_per_s, depth

    def level(self, now: float) -> float:
        """What may be taken now."""
        gained = max(0.0, now - self._at) * self._rate_per_s
        return min(self._depth, self._level + gained)

    def ready_at(self, amount: float, now: float) -> float:
        """From when as much is there; more than fits need not be waited for."""
        return self._after(min(amount, self._depth) - self.level(now), now)

    def take(self, amount: float, now: float) -> None:
        """Take as much, whether it is there or not."""
        self._level = self.level(now) - amount
        self._at = now

    def _after(self, missing: float, now: float) -> float:
        """From when what is missing now is there."""
        return now + missing / self._rate_per_s if missing > RESIDUE else now
