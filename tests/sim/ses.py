"""SES in this process, on virtual time, and the wire to it with what goes wrong there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import orjson

from mailsluice.emulator import EmulatorOptions
from mailsluice.emulator.exchange import Request
from mailsluice.emulator.service import ACCOUNT, BULK, Ending, Reply, Service
from mailsluice.model import Account, Answer, EntryResult, codes
from mailsluice.ses import AccountUnavailableError, Depart

EPOCH_S = 1_700_000_000.0
"""The time of day at which the virtual clock shows 0."""

Accepted = Callable[[list[tuple[int, str]]], None]
"""Called when a call has arrived, with the rows that were accepted and their MessageIds."""


class Ses:
    """What lives on when the engine's process dies: the emulator's service, and its ledger."""

    def __init__(self, options: EmulatorOptions) -> None:
        self.service = Service(options)

    def handle(
        self, operation: tuple[str, str], body: bytes, now: float
    ) -> tuple[Reply, list[tuple[int, str]]]:
        """One request that has arrived: the answer, and what was accepted, whatever that says."""
        ledger = self.service.ledger
        before = len(ledger)
        reply = self.service.handle(Request(*operation, {}, body), now, EPOCH_S + now)
        new = ledger.entries(since=before) if len(ledger) > before else ()
        return reply, [(row_of(each.tags), each.message_id) for each in new]


class Wire:
    """The transport of one engine process. Requests and answers travel for a while, or get lost.

    What a process has sent arrives although the process dies, as often as not; its answer then goes
    nowhere.
    """

    def __init__(  # noqa: PLR0913  # what one wire is like
        self,
        ses: Ses,
        random: Random,
        *,
        latency_s: tuple[float, float],
        unreachable: float,
        timeout_s: float,
        submitted: Callable[[list[int], int], Accepted],
    ) -> None:
        self._ses = ses
        self._random = random
        self._latency_s = latency_s
        self._unreachable = unreachable
        self._timeout_s = timeout_s
        self._submitted = submitted
        self._travelling: set[asyncio.TimerHandle] = set()

    def cut(self) -> None:
        """The process is dead: some of what it sent is still in its own machine, and lost."""
        for handle in sorted(self._travelling, key=asyncio.TimerHandle.when):
            if self._random.random() < 0.5:
                handle.cancel()

    async def send_bulk_email(
        self, body: bytes, endpoint_id: str | None, depart: Depart, /
    ) -> Answer:
        """One call: out, judged, back."""
        assert endpoint_id is None
        if self._random.random() < self._unreachable:
            return Answer(code=codes.NOT_SENT, error="connection refused")
        if connect_s := self._connect_s():
            await asyncio.sleep(connect_s)
        await depart()
        entries = orjson.loads(body)["BulkEmailEntries"]
        weight = sum(len(to) for entry in entries for to in entry["Destination"].values())
        accepted = self._submitted([_row(entry) for entry in entries], weight)
        reply = await self._travel(BULK, body, accepted)
        return Answer(code=codes.NO_ANSWER, error="timeout") if reply is None else _answer(reply)

    async def get_account(self) -> Account:
        """One call of GetAccount."""
        reply = await self._travel(ACCOUNT, b"", len)
        answer = Answer(code=codes.NO_ANSWER) if reply is None else _answer(reply)
        if reply is None or answer.code is not None:
            raise AccountUnavailableError(answer)
        document = orjson.loads(reply.answer.body) if reply.answer else {}
        quota = document["SendQuota"]
        return Account(
            rate_per_s=quota["MaxSendRate"],
            daily_max=quota["Max24HourSend"],
            daily_sent=quota["SentLast24Hours"],
            sending_enabled=document["SendingEnabled"],
            enforcement=document["EnforcementStatus"],
        )

    async def _travel(
        self, operation: tuple[str, str], body: bytes, accepted: Callable[[Any], object]
    ) -> Reply | None:
        """What comes back in time; None where nothing does."""
        loop = asyncio.get_running_loop()
        back: asyncio.Future[Reply] = loop.create_future()

        def come_back(reply: Reply) -> None:
            if not back.done():
                back.set_result(reply)

        def arrive() -> None:
            self._travelling.discard(out)
            reply, rows = self._ses.handle(operation, body, loop.time())
            accepted(rows)
            loop.call_later(self._back_s() + reply.delay_s, come_back, reply)

        out = loop.call_later(self._out_s(), arrive)
        self._travelling.add(out)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await back
        except TimeoutError:
            return None

    def _connect_s(self) -> float:
        return 0.0

    def _out_s(self) -> float:
        return self._random.uniform(*self._latency_s) / 2

    def _back_s(self) -> float:
        return self._random.uniform(*self._latency_s) / 2


def row_of(tags: Mapping[str, str]) -> int:
    """The row that a recipient's tag names."""
    return int(tags["mailsluice-id"].rpartition("-")[2])


def _row(entry: dict[str, Any]) -> int:
    return row_of({tag["Name"]: tag["Value"] for tag in entry["ReplacementTags"]})


def _answer(reply: Reply) -> Answer:
    """What the client makes of it; that the real one does the same is tests/prove/wire.py's."""
    answer = reply.answer
    if answer is None or reply.ending is not Ending.KEEP:
        return Answer(code=codes.NO_ANSWER, error="the connection broke")
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        document = {}
    if answer.http_status != 200:
        code = answer.code or str(answer.http_status)
        return Answer(code=code, http_status=answer.http_status, error=document.get("message"))
    if "SendQuota" in document:
        return Answer()
    if "BulkEmailEntryResults" not in document:
        return Answer(code=codes.BROKEN_ANSWER, error="no results")
    return Answer(
        results=tuple(
            EntryResult(each["Status"], each.get("MessageId"), each.get("Error"))
            for each in document["BulkEmailEntryResults"]
        )
    )
