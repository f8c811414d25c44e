"""Forecast when a run sends, when the daily quota interrupts it, and when it is done. Pure.

The rolling window is simulated: chunks leave at the rate while the window has room, and otherwise
wait until older sends leave it. GetAccount does not say when others sent: their sends are assumed
to leave the window a day from now.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from mailsluice.dispatch.daily_quota import Outlook

CHUNKS = 200
"""Parts of the limit that are sent at once: a day is simulated in about so many steps."""

DAYS_MAX = 100
"""Windows of the daily quota that are simulated at most."""

TOGETHER = 1e-9
"""Part of the day up to which a gap between two stretches is a rounding error."""


class Stretch(NamedTuple):
    """Sending without interruption, at the rate. Seconds of the same clock as `now`."""

    begin: float
    end: float
    weight: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """A run's forecast. Times are seconds on the same clock as `made_at`."""

    made_at: float
    stretches: tuple[Stretch, ...]
    done_at: float | None
    """None if the run is not done within `DAYS_MAX`, or never."""

    @property
    def never(self) -> bool:
        """True if the daily quota leaves this run nothing at all."""
        return self.done_at is None and not self.stretches

    @property
    def interrupted(self) -> bool:
        """True if the daily quota makes the run wait, at the beginning or later."""
        return bool(self.stretches) and (
            len(self.stretches) > 1 or self.stretches[0].begin > self.made_at
        )


def build_forecast(weight: int, rate_per_s: float, outlook: Outlook, now: float) -> Forecast:
    """Forecast the sending of `weight` recipients (addresses) at `rate_per_s`.

    Takes some hundred steps per simulated day, about a microsecond each, for `DAYS_MAX` at most.
    """
    if outlook.limit == float("inf"):
        done_at = now + weight / rate_per_s
        return Forecast(now, (Stretch(now, done_at, weight),) if weight else (), done_at)
    simulated = _Simulated(outlook, now)
    until = now + DAYS_MAX * outlook.day_s
    while weight and simulated.at < until:
        chunk = simulated.chunk(weight)
        if chunk:
            simulated.send(chunk, chunk / rate_per_s)
            weight -= chunk
        elif not simulated.wait():
            break
    return Forecast(now, tuple(simulated.stretches), None if weight else simulated.at)


class _Simulated:
    """The rolling window at a simulated time."""

    def __init__(self, outlook: Outlook, now: float) -> None:
        self.at = now
        self.stretches: list[Stretch] = []
        self._outlook = outlook
        self._others_leave_at = now + outlook.day_s
        self._leaving = deque((step.last_at + outlook.day_s, step.weight) for step in outlook.steps)
        self._used = sum(step.weight for step in outlook.steps)

    @property
    def _limit(self) -> int:
        early = self.at < self._others_leave_at
        return int(self._outlook.limit_now if early else self._outlook.limit)

    def chunk(self, weight: int) -> int:
        """Return how much of `weight` can be sent now; 0 if it must wait for room."""
        while self._leaving and self._leaving[0][0] <= self.at:
            self._used -= self._leaving.popleft()[1]
        limit = self._limit
        chunk, room = min(weight, max(1, limit // CHUNKS)), limit - self._used
        # The last chunk may be smaller. After a wait only a full one goes: crumbs take for ever.
        return min(chunk, room) if room >= chunk or (room > 0 and self._sending) else 0

    @property
    def _sending(self) -> bool:
        """True if nothing has interrupted sending since the last chunk, or since the beginning."""
        last_end = self.stretches[-1].end if self.stretches else self.at
        return self.at - last_end <= self._outlook.day_s * TOGETHER

    def send(self, weight: int, seconds: float) -> None:
        """Send a chunk. As in `daily_quota`, all of it leaves the window when its last one does."""
        begin, sending = self.at, self._sending
        self.at += seconds
        self._leaving.append((self.at + self._outlook.day_s, weight))
        self._used += weight
        if self.stretches and sending:
            last = self.stretches[-1]
            self.stretches[-1] = Stretch(last.begin, self.at, last.weight + weight)
        else:
            self.stretches.append(Stretch(begin, self.at, weight))

    def wait(self) -> bool:
        """Advance to the moment when there is more room; return False if there never is."""
        moments = [self._leaving[0][0]] if self._leaving else []
        if self.at < self._others_leave_at:
            moments.append(self._others_leave_at)
        if moments:
            self.at = min(moments)
        return bool(moments)
