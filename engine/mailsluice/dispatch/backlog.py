"""Recipients that wait to be attempted: fresh ones, deferred ones, and those due again. Pure."""

from __future__ import annotations

import contextlib
import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from mailsluice.dispatch import batching
from mailsluice.model import Entry

FRESH_RECIPIENTS_MAX = 2_048
"""Number of recipients never attempted above which intake waits."""

HELD_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of all entries in memory, above which intake waits."""

RETRIES_RECIPIENTS_MAX = 10_000
"""Number of deferred recipients above which no fresh ones are attempted."""

LINGER_S = 0.02
"""How long an incomplete batch waits for the source to fill it, seconds."""

CLOCK_GRAIN_S = 1e-6
"""A moment this close has come: timers and floats do not meet a deadline exactly."""

_body_of = attrgetter("body")


class Retry(NamedTuple):
    """A deferred recipient. Ordered by due time; `seq` breaks ties, so entries never compare."""

    due: float
    seq: int
    entry: Entry


class Backlog:
    """The queues of one dispatcher, and the bytes of all entries that it holds."""

    def __init__(self, *, linger_s: float = LINGER_S, one_caller_each: bool = False) -> None:
        """`linger_s` is how long an incomplete batch waits for the source to fill it.

        `one_caller_each`: a caller waits for each recipient, so the time runs from when the
        recipient came; otherwise it begins again with each batch.
        """
        self.one_caller_each = one_caller_each
        self.source_has_ended = False
        self.is_recording = False
        """True while intake waits for the journal."""
        self._linger_s = linger_s
        self._fresh: deque[Entry] = deque()
        self._fresh_since = 0.0
        self._due: deque[Entry] = deque()
        self._retries: list[Retry] = []
        self._withdrawn: set[int] = set()
        self._held_bytes = 0

    # --- from intake -------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """True if intake may offer more."""
        return len(self._fresh) < FRESH_RECIPIENTS_MAX and self._held_bytes < HELD_BYTES_MAX

    def offer(self, entries: Sequence[Entry], now: float) -> None:
        """Add recipients that this run has never attempted; intake has them ready at `now`."""
        if not self._fresh:
            self._fresh_since = now
        self._fresh.extend(entries)
        self._held_bytes += _bytes_of(entries)

    def source_ended(self) -> None:
        """Note that intake has nothing more to offer."""
        self.source_has_ended = True

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Blame the journal for an empty backlog while intake records what it has read."""
        self.is_recording = True
        try:
            yield
        finally:
            self.is_recording = False

    def withdraw(self, seq: int) -> None:
        """Do not attempt a recipient any more. It must be waiting here."""
        self._withdrawn.add(seq)

    # --- for decisions -----------------------------------------------------------------------

    @property
    def ready(self) -> int:
        """Recipients that may be attempted now."""
        return len(self._due) + (len(self._fresh) if self._takes_fresh else 0)

    @property
    def fresh(self) -> int:
        """Recipients never attempted."""
        return len(self._fresh)

    @property
    def deferred(self) -> int:
        """Recipients to be attempted again, due or not."""
        return len(self._retries) + len(self._due)

    @property
    def next_due(self) -> float | None:
        """When the next deferred recipient is due; None if none waits."""
        return self._retries[0].due if self._retries else None

    @property
    def linger_until(self) -> float:
        """When an incomplete batch is sent."""
        return self._fresh_since + self._linger_s

    @property
    def least_weight(self) -> int:
        """Addresses of the recipient to be attempted next; there must be one."""
        return (self._due or self._fresh)[0].weight

    def drop_withdrawn(self) -> set[int]:
        """Remove all withdrawn recipients in one pass. Return their rows."""
        gone, self._withdrawn = self._withdrawn, set()
        if not gone:
            return gone
        for queue in (self._fresh, self._due):
            left = [entry for entry in queue if entry.seq not in gone]
            self._held_bytes -= _bytes_of(queue) - _bytes_of(left)
            queue.clear()
            queue.extend(left)
        self.release(retry.entry for retry in self._retries if retry.seq in gone)
        self._retries = [retry for retry in self._retries if retry.seq not in gone]
        heapq.heapify(self._retries)
        return gone

    def collect_due(self, now: float) -> None:
        """Queue the deferred recipients whose time has come."""
        while self._retries and self._retries[0].due <= now + CLOCK_GRAIN_S:
            self._due.append(heapq.heappop(self._retries).entry)

    def take(self, size: int, now: float) -> list[Entry]:
        """Remove one batch of at most `size` recipients: due ones first, then fresh ones."""
        if not self.one_caller_each:
            self._fresh_since = now
        if not self._due:
            return batching.take(self._fresh, size)  # as a rule
        while self._takes_fresh and self._fresh and len(self._due) < size:
            self._due.append(self._fresh.popleft())
        return batching.take(self._due, size)

    @property
    def _takes_fresh(self) -> bool:
        return self.deferred < RETRIES_RECIPIENTS_MAX

    # --- after an answer ---------------------------------------------------------------------

    def retry_at(self, due: float, entry: Entry) -> None:
        """Attempt a deferred recipient again, but not before `due`."""
        heapq.heappush(self._retries, Retry(due, entry.seq, entry))

    def retry_now(self, entry: Entry) -> None:
        """Attempt a recipient again as soon as anything may be sent."""
        self._due.append(entry)

    def release(self, entries: Iterable[Entry]) -> None:
        """Count the bytes of these entries, taken earlier, as held no longer."""
        self._held_bytes -= _bytes_of(entries)


def _bytes_of(entries: Iterable[Entry]) -> int:
    return sum(map(len, map(_body_of, entries)))
