"""Limits how much is sent while little is known of what was sent before. Pure.

As long as the bounce rate of the sends that have had time to bounce may still be above the limit,
no more sends are made than could bounce `exposed` times among those of which nothing is known yet.
At the start any rate is possible, so the first `exposed` sends are a canary. This limits the
damage; what the evidence promises does not rest on it.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from mailsluice.feedback.evidence import upper
from mailsluice.model.bitmap import Bitmap

BUCKET_SENDS = 50
BUCKET_SHARE = 1_000
"""A bucket has `BUCKET_SENDS`, or this part of all sends before it: some 5,000 for 10^6."""

SETTLE_S_MIN = 30.0

ANSWERED_SHARE = 0.95
"""A bucket is known as well as it will be, once of so many of its sends the end is known."""

UNLIMITED = sys.maxsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is tolerated. A rate of 0 is not watched."""

    bounces: float = 0.04
    """Hard bounces per send. AWS reviews accounts at 0.05."""
    complaints: float = 0.001
    """Complaints per send to providers that report them. AWS reviews accounts at 0.001."""
    rendering: float = 0.01
    """Rendering Failures and Rejects per send."""
    false_alarm: float = 0.01
    """How probable it is at most, for each rate, that a mailing within the limit is held."""
    bounces_least: int = 10
    complaints_least: int = 5
    rendering_least: int = 4
    exposed: int = 100
    """Bounces to expect, at most, among sends of which nothing is known yet; also the canary."""
    settle_s: float = SETTLE_S_MIN
    """How long a send has to bounce before it counts as one that has not, for the ramp."""
    blind_s: float = 120.0
    """How long the canary may stay without any event."""


@dataclass(slots=True)
class _Bucket:
    last_at: float
    sends: int = 0
    bounced: int = 0
    ended: int = 0


class Ramp:
    """Buckets of sends, which of them are settled, and how many more may be open."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counted = Bitmap()
        """Rows that were sent since the start."""
        self._last_rows: list[int] = []
        self._buckets: list[_Bucket] = []
        self._settled = 0
        """Buckets, from the first one on; the last one of all is then closed."""
        self._settled_sends = self._settled_bounced = 0
        self._heard = False
        self.sends = 0

    def send(self, rows: Sequence[int], now: float) -> int:
        """Count a batch, its rows in ascending order and above all before; return its bucket."""
        self._counted.add(rows)
        if not self._buckets or self._is_closed(now):
            self._buckets.append(_Bucket(now))
            self._last_rows.append(self.last_row)
        bucket = self._buckets[-1]
        bucket.sends += len(rows)
        bucket.last_at = now
        self._last_rows[-1] = rows[-1]
        self.sends += len(rows)
        return len(self._buckets) - 1

    @property
    def last_row(self) -> int:
        """The highest row so far."""
        return self._last_rows[-1] if self._last_rows else 0

    def _is_closed(self, now: float) -> bool:
        self._settle(now)
        full = max(BUCKET_SENDS, self.sends // BUCKET_SHARE)
        return self._settled == len(self._buckets) or self._buckets[-1].sends >= full

    def hear(self, row: int, *, bounced: bool, ended: bool) -> int | None:
        """Count an event; return the row's bucket, None if it was not sent since the start."""
        self._heard = True
        if row not in self._counted:
            return None
        number = bisect_left(self._last_rows, row)
        bucket = self._buckets[number]
        bucket.bounced += bounced
        bucket.ended += ended
        if number < self._settled:
            self._settled_bounced += bounced
        return number

    def room(self, now: float) -> int:
        """How many sends may be added now."""
        limits = self._limits
        if not self._heard:
            return max(0, limits.exposed - self.sends)
        self._settle(now)
        highest = upper(self._settled_sends, self._settled_bounced)
        if highest <= limits.bounces or not limits.bounces:
            return UNLIMITED
        open_ = self.sends - self._settled_sends
        return max(0, int(limits.exposed / highest) - open_)

    def silent_s(self, now: float) -> float:
        """How long the whole canary has been out without any event; 0 if that is not so."""
        if self._heard or self.sends < self._limits.exposed:
            return 0.0
        return now - self._buckets[-1].last_at

    def _settle(self, now: float) -> None:
        while self._settled < len(self._buckets):
            bucket = self._buckets[self._settled]
            is_known = bucket.ended >= ANSWERED_SHARE * bucket.sends
            if not is_known and now - bucket.last_at < self._limits.settle_s:
                return
            self._settled += 1
            self._settled_sends += bucket.sends
            self._settled_bounced += bucket.bounced
