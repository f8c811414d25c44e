"""The daily quota: how much room the rolling 24 hours have, and when there is more. Pure.

SES limits what it accepts within 24 hours, but GetAccount's SentLast24Hours lags (other senders
exceed the quota because of that). So this run's sends are counted here, by the minute; GetAccount
only tells how much others have sent: its figure minus ours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from mailsluice.model.rolling_window import STEPS, RollingDay, Step

REFUSALS_MAX = 5
"""Refusals in a row up to which the wait before the next attempt doubles, to 16 minutes."""

MEMORY_SHARE = 1 / 96
"""Part of the day, a quarter of an hour, for which an observation of others' sends is believed.
While this run sends, the lag of SES's figure hides them again; its length is not published."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The room of the coming days, in recipients, for `reports.forecast`.

    Calls under way are not counted as sent.
    """

    limit_now: float
    """What this run may have in the window while others' sends are in it: may be negative, and is
    infinite if there is no limit."""
    limit: float
    """What this run may have in the window after others' sends have left it."""
    steps: tuple[Step, ...]
    """This run's sends in the window."""
    day_s: float
    """The length of the window, seconds."""


@dataclass(frozen=True, slots=True)
class DailyStatistics:
    """One moment of the window, in recipients."""

    limit: float
    """What this run may have sent in the window; infinite if there is no limit."""
    own: int
    """What this run has sent in the window, calls under way included."""
    others: float
    """What others have sent in the window."""
    room: float
    """What this run may still send."""
    goes_on_at: float | None
    """When it may send again, on the event loop's clock; None if it may now, or if that depends on
    others."""
    outlook: Outlook


class DailyQuota:
    """Decides how much of the daily quota this run may use.

    `share` is the part of the quota that it may use, `reserve` what it leaves for others.
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
        """When the others' sends that were known last have left the window."""
        self._signs: deque[tuple[float, float]] = deque()
        """(expires_at, amount) of each observation of others' sends."""
        self._refused_until = float("-inf")
        self._refusals = 0
        """Refusals in a row."""

    def learn(self, daily_max: float, daily_sent: float, now: float) -> None:
        """Take note of GetAccount's answer; a `daily_max` below 0 is unlimited."""
        self._daily_max = float("inf") if daily_max < 0 else daily_max
        self._told_others = max(0.0, daily_sent - self._counted(now))
        self._told_until = now + self._own.day_s
        self._signs.append((now + self._own.day_s * MEMORY_SHARE, self._told_others))

    def change(self, *, share: float, reserve: float) -> None:
        """Change share and reserve from now on."""
        self._share, self._reserve = share, reserve

    def adopt(self, day: RollingDay, now: float) -> None:
        """Count the sends of one more journal as ours, not as others'."""
        weight = day.used(now)
        self._own = self._own.joined(day)
        self._told_others = max(0.0, self._told_others - weight)
        self._signs = deque((until, max(0.0, n - weight)) for until, n in self._signs)

    def refused(self, now: float) -> None:
        """Take note that SES says that the quota is used up, whatever was counted here.

        One call at a time tries again after 1, 2, 4, 8 and then every 16 minutes.
        """
        if now < self._refused_until:
            return  # it left before the first refusal
        self._refusals = min(self._refusals + 1, REFUSALS_MAX)
        self._refused_until = now + self._own.day_s / STEPS * 2 ** (self._refusals - 1)

    def accepted(self, weight: int, now: float) -> None:
        """Count recipients that SES has accepted, or may have."""
        self._own.add(weight, now)
        if weight and now >= self._refused_until:
            self._refusals = 0

    def room(self, now: float) -> float:
        """Return the number of recipients that may still be sent."""
        own, others = self._counted(now), self._others(now)
        if now < self._refused_until or (self._refusals and self.in_flight):
            return 0.0
        return min(self._daily_max * self._share - own, self._limit - own - others)

    def may_ever(self, weight: int) -> bool:
        """Return True if a recipient of `weight` addresses fits an unused day."""
        return self._daily_max < weight or weight <= min(self._daily_max * self._share, self._limit)

    def smallness(self, weight: int) -> str:
        """Say in words why there will never be room for so many addresses."""
        return (
            f"of {self._daily_max:,.0f} recipients in 24 hours, share {self._share:g} and reserve "
            f"{self._reserve:,.0f} leave too few for one with {weight} addresses"
        )

    def goes_on_at(self, weight: float, now: float) -> float | None:
        """Return when to try again to send so many addresses; None if that depends on others."""
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
        """Return the statistics, for a next recipient with `least` addresses."""
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
        """Return the room of the coming days."""
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
