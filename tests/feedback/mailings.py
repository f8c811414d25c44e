"""A mailing on virtual time, its bounces coming late, and a brake that may stop it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from mailsluice.feedback import fate
from mailsluice.feedback.brake import Brake
from mailsluice.feedback.ramp import Limits

BATCH = 50
WAIT_S = 1.0
"""Between two looks at a brake that leaves no room."""


class Lag(NamedTuple):
    """How late something comes: log-normal."""

    median_s: float
    sigma: float

    def draw(self, random: Random) -> float:
        return random.lognormvariate(math.log(self.median_s), self.sigma)


BOUNCE_LAG = Lag(5.0, 1.5)
"""95 % within 59 s."""
SEND_LAG = Lag(1.0, 0.5)
COMPLAINT_LAG = Lag(14_400.0, 1.2)
DELIVERY_LAG = Lag(20.0, 1.0)
"""Slower than bounces: who counts only what was heard of sees too high a rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What happens to the mails of a list."""

    rows: int
    rate_per_s: float
    bounces: Callable[[int], float] = lambda _: 0.0
    """The probability for each row."""
    complaints: float = 0.0
    rendered: bool = True
    send_lag: Lag = SEND_LAG
    bounce_lag: Lag = BOUNCE_LAG
    complaint_lag: Lag = COMPLAINT_LAG
    sends_heard: bool = True
    """False: no event stream."""
    deliveries_heard: bool = False
    lost: float = 0.0
    """Share of events that never come."""


@dataclass(slots=True)
class Lived:
    """How it went."""

    sent: int = 0
    bounced: int = 0
    """Among those sent, whether it was heard or not."""
    code: str = ""
    sent_s: float = 0.0
    """When the last mail went out."""
    stopped_s: float = 0.0
    bounced_at: list[int] = field(default_factory=list)

    def worst_window(self, size: int = 10_000) -> float:
        """The highest bounce rate over any so many sends in a row."""
        worst = first = 0
        for last, row in enumerate(self.bounced_at):
            while row - self.bounced_at[first] >= size:
                first += 1
            worst = max(worst, last - first + 1)
        return worst / size


_Event = tuple[float, int, int]
"""When, whose, and which bit."""


def live(world: World, limits: Limits, seed: int) -> Lived:
    """Send the list, until its end or until the brake stops it."""
    return _Life(world, limits, seed).live()


class _Life:
    def __init__(self, world: World, limits: Limits, seed: int) -> None:
        self._world = world
        self._random = Random(seed)
        self._brake = Brake(limits)
        self._lived = Lived()
        self._events: list[_Event] = []
        self._bits: dict[int, int] = {}
        self._now = 0.0

    def live(self) -> Lived:
        lived, brake = self._lived, self._brake
        while lived.sent < self._world.rows:
            self._hear_until(self._now)
            if room := brake.room(self._now):
                self._send(min(BATCH, room, self._world.rows - lived.sent))
            elif stop := brake.stop(self._now):
                lived.code, lived.stopped_s = stop.code, self._now
                return lived
            else:
                next_s = self._events[0][0] if self._events else math.inf
                self._now = min(self._now + WAIT_S, next_s)
        self._hear_until(math.inf)  # everything is sent, and the verdict may come later
        if self._world.sends_heard and (stop := brake.stop(math.inf)):
            lived.code, lived.stopped_s = stop.code, math.inf
        return lived

    def _send(self, sends: int) -> None:
        world, random, lived, now = self._world, self._random, self._lived, self._now
        rows = range(lived.sent + 1, lived.sent + 1 + sends)
        self._brake.send(rows, now)
        for row in rows:
            happening = _happening(world, row, random)
            for lag, bit in happening:
                if bit == fate.HARD:
                    lived.bounced += 1
                    lived.bounced_at.append(row)
                if world.sends_heard and random.random() >= world.lost:
                    heapq.heappush(self._events, (now + lag.draw(random), row, bit))
        lived.sent, lived.sent_s = rows[-1], now
        self._now += sends / world.rate_per_s

    def _hear_until(self, now: float) -> None:
        while self._events and self._events[0][0] <= now:
            _, row, bit = heapq.heappop(self._events)
            bits = self._bits[row] = self._bits.get(row, 0) | bit
            self._brake.hear(row, bit, bits)


def _happening(world: World, row: int, random: Random) -> list[tuple[Lag, int]]:
    """What becomes of one mail, and how late it is heard of."""
    if not world.rendered:
        return [(world.send_lag, fate.RENDER_FAILED)]
    found = []
    if random.random() < world.bounces(row):
        found.append((world.bounce_lag, fate.HARD))
    else:
        if world.complaints and random.random() < world.complaints:
            found.append((world.complaint_lag, fate.COMPLAINED))
        if world.deliveries_heard:
            found.append((DELIVERY_LAG, fate.DELIVERED))
    if row % BATCH == 1:  # that there is a stream at all is enough
        found.append((world.send_lag, fate.SENT))
    return found
