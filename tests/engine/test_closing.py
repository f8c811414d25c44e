"""Closing an engine: what was taken is sent or given up in time, and every caller is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mailsluice import Engine, Held, InDoubt, Receipt
from mailsluice.emulator import AccountSettings, CallFault, Emulator
from mailsluice.journal.recovery import standing_of
from mailsluice.journal.sqlite import SqliteJournal
from tests.support.messages import BULK, OTHER, ended, message, sending, settings, states, until
from tests.support.waiting import NEVER_S, PATIENCE_S


async def test_closing_sends_what_was_taken(fast: Emulator) -> None:
    async with Engine.open(settings(fast)) as engine:
        waiting = [await engine.send_nowait(message(n)) for n in range(200)]
    assert all(each.done() for each in waiting)
    assert len(fast.ledger) == 200
    with pytest.raises(RuntimeError, match="not open"):
        await engine.send(message(1))


async def test_closing_gives_up_in_time_and_says_so(fast: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "messages.journal"
    async with Engine.open(settings(fast, drain_s=0.05), journal=path) as engine:
        await engine.send(message(0))
        engine.pause()
        waiting = [await engine.send_nowait(message(n)) for n in range(1, 100)]
    assert {type(each.exception()) for each in waiting} == {Held}
    assert Counter(states(path).values()) == {"sent": 1, "failed": 99}
    assert len(fast.ledger) == 1


async def test_what_a_dead_process_left_is_settled_when_the_journal_is_opened(
    fast: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "messages.journal"
    async with Engine.open(settings(fast, drain_s=0.0), journal=path) as engine:
        fast.faults.add(CallFault(fault="late", delay_s=20.0))
        under_way = await engine.send_nowait(message(1))
        await asyncio.to_thread(fast.wait_for, calls=1, timeout_s=PATIENCE_S)
    assert isinstance(under_way.exception(), InDoubt)
    assert states(path) == {1: "in_doubt"}


async def test_closing_settles_the_halves_of_a_refused_batch(
    fast: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "messages.journal"
    fast.faults.add(CallFault(fault="error", code="BadRequestException", nth=2))
    async with Engine.open(settings(fast, drain_s=0.1), journal=path) as engine:
        await engine.send(message(0))
        tasks = sending(engine, *(message(n) for n in range(1, 5)))
        await asyncio.to_thread(fast.wait_for, calls=2, timeout_s=PATIENCE_S)
        engine.pause()
    found = await ended(*tasks)
    journal = SqliteJournal.read(path)
    counts = standing_of(journal).counts
    journal.close()
    assert (counts.pending, counts.in_doubt) == (0, 0)
    assert {type(each) for each in found} <= {Held, Receipt}
    assert counts.sent == len(fast.ledger) == 1 + sum(isinstance(each, Receipt) for each in found)


@pytest.mark.parametrize("paused", [True, False])
async def test_who_waits_for_room_is_told_when_the_engine_closes(
    fast: Emulator,
    paused: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    async with Engine.open(settings(fast, queue_max=5, drain_s=0.1)) as engine:
        await engine.send(message(0))
        if paused:
            engine.pause()
        tasks = sending(engine, *(message(n) for n in range(40)))
        await asyncio.sleep(0)
    assert {type(each) for each in await ended(*tasks)} <= {Held, Receipt}


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=1e6, daily_max=-1))
async def test_leaving_while_the_first_message_opens_waits_for_nothing_else(
    ses_emulator: Emulator,
) -> None:
    async with Engine.open(settings(ses_emulator, drain_s=NEVER_S)) as engine:
        tasks = sending(engine, message(1))
        await asyncio.sleep(0)
    assert isinstance((await ended(*tasks))[0], Held | Receipt)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=300, daily_max=-1))
async def test_leaving_while_a_run_is_under_way_stops_it(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    async with Engine.open(settings(ses_emulator), journal=tmp_path / "run.journal") as engine:
        run = asyncio.create_task(engine.run(OTHER, BULK))
        assert await asyncio.to_thread(ses_emulator.wait_for, accepted=60, timeout_s=PATIENCE_S)
    report = await run
    assert (report.state, report.counts.in_doubt) == ("stopped", 0)
    assert report.counts.sent == len(ses_emulator.ledger)


async def test_cancelled_twice_while_it_drains_it_leaves_no_task_behind(fast: Emulator) -> None:
    tasks: list[asyncio.Task[Receipt]] = []
    outboxes: list[Any] = []

    async def service() -> None:
        async with Engine.open(settings(fast)) as engine:
            await engine.send(message(0))
            engine.pause()
            tasks.extend(sending(engine, *(message(n) for n in range(3))))
            outboxes.append(engine._delivering.outbox)
            await asyncio.Event().wait()

    task = asyncio.create_task(service())
    await until(lambda: len(tasks) == 3)
    task.cancel()
    await until(lambda: bool(outboxes[0]._closing))
    task.cancel()
    await asyncio.wait([task])
    assert {type(each) for each in await ended(*tasks)} == {Held}
    assert not [each for each in asyncio.all_tasks() if "mailsluice" in each.get_name()]
