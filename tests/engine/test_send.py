"""`engine.send`: one message each, from any number of tasks, over real HTTP to the emulator."""

from __future__ import annotations

import asyncio
from collections import Counter
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
    Mailing,
    Message,
    QueueFull,
    Receipt,
    Rejected,
    State,
)
from mailsluice.emulator import CallFault, Emulator, EntryFault
from mailsluice.engine import outbox
from tests.support.messages import OTHER, WELCOME, ended, message, sending, settings, states
from tests.support.waiting import NEVER_S, PATIENCE_S


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


async def test_what_is_refused_alone_does_not_wait_for_others(fast: Emulator) -> None:
    fast.faults.add(CallFault(fault="error", code="BadRequestException", address="user2@*"))
    fast.faults.add(EntryFault(status="TRANSIENT_FAILURE", address="user1@*"))
    async with Engine.open(settings(fast, drain_s=0.1)) as engine:
        tasks = sending(engine, message(1))
        await asyncio.to_thread(fast.wait_for, calls=1, timeout_s=PATIENCE_S)
        with pytest.raises(Rejected, match="BadRequestException"):
            await asyncio.wait_for(engine.send(message(2)), PATIENCE_S)
    await ended(*tasks)
