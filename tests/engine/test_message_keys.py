"""A key is sent once, whatever ends its message or its process."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from mailsluice import Engine, InDoubt, Receipt
from mailsluice.emulator import AccountSettings, CallFault, Emulator
from tests.support import forked
from tests.support.chance import a_seed
from tests.support.messages import ended, message, resending, sending, settings, states, until
from tests.support.waiting import PATIENCE_S

FORKED = forked.context()

KILLS = 3


async def test_one_key_is_sent_once(fast: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "messages.journal"
    async with Engine.open(settings(fast), journal=path) as engine:
        first = await asyncio.gather(*(engine.send(message(1, key="order-7")) for _ in range(20)))
        again = await engine.send(message(2, key="order-7"))
        later = await (await engine.send_nowait(message(3, key="order-7")))
    assert {receipt.message_id for receipt in first} == {again.message_id} == {later.message_id}
    async with Engine.open(settings(fast), journal=path) as engine:
        restarted = await engine.send(message(1, key="order-7"))
        await engine.send(message(1, key="order-8"))
    assert restarted.message_id == again.message_id
    assert len(fast.ledger) == 2


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=1_000, daily_max=-1))
@pytest.mark.process
def test_a_service_that_is_killed_again_and_again_sends_each_key_once(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    """SIGKILL at a moment of the ledger's, three times; the next process gives the same keys."""
    count, moments = 600, random.Random(a_seed())
    path = tmp_path / "messages.journal"
    given = [str(path), str(count)]
    service = (Path(__file__).parents[1] / "support" / "messages_child.py").read_text()
    for _ in range(KILLS):
        at = len(ses_emulator.ledger) + moments.randint(1, 150)
        process = forked.Forked(
            FORKED, tmp_path, os.environ, given, forked.Streams(), program=service
        )
        assert ses_emulator.wait_for(accepted=at, timeout_s=PATIENCE_S)
        process.kill()
        process.wait()
    ended = forked.run(FORKED, tmp_path, os.environ, given, program=service)
    assert ended.code == 0, ended.err
    assert ended.out.endswith("done\n")
    in_doubt = {f"user{line.split()[2]}@example.com" for line in ended.out.splitlines()[:-1]}
    delivered = ses_emulator.ledger.by_address()
    assert set(delivered.values()) == {1}
    everybody = {f"user{n}@example.com" for n in range(count)}
    assert everybody - set(delivered) <= in_doubt
    assert len(in_doubt) <= KILLS * 32 * 50
    assert {*states(path).values()} <= {"sent", "in_doubt", "failed"}


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_a_doubt_keeps_its_key_whatever_ends_the_message(
    fast: Emulator, tmp_path: Path, how: str
) -> None:
    fast.faults.add(CallFault(fault="error", http_status=500, accepted=True, times=1))
    path = tmp_path / "messages.journal"
    async with Engine.open(resending(fast, drain_s=0.1), journal=path) as engine:
        tasks = sending(engine, message(1, key="k"))
        await until(
            lambda: bool(
                engine._delivering.outbox and engine._delivering.outbox._writer.standing.doubted
            )
        )
        if how == "cancelled":
            tasks[0].cancel()
            await asyncio.wait(tasks)
            with pytest.raises(InDoubt):
                await engine.send(message(1, key="k"))
    assert {type(each) for each in await ended(*tasks)} <= {InDoubt, type(None)}
    assert states(path) == {1: "in_doubt"}
    async with Engine.open(resending(fast), journal=path) as engine:
        with pytest.raises(InDoubt):
            await engine.send(message(1, key="k"))
    assert len(fast.ledger) == 1


async def test_a_key_is_sent_as_long_as_somebody_wants_it(fast: Emulator) -> None:
    async with Engine.open(settings(fast)) as engine:
        await engine.send(message(0))
        engine.pause()
        first, second = sending(engine, message(1, key="k"), message(1, key="k"))
        await until(lambda: getattr(engine._delivering.outbox._known.get("k"), "callers", 0) == 2)  # type: ignore[union-attr]
        first.cancel()
        with pytest.raises(InDoubt, match="may be sent yet"):
            await engine.send(message(1, key="k"), deadline_s=0.05)
        engine.resume()
        assert isinstance((await ended(second))[0], Receipt)
