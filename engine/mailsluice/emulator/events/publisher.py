"""Events that are planned, and those that have been published. No I/O, and no clock of its own."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from itertools import count, islice
from typing import TYPE_CHECKING

from mailsluice.emulator.events.plan import Mail, Planned, plan
from mailsluice.emulator.events.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mailsluice.emulator.events.script import Script


class Publisher:
    """What the emulated SES has to say. Ask `due`, again and again, on any clock."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.by_kind: Counter[str] = Counter()
        """Events published, copies included."""
        self._planned: list[tuple[float, int, Planned]] = []
        self._serial = count()
        self._kept: deque[bytes] = deque(maxlen=script.kept)

    def accept(self, mails: Iterable[Mail], kinds: Collection[str]) -> None:
        """Plan what will be published about accepted mails."""
        for mail in mails:
            for each in plan(mail, self.script, kinds):
                heapq.heappush(self._planned, (each.arrives_at, next(self._serial), each))

    def due(self, now: float, most: int | None = None) -> list[bytes]:
        """Publish what is due, in the order of arrival. `now` counts from the epoch, seconds."""
        bodies: list[bytes] = []
        while self._planned and self._planned[0][0] <= now and len(bodies) != most:
            _, _, planned = heapq.heappop(self._planned)
            bodies.append(wrapped(planned, self.script.wrapping))
            self.by_kind[planned.event.kind] += 1
        self._kept.extend(bodies)
        return bodies

    def release(self) -> None:
        """Make everything that is planned due, in its order, whatever the time."""
        in_order = sorted(self._planned, key=lambda each: each[:2])
        self._planned = [(0.0, serial, each) for serial, (_, _, each) in enumerate(in_order)]
        self._serial = count(len(in_order))

    @property
    def next_at(self) -> float | None:
        """When something is due; None if nothing is planned."""
        return self._planned[0][0] if self._planned else None

    @property
    def planned(self) -> int:
        """Events that are not due yet."""
        return len(self._planned)

    @property
    def published(self) -> int:
        """Events published so far."""
        return self.by_kind.total()

    def after(self, number: int) -> list[bytes]:
        """Return the events published after the first `number`. Raises LookupError if gone."""
        gone = self.published - len(self._kept)
        if number < gone:
            raise LookupError(f"the first {gone:,} events are gone: ask after {gone}")
        return list(islice(self._kept, number - gone, None))
