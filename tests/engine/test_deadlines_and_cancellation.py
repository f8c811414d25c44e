"""Deadlines and cancelled callers of `engine.send`."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsluice import Engine, Expired, Message, Receipt
from mailsluice.emulator import CallFault, Emulator
from tests.support.chance import a_seed
from tests.support.messages import WELCOME, ended, message, sending, settings, states, until
from tests.support.waiting import PATIENCE_S


async def test_a_deadline_comes_before_the_call_or_not_at_all(
    fast: Emulator, tmp_path: Path, skip: Callable[[float], None]
) -> None:
    path = tmp_path / "messages.journal"
    async with Engine.open(settings(fast), journal=path) as engine:
        engine.pause()
        with pytest.raises(Expired):
            await engine.send(message(1), deadline_s=0.05)
        engine.resume()
        await engine.send(message(2), deadline_s=60)
        fast.faults.add(CallFault(fault="late", delay_s=0.3))
        late = asyncio.create_task(engine.send(message(3), deadline_s=20))
        await asyncio.to_thread(fast.wait_for, calls=2, timeout_s=PATIENCE_S)
        skip(20.1)  # the call is under way by then
        assert isinstance(await late, Receipt)
    assert states(path) == {1: "failed", 2: "sent", 3: "sent"}
    assert len(fast.ledger) == 2


async def test_a_cancelled_caller_withdraws_what_is_not_under_way(
    fast: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "messages.journal"
    async with Engine.open(settings(fast), journal=path) as engine:
        await engine.send(message(0))
        engine.pause()
        tasks = [asyncio.create_task(engine.send(message(n, key=f"k{n}"))) for n in range(1, 9)]
        await until(lambda: engine.message_statistics().counts.pending == 8)  # type: ignore[union-attr]
        for task in tasks[:4]:
            task.cancel()
        await asyncio.wait(tasks[:4])
        engine.resume()
        await asyncio.gather(*tasks[4:])
        await engine.send(message(1, key="k1"))  # it was not sent, so its key is free
    assert Counter(states(path).values()) == {"sent": 6, "failed": 4}
    assert len(fast.ledger) == 6


async def test_a_cancelled_caller_does_not_undo_a_call_under_way(
    fast: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "messages.journal"
    fast.faults.add(CallFault(fault="late", delay_s=0.2))
    async with Engine.open(settings(fast), journal=path) as engine:
        task = asyncio.create_task(engine.send(message(1)))
        await asyncio.to_thread(fast.wait_for, calls=1, timeout_s=PATIENCE_S)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert states(path) == {1: "sent"}


async def test_time_limits_close_to_the_linger_disturb_nobody(fast: Emulator) -> None:
    """A message withdrawn between its batch's decision and its intent was a KeyError for all."""
    limits = random.Random(a_seed())
    async with Engine.open(settings(fast)) as engine:
        await engine.send(message(0))
        for _ in range(40):
            tasks = [
                asyncio.wait_for(engine.send(message(n)), limits.uniform(0.003, 0.009))
                for n in range(20)
            ]
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(each) for each in found} <= {Receipt, TimeoutError}
        await engine.send(message(1))


async def test_a_refused_message_that_was_withdrawn_leaves_nothing_behind(fast: Emulator) -> None:
    async with Engine.open(settings(fast)) as engine:
        await engine.send(message(0))
        [refused] = sending(engine, Message(WELCOME, to="no-at", key="k"))
        await until(lambda: bool(engine._delivering.outbox and engine._delivering.outbox.by_seq))
        refused.cancel()
        await asyncio.wait([refused])
        engine.pause()
        tasks = sending(engine, message(1, key="k"))
        await until(lambda: len(engine._delivering.outbox.by_seq) == 1)  # type: ignore[union-attr]
        tasks += sending(engine, message(1, key="k"))
        engine.resume()
        await ended(*tasks)
        assert engine._delivering.outbox is not None
        assert not engine._delivering.outbox.by_seq
    assert fast.ledger.by_address()["user1@example.com"] == 1


async def test_a_future_that_is_cancelled_withdraws_its_message(
    fast: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "messages.journal"
    async with Engine.open(settings(fast), journal=path) as engine:
        await engine.send(message(0))
        engine.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(await engine.send_nowait(message(1)), 0.05)
        engine.resume()
        await engine.send(message(2))
    assert states(path) == {1: "sent", 2: "failed", 3: "sent"}


async def test_a_paused_engine_keeps_nothing_of_what_has_expired(fast: Emulator) -> None:
    async with Engine.open(settings(fast, queue_max=100)) as engine:
        await engine.send(message(0))
        engine.pause()
        for first in range(0, 400, 100):
            tasks = sending(engine, *(message(first + n) for n in range(100)), deadline_s=0.02)
            assert {type(each) for each in await ended(*tasks)} == {Expired}
        assert engine._delivering.outbox is not None
        [stream] = engine._delivering.outbox._streams.values()
        await until(lambda: stream.dispatcher.idle)
