"""The flow of one run: source → intake → dispatcher → sender → settle → journal.

For one batch, in this order, always: permit from the pacer, COMMIT intent, bytes on the wire,
classify, COMMIT settlement, count. Everything is decided by `dispatcher`; everything durable goes
through `journal.writer`; this module only moves values between them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from mailsluice import journal, statuses
from mailsluice.dispatcher import Dispatcher, Done, Ruling, Send, Wait
from mailsluice.errors import JournalError, SourceError
from mailsluice.intake import Intake
from mailsluice.journal import Record, Resolution, Taken
from mailsluice.journal.writer import Writer
from mailsluice.mailing import assemble
from mailsluice.model import Answer, Batch, Chunk
from mailsluice.reasons import Reason
from mailsluice.remedies import SOURCE_BROKEN
from mailsluice.ses import Transport
from mailsluice.sources import Source
from mailsluice.statuses import Action

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PipelineStatistics:
    """What this process has done in the run so far."""

    calls: int
    throttled: int
    """Recipients whose attempt was throttled, counted each time."""
    waiting_for: Reason
    """Why the dispatcher does not start another batch at this moment."""
    waited_s: Mapping[Reason, float]
    """Seconds spent waiting so far, by what for."""


class _Signal:
    """Wakes the one task that waits for it; setting it early is not lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait_until(self, moment: float | None) -> None:
        """Return when it is set, or when the event loop's clock shows `moment`."""
        with anyio.CancelScope(deadline=float("inf") if moment is None else moment):
            await self._event.wait()
        self._event = asyncio.Event()


class _Waits:
    """What the dispatcher has waited for, and how long."""

    def __init__(self) -> None:
        self.reason = Reason.SOURCE
        self._since = float("inf")
        self._seconds: defaultdict[Reason, float] = defaultdict(float)

    def begin(self, reason: Reason, now: float) -> None:
        self.reason, self._since = reason, now

    def end(self, now: float) -> None:
        self._seconds[self.reason] += now - self._since
        self._since = float("inf")

    def seconds(self, now: float) -> Mapping[Reason, float]:
        """By reason, the present wait included."""
        under_way = max(0.0, now - self._since)
        return {**self._seconds, self.reason: self._seconds[self.reason] + under_way}


