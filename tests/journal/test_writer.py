"""Group commit: what was handed over becomes durable, whatever becomes of who handed it over."""

import asyncio
import threading
from collections.abc import Sequence

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from mailsluice.journal import Event, Intent, Record, Taken
from mailsluice.journal.memory import MemoryJournal
from mailsluice.journal.standing import Standing
from mailsluice.journal.writer import Writer
from mailsluice.model.errors import JournalError


class SlowDisk(MemoryJournal):
    """A journal whose commits wait until they may end."""

    blocks = True

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()

    def commit(self, records: Sequence[Record]) -> None:
        assert self.may_end.wait(5.0)
        super().commit(records)


async def test_leaving_flushes_what_was_handed_over_by_tasks_that_are_no_more() -> None:
    journal = SlowDisk()
    records: list[Record] = [Event(float(n), "waiting", "") for n in range(3)]
    async with Writer(journal, Standing()) as writer:
        async with anyio.create_task_group() as tasks:
            # While the first is on its way to the disk, the others gather for the next trip.
            for record in records:
                tasks.start_soon(writer.write, [record])
                await wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        journal.may_end.set()
    assert list(journal.replay(details=True)) == records


async def test_who_is_cancelled_while_leaving_waits_for_the_commit_under_way() -> None:
    journal = SlowDisk()
    record = Event(1.0, "waiting", "")

    async def service() -> None:
        async with Writer(journal, Standing()) as writer:
            await writer.write([record])

    task = asyncio.create_task(service())
    for _ in range(3):  # while it writes, and twice while it leaves
        await wait_all_tasks_blocked()
        task.cancel()
    await wait_all_tasks_blocked()
    assert not task.done(), "the journal could be closed now"
    journal.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(journal.replay(details=True)) == [record]


async def test_nothing_counts_before_it_is_durable() -> None:
    journal = SlowDisk()
    async with Writer(journal, Standing()) as writer, anyio.create_task_group() as tasks:
        tasks.start_soon(writer.write, [Taken(1.0, 1, 5, [])])
        await wait_all_tasks_blocked()
        assert writer.standing.counts.read == 0
        journal.may_end.set()
    assert writer.standing.counts.read == 5


class FullDisk(MemoryJournal):
    def commit(self, records: object) -> None:  # noqa: ARG002  # what it would have written
        raise JournalError("the disk is full")


async def test_after_a_failure_nothing_more_is_written() -> None:
    async with Writer(FullDisk(), Standing()) as writer:
        for _ in range(2):
            with pytest.raises(JournalError, match="the disk is full"):
                await writer.write([Event(1.0, "waiting", "")])


async def test_what_may_not_follow_is_refused_and_hinders_nobody() -> None:
    journal = MemoryJournal()
    async with Writer(journal, Standing()) as writer:
        with pytest.raises(JournalError, match="an intent for rows that were not read"):
            await writer.write([Intent(1.0, 1, [1])])
        await writer.write([Taken(1.0, 1, 1, [])])
        await writer.write([Intent(2.0, 1, [1])])
    assert writer.standing.counts.pending == 1
    assert len(list(journal.replay(details=True))) == 2
