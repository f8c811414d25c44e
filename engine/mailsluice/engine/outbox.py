"""Single messages on their way: callers → intake → a stream for each mailing → callers.

Messages that arrive during a commit are taken in together. Each mailing and lane has a stream of
its own, with a dispatcher at the common gate, which makes batches of the messages that wait there.
A message is a row of the journal like any other; but there is no source to read it from again, so a
message that is withdrawn, or that a dead process left behind, is settled as not sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from mailsluice.config.settings import DeliverySettings, MessageSettings
from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.dispatcher import Blame, Dispatcher
from mailsluice.dispatch.gate import Gate
from mailsluice.engine.pending import GivenUp, StreamKey, Waiting, check, deadline_at, resolutions
from mailsluice.engine.screening import Screen, Screening
from mailsluice.engine.sending import Listener, OnEvent, Sending
from mailsluice.journal import Record, Taken
from mailsluice.journal.writer import Writer
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.message import (
    Expired,
    Failed,
    Held,
    InDoubt,
    Message,
    QueueFull,
    Receipt,
    Rejected,
    SendError,
)
from mailsluice.model import Batch, Counts, Entry, Lane, Outcome, Remark, State
from mailsluice.model.codes import CLOSED, CLOSED_TEXT, REFUSED, WITHDRAWN
from mailsluice.model.errors import EngineError, MailsluiceError, root_of
from mailsluice.model.hold import Hold
from mailsluice.model.shown import counted, numbered, shown
from mailsluice.model.wait_reason import Reason
from mailsluice.ses import Transport
from mailsluice.ses.statuses import Action, Verdict
from mailsluice.sources import Row

TAKEN_MAX = 1_024
"""Messages taken in together, at most: some 3 ms of the event loop."""

STREAMS_MAX = 64
"""Streams that are kept while none of their messages waits, at most."""

PREFIXES_MAX = 1_024
"""Encoded mailings that are remembered, at most: some callers make a mailing per message."""

PREFIXES_BYTES_MAX = 32 * 1024 * 1024
"""Total size of the encoded mailings: each has a copy of its attachments."""

YIELD_EVERY = 500
"""Messages after which other tasks may run."""

_ERRORS: dict[State, type[SendError]] = {
    State.REJECTED: Rejected,
    State.FAILED: Failed,
    State.IN_DOUBT: InDoubt,
    State.SUPPRESSED: Rejected,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStatistics:
    """One moment of an engine's single messages."""

    counts: Counts
    """The journal's counts; `pending` are messages that wait or are under way."""
    waiting: int
    """Messages that have not been attempted yet."""
    in_flight: int
    """Calls under way."""
    streams: int
    """Streams (one per mailing and lane) with messages that wait, or waited lately."""
    waiting_for: Reason | None
    """Why a stream does not start a call at this moment; None if nothing waits."""


