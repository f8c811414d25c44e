"""`engine.send` where callers, journals, mailings and engines come to grief: found by attack."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mailsluice import (
    Engine,
    Expired,
    Failed,
    Held,
    InDoubt,
    JournalError,
    Mailing,
    Message,
    Receipt,
    Rejected,
    SendError,
)
from mailsluice.emulator import AccountSettings, CallFault, Emulator, EntryFault
from mailsluice.journal.recovery import standing_of
from mailsluice.journal.sqlite import SqliteJournal
from tests.support.chance import a_seed
from tests.support.messages import (
    BULK,
    OTHER,
    WELCOME,
    ended,
    message,
    resending,
    sending,
    settings,
    states,
    until,
)
from tests.support.waiting import NEVER_S, PATIENCE_S


@pytest.fixture
def fast(ses_emulator: Emulator) -> Emulator:
    """An account that limits nothing."""
    ses_emulator.change_account(rate_per_s=1e6, daily_max=-1)
    return ses_emulator


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


async def test_one_bad_mailing_or_lane_is_its_senders_trouble(fast: Emulator) -> None:
    changed = Mailing(from_address="news@example.com", template="t", data={"a": 1})
    changed.data["a"] = object()
    async with Engine.open(settings(fast)) as engine:
        tasks = sending(engine, message(1), Message(changed, to="b@e.org"), message(2))
        good, bad, other = await ended(*tasks)
        assert [type(good), type(bad), type(other)] == [Receipt, Rejected, Receipt]
        with pytest.raises(TypeError, match="it must be a Mailing"):
            await engine.send(Message(None, to="a@e.org"))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="lane is"):
            await engine.send(message(3), lane="bulkk")  # type: ignore[arg-type]
        await engine.send(message(4))


async def test_more_mailings_than_streams_are_all_sent(fast: Emulator) -> None:
    mailings = [Mailing(from_address="news@example.com", template=f"t{n}") for n in range(70)]
    async with Engine.open(settings(fast, drain_s=NEVER_S)) as engine:
        for _ in range(2):
            tasks = sending(engine, *(Message(each, to="a@e.org") for each in mailings))
            assert {type(each) for each in await ended(*tasks)} == {Receipt}


async def test_tags_are_part_of_what_a_mailing_is(fast: Emulator) -> None:
    tagless = Mailing(
        from_address="news@example.com", template="welcome", data={"city": "Lisbon"}, tags_id=False
    )
    async with Engine.open(settings(fast)) as engine:
        await ended(*sending(engine, message(1), Message(tagless, to="user2@example.com")))
    tags = {each.addresses[0]: dict(each.tags) for each in fast.ledger.entries()}
    assert [len(tags[f"user{n}@example.com"]) for n in (1, 2)] == [1, 0]


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


async def test_what_is_refused_alone_does_not_wait_for_others(fast: Emulator) -> None:
    fast.faults.add(CallFault(fault="error", code="BadRequestException", address="user2@*"))
    fast.faults.add(EntryFault(status="TRANSIENT_FAILURE", address="user1@*"))
    async with Engine.open(settings(fast, drain_s=0.1)) as engine:
        tasks = sending(engine, message(1))
        await asyncio.to_thread(fast.wait_for, calls=1, timeout_s=PATIENCE_S)
        with pytest.raises(Rejected, match="BadRequestException"):
            await asyncio.wait_for(engine.send(message(2)), PATIENCE_S)
    await ended(*tasks)


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


@pytest.mark.parametrize("in_doubt", ["hold", "resend"])
async def test_whatever_callers_and_ses_do_nothing_is_left_unsaid(
    fast: Emulator, tmp_path: Path, in_doubt: str
) -> None:
    """Faults, deadlines, cancellations and pauses at random; then both ledgers and every caller."""
    chance = random.Random(a_seed())
    for fault in (
        EntryFault(status="TRANSIENT_FAILURE", rate=0.05),
        EntryFault(status="MESSAGE_REJECTED", rate=0.02),
        CallFault(fault="error", code="BadRequestException", rate=0.05),
        CallFault(fault="error", http_status=500, accepted=True, rate=0.01),
        CallFault(fault="late", delay_s=0.01, rate=0.3),
    ):
        fast.faults.add(fault)
    path = tmp_path / "messages.journal"
    made = resending(fast) if in_doubt == "resend" else settings(fast)
    made = made.model_copy(update={"messages": settings(fast, drain_s=1.0).messages})

    async def one(engine: Engine, n: int) -> Any:
        await asyncio.sleep(chance.uniform(0, 0.8))
        deadline_s = chance.choice([None, chance.uniform(0.001, 0.3)])
        sent = engine.send(message(n), deadline_s=deadline_s)
        if chance.random() < 0.3:
            return await asyncio.wait_for(sent, chance.uniform(0.001, 0.2))
        return await sent

    async with Engine.open(made, journal=path) as engine:
        tasks = [asyncio.create_task(one(engine, n)) for n in range(600)]
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.05, 0.2))
            engine.pause()
            await asyncio.sleep(0.02)
            engine.resume()
    found = await ended(*tasks)
    assert {type(each) for each in found} <= {
        Receipt, TimeoutError, Expired, Rejected, Failed, Held, InDoubt
    }  # fmt: skip
    accepted = {each.message_id for each in fast.ledger.entries()}
    delivered = fast.ledger.by_address()
    for n, each in enumerate(found):
        if isinstance(each, Receipt):
            assert each.message_id in accepted
        elif isinstance(each, SendError) and not isinstance(each, InDoubt):
            assert f"user{n}@example.com" not in delivered
    if in_doubt == "hold":
        assert set(delivered.values()) <= {1}
    assert "pending" not in Counter(states(path).values())
