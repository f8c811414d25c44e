"""Group commit: records of all calls in flight share transactions.

While one transaction is flushed to the disk, the next records gather: the settlement of one batch
and the intents of the following ones share a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import anyio

from mailsluice.journal import Journal, Record
from mailsluice.journal.standing import Standing
from mailsluice.model.errors import JournalError


class _Trip:
    """The records of one transaction, and the futures of their writers."""

    __slots__ = ("done", "failure", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.done = asyncio.Event()
        self.failure: JournalError | None = None


def _unexpected(error: BaseException) -> JournalError:
    why = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError | MemoryError | RuntimeError):
        failure = JournalError(f"the journal cannot be written: {why}")
    else:
        failure = JournalError(f"a defect of the journal's code, and not of its file: {why}")
    failure.__cause__ = error
    return failure


class Writer:
    """The single writer of a journal: `async with Writer(journal, standing) as writer`.

    Leaving the block flushes what is left. After the first failure every `write` raises
    JournalError: what is durable is unknown until the journal is opened again.

    The writer is no task: the end of each commit starts the next one. A program that cancels all
    tasks at its end would cancel a task of ours, too, and callers of `write` would wait for ever.
    """

    def __init__(self, journal: Journal, standing: Standing) -> None:
        self.standing = standing
        """The sum of all durable records; changes only after a commit."""
        self._journal = journal
        self._next = _Trip()
        self._idle = asyncio.Event()
        """Set while no commit is planned or under way."""
        self._idle.set()
        self._broken: JournalError | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "mailsluice journal") if journal.blocks else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            # Even if this is cancelled: the journal may be closed next, but never during a commit.
            while not self._idle.is_set():
                try:
                    await self._idle.wait()
                except asyncio.CancelledError as again:
                    cancelled = again
        if self._thread is not None:
            self._thread.shutdown(wait=False)
        if cancelled is not None:
            raise cancelled

    async def write(self, records: Sequence[Record]) -> None:
        """Return when `records` are durable, all of them in one transaction.

        Raises JournalError if they may not follow the durable records (nothing is written), or if
        the commit fails.
        """
        if self._broken is not None:
            raise self._broken
        if not records:
            return
        for record in records:
            self.standing.check(record)
        trip = self._next
        trip.records.extend(records)
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._commit_next)
        await trip.done.wait()
        if trip.failure is not None:
            raise trip.failure

    def _commit_next(self) -> None:
        """Commit what has gathered, if anything has."""
        trip, self._next = self._next, _Trip()
        if not trip.records:
            self._idle.set()
        elif self._broken is not None:
            self._landed(trip, self._broken)
        elif self._thread is None:
            self._landed(trip, _failure(self._journal, trip.records))
        else:
            self._hand_over(trip, self._thread)

    def _hand_over(self, trip: _Trip, thread: ThreadPoolExecutor) -> None:
        try:
            commit = self._loop.run_in_executor(thread, _failure, self._journal, trip.records)
        except RuntimeError as error:  # this machine starts no more threads
            self._landed(trip, error)
        else:
            commit.add_done_callback(lambda ended: self._landed(trip, ended.result()))

    def _landed(self, trip: _Trip, failure: BaseException | None) -> None:
        """End a commit: count its records, wake their writers, start the next one."""
        try:
            if failure is not None:
                raise failure  # noqa: TRY301  # one way out for every failure
            for record in trip.records:
                self.standing.apply(record)
        except BaseException as error:  # noqa: BLE001  # whatever it is, nothing of the trip counts
            broken = error if isinstance(error, JournalError) else _unexpected(error)
            self._broken = trip.failure = broken
        trip.done.set()
        self._commit_next()


def _failure(journal: Journal, records: Sequence[Record]) -> BaseException | None:
    """Return the error of a commit; None if it succeeded."""
    try:
        journal.commit(records)
    except BaseException as error:  # noqa: BLE001  # who waits for the commit is told
        return error
    return None
