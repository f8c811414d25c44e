"""The journals of messages from a queue: one after the other, so that none grows for ever.

A queue may deliver a message again for as long as it keeps messages, and keys are remembered for
that long. The journals stay, as the record of what was sent, until an operator removes them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from mailsluice.engine import message_keys
from mailsluice.engine.engine import Engine
from mailsluice.engine.outbox import OutboxStatistics
from mailsluice.journal import Journal
from mailsluice.mailing.message import InDoubt, Message, Receipt
from mailsluice.model import InDoubt as Doubts
from mailsluice.model import Lane
from mailsluice.model.wait_reason import Reason
from mailsluice.worker.queue.known_keys import JournalClock, Keys

logger = logging.getLogger(__name__)

ROWS_MAX = 100_000
"""Messages in one journal: 12 MB."""

_NAME = re.compile(r"messages-[0-9]{6,}\.journal")
"""Files with other names are left alone."""

OpenJournal = Callable[[Path], Journal]


class Segment:
    """One journal, and its state."""

    def __init__(self, path: Path, written_at: float) -> None:
        self.path = path
        self.written_at = written_at
        """When its last message was sent, on the monotonic clock, seconds."""
        self.rows = 0
        """Approximate number of messages in it."""
        self.in_doubt = 0
        """Messages that may have been sent."""
        self.under_way = 0
        self.engine: Engine | None = None
        self.idle = anyio.Event()
        """Set when it takes no more messages and none is under way."""


class Segments:
    """The journals of a queue; the newest takes messages.

    `retention_s` is how long the queue keeps a message.
    """

    def __init__(  # noqa: PLR0913  # each once, by the worker
        self,
        folder: Path,
        base: Engine,
        open_journal: OpenJournal,
        *,
        retention_s: float,
        monotonic: Callable[[], float],
        in_doubt: Doubts,
    ) -> None:
        self._folder = folder
        self._base = base
        self._open_journal = open_journal
        self._retention_s = retention_s
        self._monotonic = monotonic
        self._in_doubt: Doubts = in_doubt
        self._tasks: TaskGroup
        self._all: list[Segment] = []
        """All journals, the newest last."""
        self._keys = Keys(retention_s)
        """Keys of messages that were sent, or may have been."""
        self._next = anyio.Lock()
        self._paused = False
        self._released = False

    async def open(self, tasks: TaskGroup) -> None:
        """Open all, carry on with the newest. Raises JournalLockedError if it has a writer."""
        self._tasks = tasks
        await to_thread.run_sync(lambda: self._folder.mkdir(parents=True, exist_ok=True))
        paths = sorted(
            path for path in self._folder.glob("messages-*.journal") if _NAME.fullmatch(path.name)
        ) or [self._folder / "messages-000001.journal"]
        # The newest first: it says whether another process is at it.
        clock = JournalClock()
        for path in reversed(paths):
            if self._all and clock.oldest_s >= self._retention_s:
                break  # the queue keeps no message of this journal or of older ones
            self._all.insert(0, await to_thread.run_sync(self._remembered, path, clock))
        await tasks.start(self._serve, self._all[-1])

    async def send(self, message: Message, lane: Lane) -> Receipt:
        """Send a message as `Engine.send` does; its key must be new."""
        if self._all[-1].rows >= ROWS_MAX:
            await self._begin_next()
        segment = self._all[-1]
        assert segment.engine is not None
        segment.rows += 1
        segment.under_way += 1
        try:
            receipt = await segment.engine.send(message, lane=lane)
        except InDoubt:
            segment.in_doubt += 1
            self._note(segment, message)
            raise
        else:
            self._note(segment, message)
            return receipt
        finally:
            segment.under_way -= 1
            self._look(segment)

    def knows(self, key: str) -> bool:
        """Return True if a message was sent under this key, or may have been."""
        return key in self._keys

    async def release(self) -> None:
        """Abandon messages that are not under way: they end as Held."""
        self._released = True
        for segment in self._all:
            if segment.engine is not None:
                await segment.engine.release()

    def pause(self, *, paused: bool) -> None:
        """Pause or resume. While paused, no new call starts."""
        self._paused = paused
        for segment in self._all:
            if segment.engine is not None:
                (segment.engine.pause if paused else segment.engine.resume)()

    @property
    def waiting(self) -> int:
        """Messages that have not been attempted yet."""
        return sum(each.waiting for each in self._statistics())

    @property
    def in_doubt(self) -> int:
        """Count the doubts in all journals whose keys are remembered."""
        return sum(each.in_doubt for each in self._all)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return sum(each.in_flight for each in self._statistics())

    @property
    def waiting_for(self) -> Reason | None:
        """Return why messages are not sent faster; None if none waits."""
        return next((each.waiting_for for each in self._statistics() if each.waiting_for), None)

    def _statistics(self) -> Iterator[OutboxStatistics]:
        for segment in self._all:
            now = segment.engine.message_statistics() if segment.engine else None
            if now is not None:
                yield now

    def close(self) -> None:
        """Close all journals: nothing more is sent."""
        for segment in self._all:
            segment.idle.set()

    def _note(self, segment: Segment, message: Message) -> None:
        segment.written_at = self._monotonic()
        if message.key:
            self._keys.add(message.key, segment.written_at)

    def _look(self, segment: Segment) -> None:
        if not segment.under_way and segment is not self._all[-1]:
            segment.idle.set()

    async def _begin_next(self) -> None:
        async with self._next:
            last = self._all[-1]
            if last.rows < ROWS_MAX:
                return  # another task was quicker
            number = int(last.path.stem.partition("-")[2]) + 1
            path = last.path.with_name(f"messages-{number:06}.journal")
            segment = Segment(path, self._monotonic())
            await self._tasks.start(self._serve, segment)
            self._all.append(segment)
            self._look(last)
            self._forget()

    def _forget(self) -> None:
        since = self._monotonic() - self._retention_s
        self._all = [each for each in self._all if each.engine or each.written_at > since]

    async def _serve(self, segment: Segment, *, task_status: TaskStatus[None]) -> None:
        journal = await to_thread.run_sync(self._open_journal, segment.path)
        try:
            async with self._base.beside(journal=journal, remembers_keys=False) as segment.engine:
                if self._paused:
                    segment.engine.pause()
                if self._released:
                    await segment.engine.release()
                task_status.started()
                await segment.idle.wait()
        finally:
            segment.engine = None
            await to_thread.run_sync(journal.close)

    def _remembered(self, path: Path, clock: JournalClock) -> Segment:
        """Return the keys in a journal."""
        journal = self._open_journal(path)
        try:
            known = message_keys.keys_of(clock.watch(journal.replay(details=True)), self._in_doubt)
        finally:
            journal.close()
        segment = Segment(path, self._monotonic() - clock.age_s)
        self._keys.add_all(known, segment.written_at)
        segment.in_doubt = sum(isinstance(each, InDoubt) for each in known.values())
        segment.rows = len(known)
        return segment
