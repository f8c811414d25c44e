"""From bodies to `feedback.db`, and to those who act on what was heard, in this order.

`put` returns when a body's events are durable and have been acted upon: then it may be deleted
where it came from. Whoever puts bodies in while a commit is under way shares the next one.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio
from anyio import to_thread

from mailsluice.feedback.batch import Change
from mailsluice.feedback.records import Parsed, SesEvent, Unreadable, parse
from mailsluice.feedback.schema import LAG_EDGES_S
from mailsluice.feedback.store import FeedbackStore, Mark


class Heard(NamedTuple):
    """A batch that is in the store."""

    parsed: Sequence[Parsed]
    """Copies included: what was heard before is heard again if it could not be deleted."""
    changes: Sequence[Change]
    """What the batch has added."""


Act = Callable[[Sequence[Parsed]], None]
"""Acts on events in a worker thread before they are deleted anywhere, such as by suppressing
addresses. It must stand being told the same twice; if it raises StoreError, it is told again."""

Told = Callable[[Heard], None]
"""Is told what is in the store, on the event loop: a hint, as the store is the truth."""


class Totals:
    """What has come since the start of the process."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        """By kind, copies included."""
        self.unread = 0
        """Bodies and lines that could not be read."""
        self.lags: Counter[int] = Counter()
        """Events by class of `LAG_EDGES_S`: from what happened until it was stored here."""
        self.lag_s = 0.0
        """Sum of these times, seconds."""

    def add(self, parsed: Sequence[Parsed], now: float) -> None:
        """Count a batch."""
        for each in parsed:
            if isinstance(each, SesEvent):
                self.events[each.kind.value] += 1
                if each.at is not None:
                    late_s = max(0.0, now - each.at)
                    self.lags[bisect_left(LAG_EDGES_S, late_s)] += 1
                    self.lag_s += late_s
            elif isinstance(each, Unreadable):
                self.unread += 1


class _Group:
    """Bodies that share a commit."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.marks: list[Mark] = []
        self.ended = False
        self.error: Exception | None = None


class Ingest:
    """Stores what streams bring. `acts` are called before anything is deleted."""

    def __init__(
        self,
        store: FeedbackStore,
        *,
        acts: Sequence[Act] = (),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.totals = Totals()
        self._store = store
        self._acts = acts
        self._told: list[Told] = []
        self._wall = wall
        self._gathering = _Group()
        self._committing = anyio.Lock()

    def tell(self, told: Told) -> None:
        """Have it told of every batch from now on."""
        self._told.append(told)

    async def put(self, bodies: Sequence[bytes], mark: Mark | None = None) -> None:
        """Store what these bodies say; `mark` is where to read on in a file.

        Raises StoreError, and then they must not be deleted.
        """
        group = self._gathering
        group.bodies += bodies
        if mark is not None:
            group.marks.append(mark)
        async with self._committing:
            if not group.ended:
                self._gathering = _Group()
                if (heard := await to_thread.run_sync(self._commit, group)) is not None:
                    for told in self._told:
                        told(heard)
        if group.error is not None:
            raise group.error

    async def marks(self) -> dict[str, Mark]:
        """Return how far which file has been read. Raises StoreError."""
        async with self._committing:
            return await to_thread.run_sync(self._store.marks)

    def _commit(self, group: _Group) -> Heard | None:
        try:
            parsed = [each for body in group.bodies for each in parse(body)]
            now = self._wall()
            changes = self._store.record(parsed, now, group.marks)
            for act in self._acts:
                act(parsed)
            self.totals.add(parsed, now)
        except Exception as error:  # noqa: BLE001  # raised by each that waits for this commit
            group.error = error
            return None
        else:
            return Heard(parsed, changes)
        finally:
            group.ended = True
