"""Recipients that SES accepted in the last 24 hours, by the minute. Pure.

SES limits what it accepts within any 24 hours. A journal adds its records up with `Sends`, the
daily quota counts with `RollingDay`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

DAY_S = 86_400.0
"""The window of SES's daily quota ("Managing your Amazon SES sending limits")."""

STEPS = 1440
"""Parts into which the day is divided for counting: minutes."""


class Step(NamedTuple):
    """Recipients accepted within one part of the day."""

    first_at: float
    last_at: float
    weight: int


class RollingDay:
    """Recipients accepted in the last `day_s` seconds.

    A step leaves the window when its newest recipient does, so that this never counts fewer than
    SES. Times are seconds of any clock that does not go back.
    """

    def __init__(self, day_s: float = DAY_S, steps: Iterable[Step] = ()) -> None:
        self.day_s = day_s
        self._steps = deque(steps)
        self._used = sum(step.weight for step in self._steps)

    def add(self, weight: int, at: float) -> None:
        """Count recipients that SES had accepted by `at`."""
        if not weight:
            return
        self._used += weight
        last = self._steps[-1] if self._steps else None
        if last is not None and at - last.first_at < self.day_s / STEPS:
            self._steps[-1] = Step(last.first_at, max(at, last.last_at), last.weight + weight)
        else:
            self._steps.append(Step(at, at, weight))
            self.used(at)  # which forgets what has left the window

    def used(self, now: float) -> int:
        """Return the number of recipients in the window."""
        # The same sum as in `frees_at`: the difference would round to another moment.
        while self._steps and self._steps[0].last_at + self.day_s <= now:
            self._used -= self._steps.popleft().weight
        return self._used

    def frees_at(self, weight: float) -> float | None:
        """Return when so many recipients will have left the window; None if it has fewer."""
        for step in self._steps:
            weight -= step.weight
            if weight <= 0:
                return step.last_at + self.day_s
        return None

    def joined(self, other: RollingDay) -> RollingDay:
        """Return a window with the recipients of both."""
        return RollingDay(self.day_s, sorted([*self._steps, *other.steps]))

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the steps in the window, oldest first."""
        return tuple(self._steps)


class Sends:
    """Adds up what a journal's records say SES has accepted, by the wall clock.

    The wall clock may have been set forwards or back between two records, and days later it may
    still be behind a record. So minutes are kept by the order of records, not by their times: as
    many as two days have.
    """

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=2 * STEPS)

    def add(self, weight: int, at: float) -> None:
        """Add the next record: SES accepted so many at `at`, seconds since the epoch."""
        last = self._steps[-1] if self._steps else None
        if last is not None and abs(at - last.first_at) < DAY_S / STEPS:
            self._steps[-1] = Step(
                min(at, last.first_at), max(at, last.last_at), last.weight + weight
            )
        else:
            self._steps.append(Step(at, at, weight))

    def day(self, wall: float, now: float, day_s: float) -> RollingDay:
        """Return the window at `wall`, seconds since the epoch, which is `now` on the loop's clock.

        A record counts as the latest time that its own time and its place in the journal allow:
        never before an earlier record. A time in the future counts as that of the next record with
        a time in the past. So nothing leaves the window too early after the clock was set back,
        and nothing stays in it longer than `day_s` after the clock was ahead.
        """
        steps, latest, ahead = [], float("-inf"), 0
        for first, last, weight in self._steps:
            if last > wall:
                ahead += weight
                continue
            first, latest = max(first, latest), max(last, latest)  # noqa: PLW2901  # both at once
            if weight + ahead:
                steps.append(Step(first, latest, weight + ahead))
                ahead = 0
        if ahead:
            steps.append(Step(wall, wall, ahead))
        by_s = now - wall
        return RollingDay(day_s, (Step(first + by_s, last + by_s, n) for first, last, n in steps))
