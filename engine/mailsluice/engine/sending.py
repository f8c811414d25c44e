"""From the dispatcher's decision to the journal: dispatcher → sender → settle.

For one batch, in this order, always: permit from the pacer, COMMIT intent, a connection, the
pacer's turn, bytes on the wire, classify, COMMIT settlement, count. `dispatcher` decides
everything, and `journal.writer` makes everything durable; this module only moves values between
them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import anyio
from anyio.abc import TaskGroup

from mailsluice import journal
from mailsluice.dispatch.dispatcher import Blame, Dispatcher, Done, Send, Wait
from mailsluice.engine import tracing
from mailsluice.engine.screening import Screen
from mailsluice.journal import AddressColumns, Addresses, Record, Resolution
from mailsluice.journal.writer import Writer
from mailsluice.mailing.mailing import assemble
from mailsluice.model import Answer, Batch, Entry, Lane, Outcome, State, codes, hold
from mailsluice.model.errors import StoreError
from mailsluice.model.hold import Hold
from mailsluice.model.wait_reason import Reason
from mailsluice.ses import Transport, statuses
from mailsluice.ses.statuses import Action, Verdict

logger = logging.getLogger(__name__)

NEVER_LEFT = Answer(code=codes.NOT_SENT, error="cancelled before the call")
TAKEN_BACK = Answer(code=codes.NOT_SENT, error="taken back before it had left")
CUT_SHORT = Answer(code=codes.NO_ANSWER, error="cancelled during the call")


@dataclass(frozen=True, slots=True)
class SendingStatistics:
    """What this process has done in the run so far."""

    calls: int
    throttled: int
    """Recipients whose attempt was throttled, counted each time."""
    waiting_for: Reason
    """Why the dispatcher does not start another batch at this moment."""
    waited_s: Mapping[Reason, float]
    """Seconds spent waiting so far, by reason."""


class Signal:
    """Wakes the one task that waits for it; setting it early is not lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the task."""
        self._event.set()

    async def wait_until(self, moment: float | None) -> None:
        """Return when the signal is set, or when the event loop's clock shows `moment`."""
        with anyio.CancelScope(deadline=float("inf") if moment is None else moment):
            await self._event.wait()
        self._event = asyncio.Event()


class _Waits:
    """The reasons for which the dispatcher has waited, and how long."""

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
        """Return the seconds by reason, including the present wait."""
        under_way = max(0.0, now - self._since)
        return {**self._seconds, self.reason: self._seconds[self.reason] + under_way}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettled:
    """The event for a call whose outcomes are durable.

    Times are seconds since the epoch.
    """

    number: int
    """The batch's number, as in the journal."""
    lane: Lane
    recipients: int
    weight: int
    """Number of addresses."""
    states: Mapping[State, int]
    """Recipients by their new state; pending: deferred."""
    statuses: Mapping[str, int]
    """Recipients that were not sent, by SES's status, its error code, or one of mailsluice's."""
    started_at: float
    settled_at: float