class Pipeline:
    """One run's task group.

    `prefix` is the mailing's part of each request (`Mailing.prefix`); `wall` gives seconds since
    the epoch, for the journal's records.
    """

    def __init__(  # noqa: PLR0913  # the composition root hands over each part once
        self,
        *,
        prefix: bytes,
        endpoint_id: str | None,
        source: Source,
        intake: Intake,
        dispatcher: Dispatcher,
        writer: Writer,
        transport: Transport,
        wall: Callable[[], float],
    ) -> None:
        self._prefix = prefix
        self._endpoint_id = endpoint_id
        self._source = source
        self._intake = intake
        self._dispatcher = dispatcher
        self._writer = writer
        self._transport = transport
        self._wall = wall
        self._decide_again = _Signal()
        self._room = _Signal()
        self._now = asyncio.get_running_loop().time
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()
        self._idle = 0
        """Senders without work."""
        self._caller_error: Exception | None = None
        self._calls = 0
        self._throttled = 0
        self._waits = _Waits()

    async def run(self) -> None:
        """Send until nothing is left, the run is held, or it is told to stop.

        Raises SourceError where the source breaks before its first row (after it, the run is held),
        JournalError where nothing more can be recorded, and what the caller's own iterable raises.
        What was in flight has been settled, or is in doubt in the journal.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._take_in)
            await self._dispatch(tasks)
            await self._record_rulings(self._dispatcher.rule_on_suspects())
            if self._caller_error is not None:
                raise self._caller_error
            # Senders without work; and intake, where the run ends before its source.
            tasks.cancel_scope.cancel()

    def wake(self) -> None:
        """Something outside has changed: the daily quota, a request to stop, the rate."""
        self._decide_again.set()

    def statistics(self) -> PipelineStatistics:
        """What has been done so far."""
        waited_s = self._waits.seconds(self._now())
        return PipelineStatistics(self._calls, self._throttled, self._waits.reason, waited_s)

    # --- source → intake ---------------------------------------------------------------------

    async def _take_in(self) -> None:
        try:
            await self._take_in_all()
        except SourceError as error:
            if self._writer.standing.counts.read == 0:
                raise
            # What came before the break has been accepted and is accounted for.
            self._dispatcher.hold = (
                f"{SOURCE_BROKEN}: {error}; what came before is settled: give the very same bytes "
                "again, or send what `export` does not list as a run of its own"
            )
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001  # the caller's own; raised when all is drained
            self._caller_error = error
            self._dispatcher.stopping = True
        else:
            self._dispatcher.source_ended()
        self._decide_again.set()

    async def _take_in_all(self) -> None:
        async with aclosing(self._source.rows()) as source:
            async for rows in source:
                chunk = self._intake.take(rows)
                await self._record_chunk(chunk)
                self._dispatcher.offer(chunk.entries, self._now())
                self._decide_again.set()
                while not self._dispatcher.wants_more:
                    await self._room.wait_until(None)

    async def _record_chunk(self, chunk: Chunk) -> None:
        """Make durable that these rows were read, unless an earlier process has done so."""
        known = self._writer.standing.counts.read
        if chunk.last <= known:
            return
        remarks = [remark for remark in chunk.remarks if remark.seq > known]
        first = max(chunk.first, known + 1)
        self._dispatcher.recording = True
        await self._writer.write([Taken(self._wall(), first, chunk.last, remarks)])
        self._dispatcher.recording = False

    # --- dispatcher → sender -----------------------------------------------------------------

    async def _dispatch(self, tasks: TaskGroup) -> None:
        """Do as the dispatcher decides until it has nothing left."""
        while True:
            match self._dispatcher.decide(self._now()):
                case Send(batch):
                    self._batches.put_nowait(batch)
                    if self._idle:
                        self._idle -= 1
                    else:
                        tasks.start_soon(self._send_in_turn)
                    self._room.set()
                case Wait(until, reason):
                    self._waits.begin(reason, self._now())
                    await self._decide_again.wait_until(until)
                    self._waits.end(self._now())
                case Done():
                    return

    async def _send_in_turn(self) -> None:
        """Send one batch after the other: a turn costs less than a task."""
        while True:
            await self._send(await self._batches.get())
            self._idle += 1

    async def _send(self, batch: Batch) -> None:
        # Shielded: an intent that may be durable must not be left open without need.
        with anyio.CancelScope(shield=True):
            await self._writer.write([journal.intent(batch, self._wall())])
        answer = Answer(code=statuses.NOT_SENT, error="cancelled before the call")
        try:
            now = self._now()
            if (moment := self._dispatcher.leave(batch, now)) > now:
                await anyio.sleep_until(moment)
            answer = Answer(code=statuses.NO_ANSWER, error="cancelled during the call")
            answer = await self._call(batch)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._settle(batch, answer)
            raise
        await self._settle(batch, answer)

    async def _call(self, batch: Batch) -> Answer:
        self._calls += 1
        body = assemble(self._prefix, batch.entries)
        return await self._transport.send_bulk_email(body, self._endpoint_id)

    # --- sender → settle → journal -----------------------------------------------------------

    async def _settle(self, batch: Batch, answer: Answer) -> None:
        verdicts = statuses.classify(answer, len(batch.entries))
        outcomes = self._dispatcher.judge(batch, verdicts, self._now())
        await self._writer.write([journal.settlement(batch.number, outcomes, self._wall())])
        rulings = self._dispatcher.absorb(batch, verdicts, outcomes, self._now())
        throttle = Action.THROTTLE
        self._throttled += sum([verdict.rule.action is throttle for verdict in verdicts])
        for status in {verdict.status for verdict in verdicts if verdict.rule.warn}:
            logger.warning("batch %d: SES gave a status unknown to us: %s", batch.number, status)
        await self._record_rulings(rulings)
        self._decide_again.set()
        self._room.set()

    async def _record_rulings(self, rulings: list[Ruling]) -> None:
        """SES refused these alone, and the mailing is in order."""
        records: list[Record] = [
            Resolution(self._wall(), [seq], outcome.state, outcome.status, outcome.error or "")
            for seq, outcome in rulings
        ]
        if records:
            await self._writer.write(records)
