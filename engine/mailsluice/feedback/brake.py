"""Decides if a mailing may go on, by SES's events about the mails that it has accepted. Pure.

Three rates are watched, each with an `Evidence` of its own: hard bounces, complaints, and mails
that SES cannot render. An alarm of one holds the mailing.

Until enough is known of what was sent, a `Ramp` limits how much more may be sent. If nothing at all
is heard of the first sends, the event stream does not work: the brake is blind, and holds as well.

Sends are counted in the order of their rows, in buckets of whole batches. A row keeps its place if
it is sent again, and counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mailsluice.feedback import fate
from mailsluice.feedback.evidence import WINDOW, Alarm, Estimate, Evidence, estimate
from mailsluice.feedback.ramp import BUCKET_SENDS, SETTLE_S_MIN, Limits, Ramp
from mailsluice.model import Entry, codes
from mailsluice.model.hold import Hold

LOOK_S = 1.0
"""Between two looks at the evidence, which take up to 20 ms each."""
LOOK_AT_ONCE_SENDS = 10_000
"""Up to so many a look takes a millisecond at most, and is taken whenever something has come."""

SETTLE_S_MAX = 1_800.0
SETTLED_SHARE = 0.9
"""Share of bounces that come within `settle_s`."""
LAGS_LEAST = 20
"""Bounces from which a time is learnt."""

BOUNCED = fate.HARD
COMPLAINED = fate.COMPLAINED
UNRENDERED = fate.RENDER_FAILED | fate.REJECTED
ENDED = fate.DELIVERED | fate.SOFT | fate.HARD | COMPLAINED
"""It will not bounce any more, or has. What was never rendered says nothing of bounces."""


class Gauge(NamedTuple):
    """One watched rate."""

    estimate: Estimate
    limit: float
    evidence: float
    """How many times less likely it is within the limit; a hold comes at 1 / `false_alarm`."""


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
        self._ramp = Ramp(limits)
        self._looked_at = -math.inf
        self._stop: Hold | None = None

    def start(self, entries: Sequence[Entry], now: float) -> None:
        """Count the recipients of a call that are about to be attempted for the first time.

        Those are the ones whose rows are above all before. A row that comes later than a higher one
        is watched neither as sent nor as heard of, which leaves the evidence's promise as it is.
        """
        rows: list[int] = []
        deaf = 0
        for entry in entries:
            if entry.seq > self._ramp.last_row:
                bits = fate.of_destinations((*entry.to, *entry.cc, *entry.bcc))
                if not bits & fate.EXEMPT:
                    rows.append(entry.seq)
                    deaf += bool(bits & fate.UNHEARD_COMPLAINTS)
        if rows:
            self.send(sorted(rows), now, deaf)

    def send(self, rows: Sequence[int], now: float, deaf: int = 0) -> None:
        """Count a batch of sends: rows of the list in ascending order, above all before.

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

    def replay(self, past: Sequence[tuple[int, int]], now: float) -> None:
        """Count what was sent and heard before: rows in ascending order, each with its bits."""
        watched = [each for each in past if not each[1] & fate.EXEMPT]
        for begin in range(0, len(watched), BUCKET_SENDS):
            batch = watched[begin : begin + BUCKET_SENDS]
            deaf = sum(bool(bits & fate.UNHEARD_COMPLAINTS) for _, bits in batch)
            self.send([row for row, _ in batch], now, deaf)
            for row, bits in batch:
                if bits:
                    self.hear(row, bits, bits)

    def room(self, now: float) -> int:
        """How many may be sent now; 0 also if the mailing is to be held."""
        return 0 if self.stop(now) else self._ramp.room(now)

    def stop(self, now: float) -> Hold | None:
        """Why the mailing is to be held, if it is. Once there is a reason, it stays."""
        if self._stop is None and (
            self._ramp.sends <= LOOK_AT_ONCE_SENDS or now - self._looked_at >= LOOK_S
        ):
            self._looked_at = now
            self._stop = self._alarm() or self._blind(now)
        return self._stop

    def gauges(self) -> dict[str, Gauge]:
        """Return each watched rate over all sends, by the code of its hold; for people."""
        return {
            code: Gauge(estimate(evidence.sends, evidence.heard), evidence.limit, evidence.value)
            for evidence, _, code, _ in self._watched
        }

    def _alarm(self) -> Hold | None:
        for evidence, _, code, text in self._watched:
            if alarm := evidence.alarm():
                return Hold(code, _sentence(alarm, text, evidence.limit))
        return None

    def _blind(self, now: float) -> Hold | None:
        silent_s = self._ramp.silent_s(now)
        if silent_s < self._limits.blind_s:
            return None
        return Hold(
            codes.FEEDBACK_BLIND,
            f"no event has come for any of the first {self._ramp.sends:,} recipients in "
            f"{silent_s:.0f} s",
        )


def carried(limits: Limits, past: Sequence[int]) -> Hold | None:
    """Return why the next mailing of a sender is to be held, by the bits of its last mails, if so.

    Complaints take hours: what a fast mailing has earned is known when the next one begins.
    """
    brake = Brake(limits)
    brake.replay(list(enumerate(past[-WINDOW:], 1)), 0.0)
    return brake.stop(0.0)


def settle_s(lags: Sequence[float]) -> float:
    """How long a send needs to bounce, by the sorted lags of bounces of the past."""
    if len(lags) < LAGS_LEAST:
        return SETTLE_S_MIN
    found = lags[min(len(lags) - 1, int(len(lags) * SETTLED_SHARE))]
    return min(SETTLE_S_MAX, max(SETTLE_S_MIN, found))


def _sentence(alarm: Alarm, text: str, limit: float) -> str:
    sends, heard, value = alarm
    return (
        f"{heard:,} of the first {sends:,} {text} ({heard / sends:.2%}, the limit is {limit:.2%}); "
        f"within the limit, that is {min(value, 1e9):,.0f} times less likely"
    )
