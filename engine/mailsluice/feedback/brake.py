"""Decides if a mailing may go on, by SES's events about the mails that it has accepted. Pure.

Three rates are watched, each with an `Evidence` of its own: hard bounces, complaints, and mails
that SES cannot render. An alarm of one holds the mailing.

*The ramp* limits the damage while little is known; the evidence's promise does not rest on it. As
long as the bounce rate of the sends that have had time to bounce may still be above the limit, no
more sends are made than could bounce `exposed` times among those of which nothing is known yet. At
the start any rate is possible, so the first `exposed` sends are a canary.

*Blindness.* If nothing at all is heard of the canary, the event stream does not work: the brake
sees nothing, so nothing more is sent.

Sends are counted in the order of their rows, in buckets of whole batches. A row keeps its place if
it is sent again, and counts once.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailsluice.feedback import fate
from mailsluice.feedback.evidence import WINDOW, Alarm, Estimate, Evidence, estimate, upper
from mailsluice.model import codes

BUCKET_SENDS = 50
BUCKET_SHARE = 1_000
"""A bucket has `BUCKET_SENDS`, or this part of all sends before it: some 5,000 for 10^6."""

LOOK_S = 1.0
"""Between two looks at the evidence, which take up to 20 ms each."""
LOOK_AT_ONCE_SENDS = 10_000
"""Up to so many a look takes a millisecond at most, and is taken whenever something has come."""

SETTLE_S_MIN = 30.0
SETTLE_S_MAX = 1_800.0
SETTLED_SHARE = 0.9
"""Share of bounces that come within `settle_s`."""
LAGS_LEAST = 20
"""Bounces from which a time is learnt."""

ANSWERED_SHARE = 0.95
"""A bucket is known as well as it will be, once of so many of its sends the end is known."""

UNLIMITED = sys.maxsize

BOUNCED = fate.HARD
COMPLAINED = fate.COMPLAINED
UNRENDERED = fate.RENDER_FAILED | fate.REJECTED
ENDED = fate.DELIVERED | fate.SOFT | fate.HARD | COMPLAINED
"""It will not bounce any more, or has. What was never rendered says nothing of bounces."""


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


class Stop(NamedTuple):
    """A hold: its code, and what was seen."""

    code: str
    text: str


class _Watched(NamedTuple):
    """One rate."""

    evidence: Evidence
    bits: int
    code: str
    text: str


class Brake:
    """One mailing's brake."""

    def __init__(self, limits: Limits, *, overridden: int = 0) -> None:
        """Begin. `overridden`: how often an operator has let it go on: `least` doubles each time.

        Evidence from before does not count again, so give it only what was sent since.
        """
        self._limits = limits
        times = 2**overridden
        self._watched = [
            _Watched(Evidence(limit, limits.false_alarm, least * times), bits, code, text)
            for limit, least, bits, code, text in (
                (
                    limits.bounces,
                    limits.bounces_least,
                    BOUNCED,
                    codes.BOUNCES_TOO_MANY,
                    "bounced hard",
                ),
                (
                    limits.complaints,
                    limits.complaints_least,
                    COMPLAINED,
                    codes.COMPLAINTS_TOO_MANY,
                    "complained",
                ),
                (
                    limits.rendering,
                    limits.rendering_least,
                    UNRENDERED,
                    codes.RENDERING_FAILS,
                    "were accepted, and then not rendered or refused",
                ),
            )
            if limit
        ]
        self._ramp = _Ramp(limits)
        self._looked_at = -math.inf
        self._stop: Stop | None = None

    def send(self, rows: Sequence[int], now: float, deaf: int = 0) -> None:
        """Count a batch whose intent is recorded: rows of the list, the last one highest.

        `deaf` of them are at providers that report no complaints to SES.
        """
        bucket = self._ramp.send(rows, now)
        for each in self._watched:
            each.evidence.send(bucket, len(rows) - (deaf if each.bits == COMPLAINED else 0))

    def hear(self, row: int, new: int, bits: int) -> None:
        """Count what is new about a row: the bits that came, and all that it has now."""
        if bits & fate.EXEMPT:
            new = bits = 0
        ended = bool(new & ENDED) and not bits & ~new & ENDED
        bucket = self._ramp.hear(row, bounced=bool(new & BOUNCED), ended=ended)
        if bucket is None:
            return
        for each in self._watched:
            if new & each.bits and not bits & ~new & each.bits:
                each.evidence.hear(bucket)

    def room(self, now: float) -> int:
        """How many may be sent now; 0 also if the mailing is to be held."""
        return 0 if self.stop(now) else self._ramp.room(now)

    def stop(self, now: float) -> Stop | None:
        """Why the mailing is to be held, if it is. Once there is a reason, it stays."""
        if self._stop is None and (
            self._ramp.sends <= LOOK_AT_ONCE_SENDS or now - self._looked_at >= LOOK_S
        ):
            self._looked_at = now
            self._stop = self._alarm() or self._blind(now)
        return self._stop

    def estimates(self) -> dict[str, Estimate]:
        """Return each watched rate over all sends, by the code of its hold; for people."""
        return {
            each.code: estimate(each.evidence.sends, each.evidence.heard) for each in self._watched
        }

    def values(self) -> dict[str, float]:
        """Return the evidence so far, by code of hold; a hold comes at 1 / `false_alarm`."""
        return {each.code: each.evidence.value for each in self._watched}

    def _alarm(self) -> Stop | None:
        for evidence, _, code, text in self._watched:
            if alarm := evidence.alarm():
                return Stop(code, _sentence(alarm, text, evidence.limit))
        return None

    def _blind(self, now: float) -> Stop | None:
        silent_s = self._ramp.silent_s(now)
        if silent_s < self._limits.blind_s:
            return None
        return Stop(
            codes.FEEDBACK_BLIND,
            f"no event has come for any of the first {self._ramp.sends:,} recipients in "
            f"{silent_s:.0f} s",
        )


