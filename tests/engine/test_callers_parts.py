"""A caller's own transport or clock that fails: doubts and errors, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from mailsluice import (
    Engine,
    EngineError,
    InDoubt,
    JournalError,
    Mailing,
    MailsluiceError,
    Message,
    Receipt,
    Recipient,
)
from mailsluice.journal import Intent, Record
from mailsluice.journal.memory import MemoryJournal
from mailsluice.model import Account, Answer, EntryResult
from mailsluice.ses import Depart
from tests.support.waiting import PATIENCE_S

WELCOME = Mailing(from_address="news@example.com", template="welcome")
ACCOUNT = Account(rate_per_s=1_000.0, daily_max=-1.0, daily_sent=0.0)


class Odd:
    """A transport that writes its requests, and then does what it was given."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome
        self.calls = 0

    async def send_bulk_email(self, _: bytes, __: str | None, depart: Depart, /) -> Answer:
        await depart()
        self.calls += 1
        await asyncio.sleep(0.01)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome  # type: ignore[return-value]  # as a caller's may

    async def get_account(self) -> Account:
        return ACCOUNT


def answer(*result: Any) -> Answer:
    return Answer(results=(EntryResult(*result),))


ODD = {
    "raises": TypeError("unhashable type: 'list'"),
    "nothing": None,
    "a list as status": answer(["SUCCESS"], None, None),
    "no status": answer(None, "id", None),
    "a number as id": answer("SUCCESS", 7, None),
    "a list as id": answer("SUCCESS", ["id"], None),
    "bytes as id": answer("SUCCESS", b"id", None),
    "a dict as error": answer("MESSAGE_REJECTED", None, {"why": "?"}),
    "a number as error": answer("FAILED", None, 7),
    "a text as result": Answer(results=cast("Any", ("yes",))),
    "two fields": Answer(results=cast("Any", (("SUCCESS", "id"),))),
    "a generator": Answer(results=cast("Any", (each for each in [EntryResult("SUCCESS", "id")]))),
    "a number as code": Answer(code=cast("Any", 400)),
    "a list as code": Answer(code=cast("Any", ["MessageRejected"])),
    "a text as HTTP status": Answer(code="MessageRejected", http_status=cast("Any", "400")),
    "a list as text": Answer(code="MessageRejected", error=cast("Any", ["no"])),
}


@pytest.mark.parametrize("outcome", ODD.values(), ids=ODD.keys())
async def test_a_transport_that_fails_after_departure_leaves_a_doubt(outcome: object) -> None:
    async with Engine(transport=Odd(outcome)) as engine, asyncio.timeout(PATIENCE_S):
        with pytest.raises(InDoubt):
            await engine.send(Message(WELCOME, to="ann@example.com"))
        report = await engine.run(WELCOME, [Recipient("ann@example.com")])
    assert (report.state, report.counts.in_doubt) == ("finished", 1)


async def test_an_error_that_nobody_foresaw_is_told_to_everybody_who_waits() -> None:
    broken = asyncio.Event()

    def wall() -> float:
        if broken.is_set():
            raise ZeroDivisionError("a clock of the caller's")
        return time.time()

    sent = Answer(results=(EntryResult("SUCCESS", "id", None),))
    async with Engine(transport=Odd(sent), wall=wall) as engine, asyncio.timeout(PATIENCE_S):
        await engine.send(Message(WELCOME, to="ann@example.com"))
        waiting = [
            await engine.send_nowait(Message(WELCOME, to=f"user{n}@example.com")) for n in range(3)
        ]
        broken.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        broken.clear()
        assert [type(each) for each in ended] == [EngineError] * 3
        with pytest.raises(EngineError, match="ZeroDivisionError"):
            await engine.send(Message(WELCOME, to="bob@example.com"))


class Failing(MemoryJournal):
    """A journal of the caller's, of which one commit fails."""

    def __init__(self, failing: int, error: BaseException) -> None:
        super().__init__()
        self.commits = 0
        self._failing = failing
        self._error = error

    def commit(self, records: Sequence[Record]) -> None:
        self.commits += 1
        if self.commits == self._failing:
            raise self._error
        super().commit(records)


@pytest.mark.parametrize("error", [TypeError("no"), KeyError(7), RuntimeError(), SystemExit(3)])
@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_a_journal_whose_commit_fails_ends_the_run_and_nothing_more_is_sent(
    failing: int, error: BaseException
) -> None:
    transport = Odd(None)
    transport.outcome = Answer(results=(EntryResult("SUCCESS", "id"),) * 50)
    journal = Failing(failing, error)
    recipients = [Recipient(f"user{n}@example.com") for n in range(500)]
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(JournalError):
            async with Engine(transport=transport, journal=journal) as engine:
                await engine.run(WELCOME, recipients)
    assert journal.commits == failing
    intents = sum(isinstance(record, Intent) for record in journal.replay(details=True))
    assert transport.calls == intents


@pytest.mark.parametrize("error", [TypeError("no"), KeyError(7), SystemExit(3)])
@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_a_journal_whose_commit_fails_tells_every_caller(
    failing: int, error: BaseException
) -> None:
    sent = Answer(results=(EntryResult("SUCCESS", "id", None),))
    journal = Failing(failing, error)
    async with asyncio.timeout(PATIENCE_S), Engine(transport=Odd(sent), journal=journal) as engine:
        waiting = [
            asyncio.create_task(engine.send(Message(WELCOME, to="ann@example.com")))
            for _ in range(3)
        ]
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert any(isinstance(each, JournalError) for each in ended)
        assert all(isinstance(each, MailsluiceError | Receipt) for each in ended)
