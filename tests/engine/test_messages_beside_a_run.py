"""Single messages and a run share one engine: lanes, journals, the day."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from mailsluice import Engine, JournalError, Receipt, Recipient
from mailsluice.emulator import AccountSettings, CallFault, Emulator, EntryFault
from tests.support.messages import BULK, OTHER, ended, message, sending, settings, states, until
from tests.support.waiting import PATIENCE_S


async def test_a_run_and_messages_side_by_side(fast: Emulator, tmp_path: Path) -> None:
    people = [Recipient(to=f"bulk{n}@example.com") for n in range(2_000)]
    async with Engine.open(settings(fast), journal=tmp_path / "messages.journal") as engine:
        run = asyncio.create_task(engine.run(OTHER, people, journal=tmp_path / "run.journal"))
        await asyncio.gather(*(engine.send(message(n)) for n in range(300)))
        report = await run
    assert (report.state, report.counts.sent) == ("finished", 2_000)
    assert set(fast.ledger.by_address().values()) == {1}
    assert len(fast.ledger) == 2_300
    assert Counter(states(tmp_path / "run.journal").values()) == {"sent": 2_000}


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=200, daily_max=-1))
async def test_the_transactional_lane_overtakes_a_mailing_that_takes_the_whole_rate(
    ses_emulator: Emulator,
) -> None:
    people = (Recipient(to=f"bulk{n}@example.com") for n in range(100_000))
    before: list[int] = []
    async with Engine.open(settings(ses_emulator)) as engine:
        run = asyncio.create_task(engine.run(OTHER, people))
        await asyncio.to_thread(ses_emulator.wait_for, accepted=100, timeout_s=PATIENCE_S)
        for n in range(20):
            before.append(len(ses_emulator.ledger))
            await engine.send(message(n))
        engine.stop()
        report = await run
    assert report.throttled == 0
    addresses = [each.addresses[0] for each in ses_emulator.ledger.entries()]
    ahead = [addresses.index(f"user{n}@example.com") - before[n] for n in range(20)]
    assert sorted(ahead)[-2] <= 2 * 50, "of the mailing no more than two batches go first"


async def test_a_journal_is_a_runs_or_the_messages(fast: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    async with Engine.open(settings(fast), journal=path) as engine:
        await engine.run(OTHER, ["a@example.com"])
        with pytest.raises(JournalError, match="single messages need their own"):
            await engine.send(message(1))
    path = tmp_path / "two.journal"
    async with Engine.open(settings(fast), journal=path) as engine:
        await engine.send(message(1))
        with pytest.raises(JournalError, match="give the run its own"):
            await engine.run(OTHER, ["a@example.com"])
    async with Engine.open(settings(fast), journal=path) as engine:
        with pytest.raises(JournalError, match="a mailing's run needs its own"):
            await engine.run(OTHER, ["a@example.com"])


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=500, daily_max=-1))
async def test_a_run_that_was_cancelled_holds_nobody_up(ses_emulator: Emulator) -> None:
    async with Engine.open(settings(ses_emulator)) as engine:
        await engine.send(message(0))
        run = asyncio.create_task(engine.run(OTHER, BULK))
        assert await asyncio.to_thread(ses_emulator.wait_for, accepted=100, timeout_s=PATIENCE_S)
        run.cancel()
        await asyncio.wait([run])
        tasks = sending(engine, *(message(n) for n in range(700)))
        assert {type(each) for each in await ended(*tasks)} == {Receipt}


async def test_messages_whose_journal_fails_hold_no_run_up(fast: Emulator, tmp_path: Path) -> None:
    fast.faults.add(CallFault(fault="late", delay_s=0.3, address="user*"))
    journal = tmp_path / "messages.journal"
    async with Engine.open(settings(fast), journal=journal) as engine:
        run = asyncio.create_task(engine.run(OTHER, BULK[:2000], journal=tmp_path / "run.journal"))
        tasks = sending(engine, *(message(n) for n in range(200)))
        await until(lambda: engine.message_statistics() is not None)
        assert engine._journal is not None
        engine._journal.close()
        assert {type(each) for each in await ended(*tasks)} == {JournalError}
        assert (await run).counts.sent == 2000
        with pytest.raises(JournalError):
            await engine.send(message(1))


async def test_the_day_is_not_counted_twice(ses_emulator: Emulator, tmp_path: Path) -> None:
    ses_emulator.change_account(rate_per_s=1e6, daily_max=1000)
    ses_emulator.faults.add(EntryFault(status="TEMPLATE_NOT_FOUND", address="bulk699@*", times=1))
    async with Engine.open(settings(ses_emulator)) as engine:
        await engine.send(message(0))
        reports = [
            await asyncio.wait_for(
                engine.run(OTHER, BULK[:700], journal=tmp_path / "run.journal"), PATIENCE_S
            )
            for _ in range(2)
        ]
    assert [report.state for report in reports] == ["held", "finished"]
