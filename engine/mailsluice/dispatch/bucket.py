"""A token bucket: fills at a rate, up to its depth. Pure."""

from __future__ import annotations

RESIDUE = 1e-9
"""Rounding error of a bucket, in recipients: fractions do not add up exactly."""


class Bucket:
    """Fills at `rate_per_s`, up to `depth`. It may go into debt."""

    def __init__(self, rate_per_s: float, depth: float, level: float, now: float) -> None:
        self._rate_per_s = rate_per_s
        self._depth = depth
        self._level = level
        self._at = now

    def change(self, rate_per_s: float, depth: float, now: float) -> None:
        """Change rate and depth; the level stays, up to the new depth."""
        self._level = min(depth, self.level(now))
        self._at = now
        self._rate_per_s, self._depth = rate_per_s, depth

    def level(self, now: float) -> float:
        """Return what may be taken now."""
        gained = max(0.0, now - self._at) * self._rate_per_s
        return min(self._depth, self._level + gained)

    def ready_at(self, amount: float, now: float) -> float:
        """Return when `amount`, or the whole depth if that is less, may be taken."""
        return self._after(min(amount, self._depth) - self.level(now), now)

    def take(self, amount: float, now: float) -> None:
        """Take `amount`, even if the level falls below 0."""
        self._level = self.level(now) - amount
        self._at = now

    def _after(self, missing: float, now: float) -> float:
        """Return when the missing amount will have flowed in."""
        return now + missing / self._rate_per_s if missing > RESIDUE else now
