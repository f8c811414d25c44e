"""A caller's own transport or clock that fails: doubts and errors, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from mailsluice import Engine, EngineError, InDoubt, Mailing, Message, Recipient
from mailsluice.model import Account, Answer, EntryResult
from mailsluice.ses import Depart
from tests.waiting import PATIENCE_S

WELCOME = Mailing(from_address="news@example.com", template="welcome")
ACCOUNT = Account(rate_per_s=1_000.0, daily_max=-1.0, daily_sent=0.0)


class Odd:
    """A transport that writes its requests, and then does what it was given."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    async def send_bulk_email(self, _: bytes, __: str | None, depart: Depart, /) -> Answer:
        await depart()
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
