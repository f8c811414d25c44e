"""Group commit: what all calls in flight have to record goes to the journal in shared transactions.

While one transaction is being flushed to the disk the next records gather; the settlement of one
batch and the intents of the following ones ride together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from mailsluice.errors import JournalError
from mailsluice.journal import Journal, Record
from mailsluice.journal.standing import Standing


class _Trip:
    """The records that share one transaction, and everybody who waits for it."""

    __slots__ = ("done", "failure", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.done = asyncio.Event()
        self.failure: JournalError | None = None


def _unexpected(error: Exception) -> JournalError:
    failure = JournalError(f"the journal cannot be written: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


class Writer:
    """The single writer of a journal: `async with Writer(journal, standing) as writer`.

    Leaving the block flushes what is left. After the first failure every `write` raises
    JournalError: what is durable is unknown until the journal is opened again.
    """

    def __init__(self, journal: Journal, standing: Standing) -> None:
        self.standing = standing
        """What is durable adds up to this; changes only after a commit."""
        self._journal = journal
        self._next = _Trip()
        self._wake = asyncio.Event()
        self._closing = False
        self._broken: JournalError | None = None
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        self._wake.set()
        # Whatever ended the block, `_run` flushes what was handed over before it ends.
        await self._tasks.__aexit__(None, None, None)

    async def write(self, records: Sequence[Record]) -> None:
        """Return when `records` are durable, all of them in one transaction.

        Raises JournalError where they may not follow what is durable so far (nothing is written),
        or where the commit failed.
        """
        if self._broken is not None:
            raise self._broken
        if not records:
            return
        for record in records:
            self.standing.check(record)
        trip = self._next
        trip.records.extend(records)
        self._wake.set()
        await trip.done.wait()
        if trip.failure is not None:
            raise trip.failure

    async def _run(self) -> None:
        # Shielded: calls that a cancellation interrupts still have their doubt to record.
        with anyio.CancelScope(shield=True):
            while self._next.records or not self._closing:
                if not self._next.records:
                    self._wake = asyncio.Event()
                    await self._wake.wait()
                    continue
                trip, self._next = self._next, _Trip()
                await self._commit(trip)

    async def _commit(self, trip: _Trip) -> None:
        try:
            if self._broken is not None:
                raise self._broken  # noqa: TRY301  # one way out for every failure
            if self._journal.blocks:
                await to_thread.run_sync(self._journal.commit, trip.records)
            else:
                self._journal.commit(trip.records)
            for record in trip.records:
                self.standing.apply(record)
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing of the trip counts
            broken = error if isinstance(error, JournalError) else _unexpected(error)
            self._broken = trip.failure = broken
        finally:
            trip.done.set()