class _Stream(Listener):
    """The messages of one mailing in one lane; passes their outcomes to the outbox."""

    def __init__(self, outbox: Outbox, key: StreamKey, mailing: Mailing) -> None:
        self.key = key
        self.arriving = 0
        """Messages of this stream that are being made durable."""
        self.ended = False
        self._outbox = outbox
        self.screen = outbox.screen_of(key.lane)
        self.intake, self.dispatcher, self.sending = outbox.parts(key, mailing, self)

    def withdraw(self, seq: int) -> None:
        """Do not attempt a message any more."""
        self.dispatcher.backlog.withdraw(seq)
        self.sending.wake()

    def given_up(self, seq: int) -> State:
        """Return a message's state if it is not attempted any more."""
        return self.dispatcher.abandoned_state(seq)

    @property
    def idle(self) -> bool:
        """True if no message of this stream is left or on its way."""
        return self.dispatcher.idle and not self.arriving

    def started(self, batch: Batch) -> None:
        """Mark the batch's messages as under way: they cannot be withdrawn now."""
        for waiting in self._outbox.waiting_of(batch):
            waiting.under_way = True
            waiting.attempts += 1
            self._outbox.free_slot(waiting)

    def settled(
        self, batch: Batch, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome]
    ) -> None:
        """Resolve each caller's future."""
        triples = zip(self._outbox.waiting_of(batch), verdicts, outcomes, strict=True)
        for waiting, verdict, outcome in triples:
            if outcome.state is not State.PENDING:
                self._outbox.settle(waiting, outcome)
            elif verdict.rule.action is not Action.BISECT:
                waiting.under_way = False
                self._outbox.deferred(waiting)

    def kept_back(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Tell the callers of messages that were suppressed while they waited."""
        for entry, outcome in zip(entries, outcomes, strict=True):
            self._outbox.settle(self._outbox.by_seq[entry.seq], outcome)

    def current(self) -> AbstractAsyncContextManager[None]:
        """Have all suppressions known within the block, which awaits nothing."""
        return nullcontext() if self.screen is None else self.screen.current()

    def blamed(self, blames: Sequence[Blame]) -> None:
        """Resolve the futures of entries that were to blame for a refused batch."""
        for seq, outcome in blames:
            self._outbox.settle(self._outbox.by_seq[seq], outcome)

    async def run(self) -> None:
        """Send until told to stop, or until SES refuses the mailing."""
        try:
            await self.sending.run()
        finally:
            self.ended = True
            self.dispatcher.close()
            self._outbox.left(self)
        if self.dispatcher.hold is not None:
            await self._outbox.hold(self, self.dispatcher.hold)


class Outbox:
    """The messages of one engine: `run` it, `send` through it, `close` it."""

    def __init__(  # noqa: PLR0913  # the composition root hands over each part once
        self,
        *,
        settings: MessageSettings,
        delivery: DeliverySettings,
        run_id: str,
        known: dict[str, Receipt | InDoubt],
        remembers_keys: bool,
        gate: Gate,
        writer: Writer,
        transport: Transport,
        wall: Callable[[], float],
        random: Random,
        on_event: OnEvent | None,
        screening: Screening | None,
        scope: str,
    ) -> None:
        self.by_seq: dict[int, Waiting] = {}
        self._settings = settings
        self._delivery = delivery
        self._run_id = run_id
        self._known: dict[str, Receipt | InDoubt | Waiting] = {**known}
        self._remembers_keys = remembers_keys
        self._gate = gate
        self._writer = writer
        self._transport = transport
        self._wall = wall
        self._random = random
        self._on_event = on_event
        self._screening = screening
        self._scope = scope
        self._slots = anyio.Semaphore(settings.queue_max)
        self._arrivals: deque[Waiting] = deque()
        self._taking: list[Waiting] = []
        """Messages that are being made durable."""
        self._given_up: list[GivenUp] = []
        self._arrived = asyncio.Event()
        self._prefixes: dict[int, tuple[Mailing, bytes]] = {}
        """Encoded mailings by `id`, the latest last; kept alive, so that each `id` is unique."""
        self._prefixes_bytes = 0
        self._streams: dict[StreamKey, _Stream] = {}
        self._tasks: TaskGroup | None = None
        self._closing = False
        self._paused = False
        self._broken: Exception | None = None

    # --- callers -----------------------------------------------------------------------------

    async def send(self, message: Message, lane: Lane, deadline_s: float | None) -> Receipt:
        """See `Engine.send`."""
        check(message)
        deadline = deadline_at(deadline_s)
        if (known := self._known_of(message)) is not None:
            return await self._outcome_again(known, deadline)
        queued_at = self._wall()
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise Expired("EXPIRED", "its deadline came before there was room for it") from None
        try:
            known = self._known_of(message)
        except BaseException:
            self._slots.release()
            raise
        if known is not None:
            self._slots.release()
            return await self._outcome_again(known, deadline)
        return await self._outcome_of(self._enter(message, lane, queued_at, deadline))

    def send_nowait(
        self, message: Message, lane: Lane, deadline_s: float | None
    ) -> asyncio.Future[Receipt]:
        """See `Engine.send_nowait`."""
        check(message)
        if (known := self._known_of(message)) is not None:
            again = asyncio.ensure_future(self._outcome_again(known, deadline_at(deadline_s)))
            again.add_done_callback(lambda future: future.cancelled() or future.exception())
            return again
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            waiting = f"{self._settings.queue_max:,} messages are waiting"
            raise QueueFull("QUEUE_FULL", waiting) from None
        entered = self._enter(message, lane, self._wall(), deadline_at(deadline_s))
        entered.callers += 1
        return entered.future

    def __repr__(self) -> str:
        now = self.statistics()
        waiting = numbered(now.waiting, "waiting"), numbered(now.in_flight, "calls in flight")
        return shown(self, counted(now.counts), *waiting, numbered(now.streams, "streams"))

    def statistics(self) -> OutboxStatistics:
        """Return the present statistics."""
        return OutboxStatistics(
            counts=self._writer.standing.counts,
            waiting=self._settings.queue_max - self._slots.value,
            in_flight=sum(each.dispatcher.calls.under_way for each in self._streams.values()),
            streams=len(self._streams),
            waiting_for=next(
                (
                    each.sending.statistics().waiting_for
                    for each in self._streams.values()
                    if not each.idle
                ),
                None,
            ),
        )

    def _known_of(self, message: Message) -> Receipt | InDoubt | Waiting | None:
        if self._broken is not None:
            raise self._broken.with_traceback(None)
        if self._closing:
            raise Held(CLOSED, CLOSED_TEXT)
        return self._known.get(message.key) if message.key else None

    def _enter(
        self, message: Message, lane: Lane, queued_at: float, deadline: float | None
    ) -> Waiting:
        waiting = Waiting(message, lane, queued_at)
        # Whoever has the future may cancel it; and may be gone when there is an exception.
        waiting.future.add_done_callback(lambda future: self._asked(waiting, future))
        if message.key:
            self._known[message.key] = waiting
        self._set_deadline(waiting, deadline)
        self._arrivals.append(waiting)
        self._arrived.set()
        return waiting

    def _asked(self, waiting: Waiting, future: asyncio.Future[Receipt]) -> None:
        if future.cancelled():
            self._withdraw(waiting, "its future was cancelled")
        else:
            future.exception()

    def _set_deadline(self, waiting: Waiting, deadline: float | None) -> None:
        if waiting.timer is not None:
            waiting.timer.cancel()
            waiting.timer = None
        if deadline is not None:
            running = asyncio.get_running_loop()
            waiting.timer = running.call_at(deadline, self._expire, waiting)

    async def _outcome_of(self, waiting: Waiting) -> Receipt:
        waiting.callers += 1
        try:
            return await asyncio.shield(waiting.future)
        except asyncio.CancelledError:
            waiting.callers -= 1
            if not waiting.callers:
                self._withdraw(waiting, "its caller was cancelled")
            raise

    async def _outcome_again(
        self, known: Receipt | InDoubt | Waiting, deadline: float | None
    ) -> Receipt:
        """Return the outcome of the first message with this key."""
        match known:
            case Receipt():
                return known
            case InDoubt():
                raise InDoubt(known.status, known.error)
            case _:
                # It is withdrawn when its last caller is gone.
                timer = known.timer
                if timer is not None and (deadline is None or deadline > timer.when()):
                    self._set_deadline(known, deadline)
                try:
                    async with asyncio.timeout_at(deadline):
                        return await self._outcome_of(known)
                except TimeoutError:
                    if known.gone or known.ended:
                        return await asyncio.shield(known.future)  # it had no other caller
                    why = "another message of its key waits or is under way, and may be sent yet"
                    raise InDoubt("EXPIRED", why) from None

    def _expire(self, waiting: Waiting) -> None:
        waiting.overdue = True
        error = Expired("EXPIRED", "its deadline came before it could be sent")
        self._withdraw(waiting, "its deadline came", error)

    def _withdraw(self, waiting: Waiting, why: str, error: SendError | None = None) -> None:
        """Withdraw a message, unless it is under way or has ended."""
        if waiting.gone or waiting.under_way or waiting.ended:
            return
        waiting.gone = True
        if waiting.stream is not None:
            waiting.stream.withdraw(waiting.seq)
        self._give_up(waiting, WITHDRAWN, why, error or Failed(WITHDRAWN, why))

    def _give_up(self, waiting: Waiting, status: str, why: str, error: SendError) -> None:
        """Abandon a message: its future is resolved when that is durable."""
        if not waiting.seq:  # nothing of it is in the journal
            self._end(waiting, error)
            return
        if waiting.stream is None:
            self.free_slot(waiting)  # `_offer` finds it gone
            return
        self._note_given_up(waiting, status, why, error)

    def _note_given_up(self, waiting: Waiting, status: str, why: str, error: SendError) -> None:
        stream = waiting.stream
        state = State.FAILED if stream is None else stream.given_up(waiting.seq)
        if state is State.IN_DOUBT:
            error = InDoubt(status, why)
        self.free_slot(waiting)
        self._given_up.append(GivenUp(waiting, state, status, why, error))
        self._arrived.set()

    # --- intake ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take in and send until `close`.

        Raises JournalError and EngineError, and so do the waiting callers.
        """
        try:
            async with anyio.create_task_group() as self._tasks:
                while not self._closing or self._arrivals or self._given_up or self.by_seq:
                    await self._arrived.wait()
                    self._arrived.clear()
                    while self._arrivals or self._given_up:
                        await self._take_in()
                for stream in self._streams.values():
                    self._stop(stream)
        except BaseExceptionGroup as group:
            root = root_of(group)
            if not isinstance(root, Exception):
                raise root from None
            self._broken = _broken_by(root)
            raise self._broken from self._broken.__cause__
        finally:
            with anyio.CancelScope(shield=True):
                await self._abandon()

    async def _take_in(self) -> None:
        """Make the next arrivals durable, and hand them to their streams."""
        given_up, self._given_up = self._given_up[:TAKEN_MAX], self._given_up[TAKEN_MAX:]
        self._taking = [
            self._arrivals.popleft() for _ in range(min(TAKEN_MAX, len(self._arrivals)))
        ]
        groups = await self._grouped(self._taking)
        first = last = self._writer.standing.counts.read + 1
        remarks: list[Remark] = []
        offers: list[tuple[_Stream, list[Entry]]] = []
        for stream, members in groups.items():
            async with stream.current():
                still = [waiting for waiting in members if not waiting.ended]
                rows = [Row(0, each.message.recipient) for each in still]
                chunk = stream.intake.number(rows, last)
                for seq, waiting in enumerate(still, last):
                    waiting.seq = seq
                    self.by_seq[seq] = waiting
            last = chunk.last + 1
            remarks += chunk.remarks
            offers.append((stream, chunk.entries))
        records: list[Record] = resolutions(given_up, self._wall())
        if last > first:
            records.append(Taken(self._wall(), first, last - 1, remarks))
        await self._writer.write(records)
        for each in given_up:
            self._end(each.waiting, each.error)
        for remark in remarks:
            refused = Rejected(remark.status or REFUSED, remark.reason)
            self._end(self.by_seq[remark.seq], refused)
        for stream, entries in offers:
            stream.arriving -= 1
            self._offer(stream, entries)
        self._taking = []
        await checkpoint()

    async def _grouped(self, arrivals: list[Waiting]) -> dict[_Stream, list[Waiting]]:
        groups: dict[_Stream, list[Waiting]] = {}
        for waiting in arrivals:
            if waiting.ended:
                continue
            try:
                stream = await self._stream_of(waiting.message.mailing, waiting.lane)
            except MailsluiceError as error:  # an attachment that cannot be read
                self._end(waiting, error)
            except Exception as error:  # noqa: BLE001  # a mailing that was changed after it was made
                self._end(waiting, Rejected(REFUSED, f"its mailing cannot be encoded: {error}"))
            else:
                if stream not in groups:
                    groups[stream] = []
                    stream.arriving += 1
                groups[stream].append(waiting)
        return groups

    def _offer(self, stream: _Stream, entries: list[Entry]) -> None:
        left: list[Waiting] = []
        for entry in entries:
            waiting = self.by_seq[entry.seq]
            if waiting.gone:
                why = "it was withdrawn on its way"
                error = Expired("EXPIRED", why) if waiting.overdue else Failed(WITHDRAWN, why)
                self._note_given_up(waiting, WITHDRAWN, why, error)
            else:
                left.append(waiting)
        if not left:
            return
        if stream.ended:  # meanwhile; it was not on account of these
            stream = self._opened(stream.key, left[0].message.mailing)
        for waiting in left:
            waiting.stream = stream
        kept = {waiting.seq for waiting in left}
        # They linger from when they came, not from when they were durable.
        stream.dispatcher.backlog.offer(
            [entry for entry in entries if entry.seq in kept],
            min(waiting.queued for waiting in left),
        )
        stream.sending.wake()

    async def _stream_of(self, mailing: Mailing, lane: Lane) -> _Stream:
        found = self._prefixes.pop(id(mailing), None)
        if found is None:
            prefix = (
                await to_thread.run_sync(mailing.prefix)
                if mailing.attachments
                else mailing.prefix()
            )
            found = mailing, prefix
            self._prefixes_bytes += len(prefix)
        self._prefixes[id(mailing)] = found  # the last of all
        while len(self._prefixes) > PREFIXES_MAX or self._prefixes_bytes > PREFIXES_BYTES_MAX:
            _, forgotten = self._prefixes.pop(next(iter(self._prefixes)))
            self._prefixes_bytes -= len(forgotten)
        return self._opened(StreamKey(found[1], mailing.tags_id, lane), mailing)

    def _opened(self, key: StreamKey, mailing: Mailing) -> _Stream:
        stream = self._streams.get(key)
        if stream is None:
            if len(self._streams) >= STREAMS_MAX:
                for each in [each for each in self._streams.values() if each.idle]:
                    self._stop(each)
                    self.left(each)
            stream = self._streams[key] = _Stream(self, key, mailing)
            assert self._tasks is not None, "only `run` takes in"
            self._tasks.start_soon(stream.run)
        return stream

    def parts(
        self, key: StreamKey, mailing: Mailing, listener: _Stream
    ) -> tuple[Intake, Dispatcher, Sending]:
        """Return the parts of a stream."""
        dispatcher = Dispatcher(
            self._gate,
            Attempts(attempts_max=self._delivery.max_attempts, in_doubt=self._delivery.in_doubt),
            lane=key.lane,
            linger_s=self._settings.linger_ms / 1000,
            one_caller_each=True,
            random=self._random,
        )
        dispatcher.pause(paused=self._paused)
        sending = Sending(
            prefix=key.prefix,
            endpoint_id=mailing.endpoint_id,
            dispatcher=dispatcher,
            writer=self._writer,
            transport=self._transport,
            wall=self._wall,
            listener=listener,
            on_event=self._on_event,
            screen=listener.screen,
        )
        suppressed = None if listener.screen is None else listener.screen.why
        intake = Intake(mailing, self._run_id, "none", suppressed=suppressed)
        return intake, dispatcher, sending

    def screen_of(self, lane: Lane) -> Screen | None:
        """Return what keeps messages back; of the transactional lane, only what holds for all."""
        if self._screening is None:
            return None
        return Screen(self._screening, None if lane == "transactional" else self._scope)

    def _stop(self, stream: _Stream) -> None:
        stream.dispatcher.stop()
        stream.sending.wake()

    # --- outcomes ----------------------------------------------------------------------------

    def waiting_of(self, batch: Batch) -> list[Waiting]:
        """Return the messages in a batch."""
        return [self.by_seq[entry.seq] for entry in batch.entries]

    def free_slot(self, waiting: Waiting) -> None:
        """Free a message's slot: it no longer waits for its first attempt."""
        if waiting.holds_slot:
            waiting.holds_slot = False
            self._slots.release()

    def settle(self, waiting: Waiting, outcome: Outcome) -> None:
        """Resolve the caller's future; the outcome is durable."""
        error = _ERRORS.get(outcome.state)
        if error is not None:
            self._end(waiting, error(outcome.status, outcome.error))
            return
        receipt = Receipt(
            message_id=outcome.message_id or "",
            attempts=waiting.attempts,
            queued_at=datetime.fromtimestamp(waiting.queued_at, UTC),
            settled_at=datetime.fromtimestamp(self._wall(), UTC),
        )
        self._end(waiting, receipt)

    def deferred(self, waiting: Waiting) -> None:
        """Let a message wait again, or expire if its deadline passed while it was under way."""
        if waiting.overdue:
            self._expire(waiting)
        elif waiting.future.cancelled():
            self._withdraw(waiting, "its future was cancelled")

    def _end(self, waiting: Waiting, outcome: Receipt | MailsluiceError) -> None:
        """Resolve the caller's future and drop the message. Its outcome must be durable by now."""
        waiting.ended = True
        self.free_slot(waiting)
        if waiting.timer is not None:
            waiting.timer.cancel()
        self.by_seq.pop(waiting.seq, None)
        key = waiting.message.key
        if key and self._known.get(key) is waiting:
            if self._remembers_keys and isinstance(outcome, Receipt | InDoubt):
                self._known[key] = outcome
            else:
                del self._known[key]
        if not waiting.future.done():
            if isinstance(outcome, Receipt):
                waiting.future.set_result(outcome)
            else:
                waiting.future.set_exception(outcome)
        if self._closing:
            self._arrived.set()

    def left(self, stream: _Stream) -> None:
        """Forget a stream that takes no more; a new one may have its place already."""
        if self._streams.get(stream.key) is stream:
            del self._streams[stream.key]

    async def hold(self, stream: _Stream, hold: Hold) -> None:
        """Abandon a stream's messages: SES refuses the mailing or the account."""
        left = [each for each in self.by_seq.values() if each.stream is stream]
        for number, waiting in enumerate(left):
            if not (waiting.gone or waiting.ended):
                waiting.gone = True
                self._note_given_up(waiting, hold.code, hold.text, Held(hold.code, hold.text))
            if number % YIELD_EVERY == 0:
                await checkpoint()

    # --- the end -----------------------------------------------------------------------------

    def pause(self, *, paused: bool) -> None:
        """Pause or resume. While paused, no new call starts."""
        self._paused = paused
        for stream in self._streams.values():
            stream.dispatcher.pause(paused=paused)
            stream.sending.wake()

    def close(self) -> None:
        """Take no more; `run` returns when all accepted messages have their outcomes."""
        self._closing = True
        self._arrived.set()

    async def give_up(self) -> None:
        """Settle messages that are not under way as not sent."""
        for number, waiting in enumerate([*self._arrivals, *self._taking, *self.by_seq.values()]):
            self._withdraw(waiting, CLOSED_TEXT, Held(CLOSED, CLOSED_TEXT))
            if number % YIELD_EVERY == 0:
                await checkpoint()

    async def _abandon(self) -> None:
        """Settle all messages that are left after the streams have ended; resolve their futures."""
        left = [*self.by_seq.values()]
        error: Exception | None = self._broken
        if error is None:
            try:
                await self._settle_left(left)
            except Exception as broken:  # noqa: BLE001  # whoever waits is told, whatever it is
                error = self._broken = _broken_by(broken)
        self._closing = True
        for waiting in [*self._taking, *self._arrivals, *left]:
            self.free_slot(waiting)
            if not waiting.future.done():
                waiting.future.set_exception(error or Held(CLOSED, CLOSED_TEXT))

    async def _settle_left(self, left: list[Waiting]) -> None:
        """Settle what the journal still calls pending: halves of batches, deferred messages."""
        standing = self._writer.standing
        given_up = {each.waiting: each for each in self._given_up}
        for waiting in left:
            doubted = waiting.seq in standing.doubted
            state = State.IN_DOUBT if doubted else State.FAILED
            error = (InDoubt if doubted else Held)(CLOSED, CLOSED_TEXT)
            closed = GivenUp(waiting, state, CLOSED, CLOSED_TEXT, error)
            given_up.setdefault(waiting, closed)
        read = standing.counts.read
        pending = [
            each
            for waiting, each in given_up.items()
            if waiting.seq <= read and waiting.seq not in standing.settled
        ]
        await self._writer.write(resolutions(pending, self._wall()))
        for each in pending:
            self._end(each.waiting, each.error)


def _broken_by(error: Exception) -> MailsluiceError:
    """Return the error for callers when this error has ended the outbox."""
    if isinstance(error, MailsluiceError):
        return error
    broken = EngineError(f"an unexpected error: {type(error).__name__}: {error}")
    broken.__cause__ = error
    return broken