class Listener:
    """Receives the events of each recipient. This base does nothing; none may block or raise."""

    def started(self, batch: Batch) -> None:
        """Take note that a batch is about to be sent: its intent is recorded next."""

    def settled(
        self, batch: Batch, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome]
    ) -> None:
        """Take note of outcomes that are durable."""

    def kept_back(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Take note that these are suppressed: recorded, and not attempted."""

    def blamed(self, blames: Sequence[Blame]) -> None:
        """Take note of blames, settled outside a call, that are durable."""


OnEvent = Callable[[BatchSettled], None]


class Sending:
    """Sends what one dispatcher decides.

    `prefix` is the mailing's part of each request (`Mailing.prefix`); `wall` gives seconds since
    the epoch, for the journal's records.
    """

    def __init__(  # noqa: PLR0913  # the composition root hands over each part once
        self,
        *,
        prefix: bytes,
        endpoint_id: str | None,
        dispatcher: Dispatcher,
        writer: Writer,
        transport: Transport,
        wall: Callable[[], float],
        listener: Listener | None = None,
        on_event: OnEvent | None = None,
        screen: Screen | None = None,
    ) -> None:
        self._prefix = prefix
        self._endpoint_id = endpoint_id
        self._dispatcher = dispatcher
        self._writer = writer
        self._transport = transport
        self._wall = wall
        self._listener = listener or Listener()
        self._on_event = on_event
        self._screen = screen
        self._decide_again = Signal()
        self.room = Signal()
        """Set whenever the dispatcher may want more recipients."""
        self._now = asyncio.get_running_loop().time
        self._batches: asyncio.Queue[Batch | None] = asyncio.Queue()
        """Batches to send; None ends one sender."""
        self._senders = 0
        self._idle = 0
        """Number of senders without work."""
        self._calls = 0
        self._throttled = 0
        self._waits = _Waits()
        self._ending = False
        """True if nothing more is to be sent."""
        self._aboard: dict[int, anyio.CancelScope] = {}
        """Scopes of the calls that have not ended, by batch number."""
        dispatcher.wake_by(self.wake)

    async def run(self) -> None:
        """Send until nothing is left, the dispatcher holds, or it is told to stop.

        Raises JournalError if nothing more can be recorded. Calls in flight have been settled by
        then, or are in doubt in the journal.
        """
        try:
            async with anyio.create_task_group() as tasks:
                await self._dispatch(tasks)
                # Not cancelled: the traceback of that keeps all of this alive until a collection.
                for _ in range(self._senders):
                    self._batches.put_nowait(None)
        finally:
            self._listener = Listener()  # who may refer to this

    def wake(self) -> None:
        """Decide again: the daily quota or the rate has changed, or a stop is requested."""
        self._decide_again.set()

    def statistics(self) -> SendingStatistics:
        """Return the statistics so far."""
        waited_s = self._waits.seconds(self._now())
        return SendingStatistics(self._calls, self._throttled, self._waits.reason, waited_s)

    # --- dispatcher → sender -----------------------------------------------------------------

    async def _dispatch(self, tasks: TaskGroup) -> None:
        while True:
            match self._dispatcher.decide(self._now()):
                case Send(batch):
                    self._listener.started(batch)
                    self._batches.put_nowait(batch)
                    if self._idle:
                        self._idle -= 1
                    else:
                        self._senders += 1
                        tasks.start_soon(self._send_in_turn)
                    self.room.set()
                case Wait(until, reason):
                    if reason is Reason.STOPPING:
                        self._take_back()
                    self._waits.begin(reason, self._now())
                    await self._decide_again.wait_until(until)
                    self._waits.end(self._now())
                case Done():
                    return

    async def _send_in_turn(self) -> None:
        """Send one batch after the other: a loop costs less than a task per batch."""
        while (batch := await self._batches.get()) is not None:
            await self._send(batch)
            self._idle += 1

    async def _send(self, batch: Batch) -> None:
        # Shielded: an intent that may be durable must not be left open without need.
        with anyio.CancelScope(shield=True):
            # The time comes before the look at who is suppressed: nobody is by the intent's time.
            started_at = self._wall()
            batch = await self._intend(batch, started_at)
        if not batch.entries:
            return
        try:
            self._dispatcher.calls.ready(batch, self._now())
            answer = await self._call_unless_taken_back(batch)
        except anyio.get_cancelled_exc_class():
            has_left = self._dispatcher.calls.has_left(batch.number)
            with anyio.CancelScope(shield=True):
                await self._settle(batch, CUT_SHORT if has_left else NEVER_LEFT, started_at)
            raise
        await self._settle(batch, answer, started_at)

    async def _intend(self, batch: Batch, at: float) -> Batch:
        """Make durable who is about to be mailed: those who are not suppressed by now."""
        suppressed: Mapping[int, str] = {}
        if self._screen is not None:
            try:
                suppressed = await self._screen.late(batch.entries)
            except StoreError as error:
                await self._give_back(batch, Hold(codes.SUPPRESSIONS_UNREADABLE, str(error)))
                return batch.without([entry.seq for entry in batch.entries])
        if suppressed:
            return await self._intend_without(batch, suppressed, at)
        await self._writer.write([journal.intent(batch, at)])
        return batch

    async def _intend_without(self, batch: Batch, why: Mapping[int, str], at: float) -> Batch:
        """Settle these rows as suppressed, in one commit with the intent of the others."""
        entries = [entry for entry in batch.entries if entry.seq in why]
        outcomes = [
            Outcome(
                self._dispatcher.abandoned_state(entry.seq, State.SUPPRESSED),
                *(codes.SUPPRESSED, None, why[entry.seq]),
            )
            for entry in entries
        ]
        records: list[Record] = [
            Resolution(
                *(at, [entry.seq], outcome.state, outcome.status, outcome.error or ""),
                AddressColumns.of([Addresses(entry.to, entry.cc, entry.bcc, entry.key)]),
            )
            for entry, outcome in zip(entries, outcomes, strict=True)
        ]
        left = batch.without(why)
        await self._writer.write([*records, journal.intent(left, at)] if left.entries else records)
        left, blames = self._dispatcher.keep_back(batch, why, self._now())
        self._listener.kept_back(entries, outcomes)
        await self._conclude(blames)
        return left

    async def _give_back(self, batch: Batch, hold: Hold) -> None:
        """Hold the stream before this batch has an intent: its recipients stay pending."""
        self._dispatcher.hold_for(hold)
        verdicts = statuses.classify(TAKEN_BACK, len(batch.entries))
        outcomes = self._dispatcher.judge(batch, verdicts, self._now())
        blames = self._dispatcher.absorb(batch, verdicts, outcomes, self._now())
        self._listener.settled(batch, verdicts, outcomes)
        await self._conclude(blames)

    async def _call_unless_taken_back(self, batch: Batch) -> Answer:
        scope = anyio.CancelScope()
        self._aboard[batch.number] = scope
        try:
            with scope:
                if not self._ending:
                    return await self._call(batch)
        finally:
            self._aboard.pop(batch.number, None)
        return CUT_SHORT if self._dispatcher.calls.has_left(batch.number) else TAKEN_BACK

    def _take_back(self) -> None:
        """Cancel the calls that have not left: nothing more is to be sent.

        They wait for credentials, a connection or their turn, and may do so for minutes.
        """
        self._ending = True
        for number, scope in self._aboard.items():
            if not self._dispatcher.calls.has_left(number):
                scope.cancel()

    async def _call(self, batch: Batch) -> Answer:
        self._calls += 1
        body = assemble(self._prefix, batch.entries)
        with tracing.call(batch, self._dispatcher.lane) as answered:
            answer = await self._answer(batch, body)
            answered(answer)
        return answer

    async def _answer(self, batch: Batch, body: bytes) -> Answer:
        """Return the transport's answer. A caller's own transport may raise or return anything."""
        depart = partial(self._depart, batch)
        try:
            answer: object = await self._transport.send_bulk_email(body, self._endpoint_id, depart)
            return statuses.checked(answer)
        except Exception as error:
            logger.exception("the transport has failed")
            why = f"the transport has failed: {type(error).__name__}: {error}"
        has_left = self._dispatcher.calls.has_left(batch.number)
        return Answer(code=codes.BROKEN_ANSWER if has_left else codes.NOT_SENT, error=why)

    async def _depart(self, batch: Batch) -> None:
        """Return when the batch's turn has come: it is to be written at this moment."""
        if self._dispatcher.calls.has_left(batch.number):
            # Its connection was lost before a byte was written: it needs another turn.
            self._dispatcher.calls.stay(batch)
        try:
            await self._turn(batch)
        except BaseException:
            self._dispatcher.calls.stay(batch)
            raise
        # Transports write in this turn of the event loop, or in a task that is in the next one.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._written, batch)

    async def _turn(self, batch: Batch) -> None:
        """Wait until the batch may leave; never return once calls are taken back.

        A batch whose connection was lost after its turn is taken back here, because `_take_back`
        has skipped it.

        A cancellation may reach a task only after it has woken up. A batch that left in between
        would be written, cancelled, and recorded as not sent.
        """
        while True:
            if self._ending:
                self._aboard[batch.number].cancel()
                await anyio.sleep_forever()
            now = self._now()
            # In a loop: a batch that wakes up late has missed its turn, and gets another one.
            if (moment := self._dispatcher.calls.leave(batch, now)) <= now:
                return
            await anyio.sleep_until(moment)

    def _written(self, batch: Batch) -> None:
        self._dispatcher.calls.written(batch, self._now())

    # --- sender → settle → journal -----------------------------------------------------------

    async def _settle(self, batch: Batch, answer: Answer, started_at: float) -> None:
        verdicts = statuses.classify(answer, len(batch.entries))
        outcomes = self._dispatcher.judge(batch, verdicts, self._now())
        await self._writer.write([journal.settlement(batch.number, outcomes, self._wall())])
        blames = self._dispatcher.absorb(batch, verdicts, outcomes, self._now())
        throttle = Action.THROTTLE
        self._throttled += sum([verdict.rule.action is throttle for verdict in verdicts])
        for status in {verdict.status for verdict in verdicts if verdict.rule.warn}:
            said = hold.without_addresses(status)
            logger.warning("batch %d: SES gave a status unknown to us: %s", batch.number, said)
        self._listener.settled(batch, verdicts, outcomes)
        if self._on_event is not None:
            self._tell(batch, outcomes, started_at, self._on_event)
        await self._conclude(blames)

    async def _conclude(self, blames: list[Blame]) -> None:
        """End a batch, which may have proved others to blame."""
        if blames:
            # A stream that ends meanwhile must not leave this half done.
            with anyio.CancelScope(shield=True):
                await self.record_blames(blames)
            self._dispatcher.blames_recorded()
        self._decide_again.set()
        self.room.set()

    async def record_blames(self, blames: list[Blame]) -> None:
        """Record entries that SES refused alone while the mailing is in order."""
        records: list[Record] = [
            Resolution(self._wall(), [seq], outcome.state, outcome.status, outcome.error or "")
            for seq, outcome in blames
        ]
        if records:
            await self._writer.write(records)
            self._listener.blamed(blames)

    def _tell(
        self, batch: Batch, outcomes: Sequence[Outcome], started_at: float, tell: OnEvent
    ) -> None:
        event = BatchSettled(
            number=batch.number,
            lane=self._dispatcher.lane,
            recipients=len(batch.entries),
            weight=batch.weight,
            states=Counter(outcome.state for outcome in outcomes),
            statuses=Counter(
                outcome.status for outcome in outcomes if outcome.state is not State.SENT
            ),
            started_at=started_at,
            settled_at=self._wall(),
        )
        try:
            tell(event)
        except (SystemExit, KeyboardInterrupt) as ending:
            # Raised here, it would end the loop in the middle of a task that cannot be cancelled.
            asyncio.get_running_loop().call_soon(_raise, ending)
        except (Exception, asyncio.CancelledError):
            logger.exception("the hook that is told of batches has failed; sending goes on")


def _raise(error: BaseException) -> None:
    raise error
