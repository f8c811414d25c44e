"""`engine.send`: one message each, from any number of tasks, over real HTTP to the emulator."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mailsluice import (
    Attachment,
    BatchSettled,
    ConfigurationError,
    Engine,
    Expired,
    Failed,
    Held,
    InDoubt,
    JournalError,
    Mailing,
    Message,
    QueueFull,
    Receipt,
    Recipient,
    Rejected,
    State,
)
from mailsluice.emulator import AccountSettings, CallFault, Emulator, EntryFault
from mailsluice.engine import outbox
from tests.support.chance import a_seed
from tests.support.messages import OTHER, WELCOME, message, settings, states, until
from tests.support.waiting import PATIENCE_S

KILLS = 3


@pytest.fixture
def fast(ses_emulator: Emulator) -> Emulator:
    """An account that limits nothing."""
    ses_emulator.change_account(rate_per_s=1e6, daily_max=-1)
    return ses_emulator


async def test_a_thousand_concurrent_messages_are_twenty_calls(fast: Emulator) -> None:
    async with Engine.open(settings(fast)) as engine:
        receipts = await asyncio.gather(*(engine.send(message(n)) for n in range(1000)))
    assert set(fast.ledger.by_address().values()) == {1}
    assert len(fast.ledger) == len({receipt.message_id for receipt in receipts}) == 1000
    assert fast.statistics().account.calls == 20
    first = fast.ledger.to("user7@example.com")[0]
    assert receipts[7].message_id == first.message_id
    assert (receipts[7].attempts, receipts[7].queued_at <= receipts[7].settled_at) == (1, True)
    assert receipts[7].settled_at.utcoffset() == timedelta(0)


async def test_different_mailings_never_share_a_call(fast: Emulator) -> None:
    equal = Mailing(from_address="news@example.com", template="welcome", data={"city": "Lisbon"})
    async with Engine.open(settings(fast)) as engine:
        await asyncio.gather(
            *(engine.send(Message(WELCOME, to=f"a{n}@example.com")) for n in range(20)),
            *(engine.send(Message(OTHER, to=f"b{n}@example.com")) for n in range(20)),
            *(engine.send(Message(equal, to=f"c{n}@example.com")) for n in range(20)),
        )
    templates = Counter(each.template for each in fast.ledger.entries())
    assert templates == {"welcome": 40, "other": 20}
    assert fast.statistics().account.calls == 2


OUTCOMES = [
    ("MESSAGE_REJECTED", Rejected),
    ("INVALID_PARAMETER", Rejected),
    ("TEMPLATE_NOT_FOUND", Held),
    ("ACCOUNT_SENDING_PAUSED", Held),
    ("NEVER_HEARD_OF", Failed),
]


@pytest.mark.parametrize(("status", "error"), OUTCOMES, ids=[each for each, _ in OUTCOMES])
async def test_what_ses_says_of_one_message_is_raised_to_its_caller(
    fast: Emulator, tmp_path: Path, status: str, error: type[Exception]
) -> None:
    fast.faults.add(EntryFault(address="user1@example.com", status=status, error="because"))
    path = tmp_path / "messages.journal"
    async with Engine.open(settings(fast), journal=path) as engine:
        results = await asyncio.gather(
            *(engine.send(message(n)) for n in range(3)), return_exceptions=True
        )
        await engine.send(message(9))  # a hold is not for ever
    assert [type(result) for result in results] == [Receipt, error, Receipt]
    assert isinstance(results[1], Rejected | Held | Failed)
    assert (results[1].status, results[1].error) == (status, "because")
    final = "rejected" if error is Rejected else "failed"
    assert states(path) == {1: "sent", 2: final, 3: "sent", 4: "sent"}


async def test_an_answer_that_is_lost_is_in_doubt(fast: Emulator, tmp_path: Path) -> None:
    fast.faults.add(CallFault(fault="lost", times=1))
    path = tmp_path / "messages.journal"
    async with Engine.open(settings(fast), journal=path) as engine:
        with pytest.raises(InDoubt, match="NO_ANSWER"):
            await engine.send(message(1, key="k"))
        with pytest.raises(InDoubt, match="NO_ANSWER"):
            await engine.send(message(1, key="k"))
    assert states(path) == {1: "in_doubt"}
    async with Engine.open(settings(fast), journal=path) as engine:
        with pytest.raises(InDoubt, match="NO_ANSWER"):
            await engine.send(message(1, key="k"))
    assert fast.statistics().account.calls == 1


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"to": "no-at"}, "to: "),
        ({"to": []}, "there is no address"),
        ({"data": {"a": object()}}, "data: "),
        ({"tags": {"bad name": "x"}}, "tags: "),
    ],
)
async def test_what_cannot_be_sent_is_refused_to_its_caller_alone(
    fast: Emulator, fields: dict[str, object], why: str
) -> None:
    bad = Message(WELCOME, **({"to": "x@example.com"} | fields))  # type: ignore[arg-type]
    async with Engine.open(settings(fast)) as engine:
        good, refused = await asyncio.gather(
            engine.send(message(1)), engine.send(bad), return_exceptions=True
        )
    assert isinstance(good, Receipt)
    assert isinstance(refused, Rejected)
    assert refused.status == "REFUSED"
    assert why in (refused.error or "")


async def test_a_deferred_message_is_tried_again_and_its_receipt_counts_the_attempts(
    fast: Emulator,
) -> None:
    fast.faults.add(EntryFault(status="TRANSIENT_FAILURE", times=1))
    async with Engine.open(settings(fast)) as engine:
        receipt = await engine.send(message(1))
    assert receipt.attempts == 2


async def test_a_bad_request_is_rejected_alone_however_few_there_are(fast: Emulator) -> None:
    fast.faults.add(CallFault(fault="error", code="BadRequestException", nth=2))
    async with Engine.open(settings(fast)) as engine:
        await engine.send(message(1))
        with pytest.raises(Rejected, match="BadRequestException"):
            await engine.send(message(2))


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


async def test_the_queue_is_bounded(fast: Emulator) -> None:
    async with Engine.open(settings(fast, queue_max=10)) as engine:
        engine.pause()
        waiting = [await engine.send_nowait(message(n)) for n in range(10)]
        with pytest.raises(QueueFull):
            await engine.send_nowait(message(10))
        with pytest.raises(Expired):
            await engine.send(message(11), deadline_s=0.01)
        late = asyncio.create_task(engine.send(message(12)))
        engine.resume()
        await asyncio.gather(*waiting, late)
    assert len(fast.ledger) == 11


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


async def test_the_hook_is_told_of_every_call_and_may_fail(fast: Emulator) -> None:
    told: list[BatchSettled] = []

    def hook(event: BatchSettled) -> None:
        told.append(event)
        raise RuntimeError("not my day")

    async with Engine.open(settings(fast), on_event=hook) as engine:
        await asyncio.gather(*(engine.send(message(n)) for n in range(60)))
        await engine.run(OTHER, ["a@example.com"])
    assert sum(event.recipients for event in told) == 61
    assert {event.lane for event in told} == {"transactional", "bulk"}
    assert sum(event.states.get(State.SENT, 0) for event in told) == 61


async def test_an_account_that_is_paused_holds_and_is_asked_again(fast: Emulator) -> None:
    fast.change_account(sending_enabled=False)
    async with Engine.open(settings(fast)) as engine:
        with pytest.raises(Held, match="ACCOUNT_SENDING_PAUSED"):
            await engine.send(message(1))
        fast.change_account(sending_enabled=True)
        await engine.send(message(1))


async def test_two_engines_in_one_process_know_nothing_of_each_other(fast: Emulator) -> None:
    async with Engine.open(settings(fast)) as one, Engine.open(settings(fast)) as other:
        one.pause()
        held = await one.send_nowait(message(1))
        await other.send(message(2))
        assert not held.done()
        one.resume()
        await held


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=1_000, daily_max=-1))
@pytest.mark.process
def test_a_service_that_is_killed_again_and_again_sends_each_key_once(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    """SIGKILL at a moment of the ledger's, three times; the next process gives the same keys."""
    count, moments = 600, random.Random(a_seed())
    path = tmp_path / "messages.journal"
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "support" / "messages_child.py"),
        str(path),
    ]
    for _ in range(KILLS):
        at = len(ses_emulator.ledger) + moments.randint(1, 150)
        with subprocess.Popen([*command, str(count)], stdout=subprocess.DEVNULL) as process:
            assert ses_emulator.wait_for(accepted=at, timeout_s=PATIENCE_S)
            process.kill()
    ended = subprocess.run([*command, str(count)], capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("done\n")
    in_doubt = {f"user{line.split()[2]}@example.com" for line in ended.stdout.splitlines()[:-1]}
    delivered = ses_emulator.ledger.by_address()
    assert set(delivered.values()) == {1}
    everybody = {f"user{n}@example.com" for n in range(count)}
    assert everybody - set(delivered) <= in_doubt
    assert len(in_doubt) <= KILLS * 32 * 50
    assert {*states(path).values()} <= {"sent", "in_doubt", "failed"}


async def test_an_attachment_that_is_gone_is_its_senders_trouble_alone(
    fast: Emulator, tmp_path: Path
) -> None:
    file = tmp_path / "figures.csv"
    file.write_text("a,b")
    bad = Mailing(
        from_address="news@example.com", template="t", attachments=[Attachment(path=file)]
    )
    file.unlink()
    async with Engine.open(settings(fast)) as engine:
        good, lost = await asyncio.gather(
            engine.send(message(1)),
            engine.send(Message(bad, to="a@example.com")),
            return_exceptions=True,
        )
    assert isinstance(good, Receipt)
    assert isinstance(lost, ConfigurationError)


async def test_a_mailing_made_for_each_message_costs_no_memory_for_ever(
    fast: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, at_once = 100, 50
    monkeypatch.setattr(outbox, "PREFIXES_MAX", most)
    async with Engine.open(settings(fast)) as engine:
        for n in range(0, 3 * most, at_once):
            mailings = [
                Mailing(from_address="news@example.com", template="welcome") for _ in range(at_once)
            ]
            await asyncio.gather(
                *(
                    engine.send(Message(each, to=f"user{n + i}@example.com"))
                    for i, each in enumerate(mailings)
                )
            )
        assert engine._delivering.outbox is not None
        assert len(engine._delivering.outbox._prefixes) <= most
        statistics = engine.message_statistics()
    assert statistics is not None
    assert statistics.streams == 1
