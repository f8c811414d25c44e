"""What the rolling 24 hours still have room for, and when they have again. Pure.

SES counts what it accepted in the last 24 hours, and tells it late (GetAccount's SentLast24Hours
lags: peers overshoot by it). So what this run sends is counted here, by the minute; GetAccount only
says how much others have sent, which is what its figure is above ours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from mailsluice.model.rolling_window import STEPS, RollingDay, Step

REFUSALS_MAX = 5
"""Refusals in a row after which the time until the next attempt grows no longer: 16 minutes."""

MEMORY_SHARE = 1 / 96
"""Part of the day, a quarter of an hour, for which a sign of what others have sent is believed.
While this run sends, the lag of SES's figure hides them again; nobody has published how long it
is."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the coming days have room for, in recipients; `reports.forecast` makes a plan of it.

    Calls under way are not in it: they are still to be sent.
    """

    limit_now: float
    """What this run may have in the window while what others have sent is in it; it may be below
    0. Infinite where there is no limit."""
    limit: float
    """The same once the others' has left the window."""
    steps: tuple[Step, ...]
    """What this run has in the window."""
    day_s: float
    """The length of the window, seconds."""


@dataclass(frozen=True, slots=True)
class DailyStatistics:
    """One moment of the window, in recipients."""

    limit: float
    """What this run may have sent in it, at most; infinite where there is no limit."""
    own: int
    """What this run has sent in it, calls under way included."""
    others: float
    """What others have."""
    room: float
    """What this run may still send."""
    goes_on_at: float | None
    """Seconds of the event loop's clock from when on it may send again; None where it may now, or
    where that depends on others."""
    outlook: Outlook


class DailyQuota:
    """How much of the day's quota this run may use.

    `share` is the part of the quota that it may use at most, `reserve` what is left for others.
    """

    def __init__(self, own: RollingDay, *, share: float = 1.0, reserve: float = 0) -> None:
        self.in_flight = 0
        """Weight of the calls under way."""
        self._own = own
        self._share = share
        self._reserve = reserve
        self._daily_max = float("inf")
        self._told_others = 0.0
        self._told_until = float("inf")
        """When all that others had sent by then has left the window."""
        self._signs: deque[tuple[float, float]] = deque()
        """Until when a sign of what others have sent is believed, and how much that was."""
        self._refused_until = float("-inf")
        self._refusals = 0
        """In a row."""

    def learn(self, daily_max: float, daily_sent: float, now: float) -> None:
        """GetAccount says so; a `daily_max` below 0 is unlimited."""
        self._daily_max = float("inf") if daily_max < 0 else daily_max
        self._told_others = max(0.0, daily_sent - self._counted(now))
        self._told_until = now + self._own.day_s
        self._signs.append((now + self._own.day_s * MEMORY_SHARE, self._told_others))

    def change(self, *, share: float, reserve: float) -> None:
        """Use as much of it from now on."""
        self._share, self._reserve = share, reserve

    def adopt(self, day: RollingDay, now: float) -> None:
        """One more journal's sends of the day are ours, and not others'."""
        weight = day.used(now)
        self._own = self._own.joined(day)
        self._told_others = max(0.0, self._told_others - weight)
        self._signs = deque((until, max(0.0, n - weight)) for until, n in self._signs)

    def refused(self, now: float) -> None:
        """SES says that the quota is used up, whatever we have counted.

        One call at a time tries again, after a minute, two, four … a quarter of an hour.
        """
        if now < self._refused_until:
            return  # it left before the first refusal
        self._refusals = min(self._refusals + 1, REFUSALS_MAX)
        self._refused_until = now + self._own.day_s / STEPS * 2 ** (self._refusals - 1)

    def accepted(self, weight: int, now: float) -> None:
        """SES has taken as much, or may have."""
        self._own.add(weight, now)
        if weight and now >= self._refused_until:
            self._refusals = 0

    def room(self, now: float) -> float:
        """Recipients that may still be sent."""
        own, others = self._counted(now), self._others(now)
        if now < self._refused_until or (self._refusals and self.in_flight):
            return 0.0
        return min(self._daily_max * self._share - own, self._limit - own - others)

    def may_ever(self, weight: int) -> bool:
        """Whether share and reserve leave room for as much on an unused day, if the quota does."""
        return self._daily_max < weight or weight <= min(self._daily_max * self._share, self._limit)

    def smallness(self, weight: int) -> str:
        """Why there will never be room for as much, for a person."""
        return (
            f"of {self._daily_max:,.0f} recipients in 24 hours, share {self._share:g} and reserve "
            f"{self._reserve:,.0f} leave too few for one with {weight} addresses"
        )

    def goes_on_at(self, weight: float, now: float) -> float | None:
        """When it is worth trying again to send as much; None where that depends on others."""
        if now < self._refused_until:
            return self._refused_until
        missing = weight - self.room(now)
        if missing <= 0:
            return now
        frees_at = self._own.frees_at(missing)
        forgotten_at = [until for until, others in self._signs if others > self._told_others]
        if self._told_others:
            forgotten_at.append(self._told_until)
        return min(filter(None, [frees_at, *forgotten_at]), default=None)

    def statistics(self, now: float, least: int = 1) -> DailyStatistics:
        """The present moment, where the next recipient has `least` addresses."""
        room = self.room(now)
        return DailyStatistics(
            limit=min(self._daily_max * self._share, self._limit - self._others(now)),
            own=self._counted(now),
            others=self._others(now),
            room=room,
            goes_on_at=None if room >= least else self.goes_on_at(least, now),
            outlook=self.outlook(now),
        )

    def outlook(self, now: float) -> Outlook:
        """The coming days."""
        self._own.used(now)  # which forgets what has left the window
        share = self._daily_max * self._share
        return Outlook(
            limit_now=min(share, self._limit - self._others(now)),
            limit=min(share, self._limit),
            steps=self._own.steps,
            day_s=self._own.day_s,
        )

    @property
    def _limit(self) -> float:
        return self._daily_max - self._reserve

    def _counted(self, now: float) -> int:
        return self._own.used(now) + self.in_flight

    def _others(self, now: float) -> float:
        while self._signs and self._signs[0][0] <= now:
            self._signs.popleft()
        if now >= self._told_until:
            self._told_others = 0.0
        return max([self._told_others, *(others for _, others in self._signs)])