def carried(limits: Limits, past: Sequence[int]) -> Stop | None:
    """Return True if a sender's last mails, by their bits, are reason to hold the next mailing.

    Complaints take hours: what a fast mailing has earned is known when the next one begins.
    """
    brake = Brake(limits)
    row = 0
    for begin in range(max(0, len(past) - WINDOW), len(past), BUCKET_SENDS):
        batch = [bits for bits in past[begin : begin + BUCKET_SENDS] if not bits & fate.EXEMPT]
        if batch:
            rows = range(row + 1, row + 1 + len(batch))
            brake.send(rows, 0.0, sum(bool(bits & fate.UNHEARD_COMPLAINTS) for bits in batch))
            for row, bits in zip(rows, batch, strict=True):
                brake.hear(row, bits, bits)
    return brake.stop(0.0)


def settle_s(lags: Sequence[float]) -> float:
    """How long a send needs to bounce, by the sorted lags of bounces of the past."""
    if len(lags) < LAGS_LEAST:
        return SETTLE_S_MIN
    found = lags[min(len(lags) - 1, int(len(lags) * SETTLED_SHARE))]
    return min(SETTLE_S_MAX, max(SETTLE_S_MIN, found))


@dataclass(slots=True)
class _Bucket:
    last_at: float
    sends: int = 0
    bounced: int = 0
    ended: int = 0


class _Ramp:
    """Buckets of sends, which of them are settled, and how many more may be open."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._first_row = 0
        self._last_rows: list[int] = []
        self._buckets: list[_Bucket] = []
        self._settled = 0
        """Buckets, from the first one on; the last one of all is then closed."""
        self._settled_sends = self._settled_bounced = 0
        self._heard = False
        self.sends = 0

    def send(self, rows: Sequence[int], now: float) -> int:
        """Count a batch; its bucket."""
        if not self._buckets:
            self._first_row = rows[0]
        if not self._buckets or self._is_closed(now):
            self._buckets.append(_Bucket(now))
            self._last_rows.append(self._last_rows[-1] if self._last_rows else 0)
        bucket = self._buckets[-1]
        bucket.sends += len(rows)
        bucket.last_at = now
        self._last_rows[-1] = max(self._last_rows[-1], rows[-1])
        self.sends += len(rows)
        return len(self._buckets) - 1

    def _is_closed(self, now: float) -> bool:
        self._settle(now)
        full = max(BUCKET_SENDS, self.sends // BUCKET_SHARE)
        return self._settled == len(self._buckets) or self._buckets[-1].sends >= full

    def hear(self, row: int, *, bounced: bool, ended: bool) -> int | None:
        """Count an event; the bucket of that row, None if it was not sent since the start."""
        self._heard = True
        number = bisect_left(self._last_rows, row)
        if row < self._first_row or number == len(self._buckets):
            return None
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


def _sentence(alarm: Alarm, text: str, limit: float) -> str:
    sends, heard, value = alarm
    return (
        f"{heard:,} of the first {sends:,} {text} ({heard / sends:.2%}, the limit is {limit:.2%}); "
        f"within the limit, that is {min(value, 1e9):,.0f} times less likely"
    )
