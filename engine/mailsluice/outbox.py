"""Single messages on their way: callers → intake → a stream for each mailing → callers.

What arrives while the last arrivals are being made durable is taken in together; each mailing and
lane has a stream of its own, with a dispatcher at the common gate, which makes batches of what
waits there. A message is a row of the journal like any other; there is no source to read it from
again, so whatever is given up, or left behind by a process that died, is settled as not sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from mailsluice.attempts import Attempts
from mailsluice.config import DeliverySettings, MessageSettings
from mailsluice.dispatcher import Dispatcher, Ruling
from mailsluice.errors import JournalError, MailsluiceError, root_of
from mailsluice.gate import Gate, Lane
from mailsluice.intake import Intake
from mailsluice.journal import Record, Resolution, Taken
from mailsluice.journal.writer import Writer
from mailsluice.mailing import Mailing
from mailsluice.message import (
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
from mailsluice.model import Batch, Counts, Entry, Outcome, Remark, State
from mailsluice.resume import WITHDRAWN
from mailsluice.sending import OnEvent, Sending
from mailsluice.ses import Transport
from mailsluice.sources import Row
from mailsluice.statuses import Action, Verdict

TAKEN_MAX = 1_024
"""Messages taken in together: some 3 ms of the event loop."""

STREAMS_MAX = 64
"""Mailings of which a stream is kept when nothing of it is waiting."""

PREFIXES_MAX = 1_024
"""Mailings of which the encoded part is remembered: who makes one for each message makes many."""

REFUSED = "REFUSED"
"""The status of a message that mailsluice did not accept."""

_ERRORS: dict[State, type[SendError]] = {
    State.REJECTED: Rejected,
    State.FAILED: Failed,
    State.IN_DOUBT: InDoubt,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStatistics:
    """One moment of an engine's messages."""

    counts: Counts
    """Of the journal; `pending` are those that wait or are under way."""
    waiting: int
    """Messages that have not been attempted yet."""
    streams: int
    """Mailings, each lane counted, of which something is waiting or was lately."""


class _Waiting:
    """A message whose outcome somebody waits for."""

    __slots__ = (
        "attempts", "future", "gone", "holds_slot", "key", "message", "queued", "queued_at",
        "seq", "stream", "timer", "under_way",
    )  # fmt: skip

    def __init__(self, message: Message, queued_at: float) -> None:
        running = asyncio.get_running_loop()
        self.message = message
        self.key = message.key
        self.stream: _Stream | None = None
        """Where it waits; None before it is durable."""
        self.queued_at = queued_at
        self.queued = running.time()
        self.future: asyncio.Future[Receipt] = running.create_future()
        # Whoever waited may have been cancelled: then nobody asks for the exception.
        self.future.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.seq = 0
        self.attempts = 0
        self.under_way = False
        """Whether its outcome is SES's to say: it cannot be withdrawn now."""
        self.gone = False
        """Whether it has been withdrawn."""
        self.holds_slot = True
        self.timer: asyncio.TimerHandle | None = None


class _Stream:
    """The messages of one mailing in one lane; listens to what becomes of them."""

    def __init__(self, outbox: Outbox, prefix: bytes, mailing: Mailing, lane: Lane) -> None:
        self.prefix = prefix
        self.lane = lane
        self._outbox = outbox
        self.intake, self.dispatcher, self.sending = outbox.parts(prefix, mailing, lane, self)

    def started(self, batch: Batch) -> None:
        """They are SES's from now on."""
        for waiting in self._outbox.waiting_of(batch):
            waiting.under_way = True
            waiting.attempts += 1
            self._outbox.free_slot(waiting)

    def settled(
        self, batch: Batch, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome]
    ) -> None:
        """Tell each caller what became of his message."""
        triples = zip(self._outbox.waiting_of(batch), verdicts, outcomes, strict=True)
        for waiting, verdict, outcome in triples:
            if outcome.state is State.PENDING:
                waiting.under_way = verdict.rule.action is Action.BISECT
            else:
                self._outbox.settle(waiting, outcome)

    def ruled(self, rulings: Sequence[Ruling]) -> None:
        """Who was guilty of a refused batch knows it now."""
        for seq, outcome in rulings:
            self._outbox.settle(self._outbox.by_seq[seq], outcome)

    async def run(self) -> None:
        """Until it is told to stop, or SES refuses the mailing."""
        try:
            await self.sending.run()
        finally:
            self.dispatcher.close()
            self._outbox.ended(self)


class Outbox:
    """The messages of one engine: `run` it, `send` through it, `close` it."""

    def __init__(  # noqa: PLR0913  # the composition root hands over each part once
        self,
        *,
        settings: MessageSettings,
        delivery: DeliverySettings,
        run_id: str,
        known: dict[str, Receipt | InDoubt],
        gate: Gate,
        writer: Writer,
        transport: Transport,
        wall: Callable[[], float],
        random: Random,
        on_event: OnEvent | None,
    ) -> None:
        self.by_seq: dict[int, _Waiting] = {}
        self._settings = settings
        self._delivery = delivery
        self._run_id = run_id
        self._known: dict[str, Receipt | InDoubt | _Waiting] = {**known}
        self._gate = gate
        self._writer = writer
        self._transport = transport
        self._wall = wall
        self._random = random
        self._on_event = on_event
        self._slots = anyio.Semaphore(settings.queue_max)
        self._waiting = 0
        self._arrivals: list[tuple[_Waiting, Lane]] = []
        self._records: list[Record] = []
        """What has been given up, and is to be made durable with the next arrivals."""
        self._arrived = asyncio.Event()
        self._prefixes: dict[int, tuple[Mailing, bytes]] = {}
        """By identity: a mailing that is kept here is not another one's."""
        self._streams: dict[tuple[bytes, Lane], _Stream] = {}
        self._tasks: TaskGroup | None = None
        self._closing = False
        self._paused = False
        self._broken: BaseException | None = None

    # --- callers -----------------------------------------------------------------------------

    async def send(self, message: Message, lane: Lane, deadline_s: float | None) -> Receipt:
        """See `Engine.send`."""
        deadline = None if deadline_s is None else asyncio.get_running_loop().time() + deadline_s
        if (known := self._known_of(message)) is None:
            queued_at = self._wall()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._slots.acquire()
            except TimeoutError:
                raise Expired("EXPIRED", "its deadline came before there was room for it") from None
            known = self._known_of(message)
            if known is None:
                return await self._outcome_of(self._enter(message, lane, queued_at, deadline))
            self._slots.release()
        return await self._outcome_again(known)

    def send_nowait(
        self, message: Message, lane: Lane, deadline_s: float | None
    ) -> asyncio.Future[Receipt]:
        """See `Engine.send_nowait`."""
        running = asyncio.get_running_loop()
        if (known := self._known_of(message)) is not None:
            return running.create_task(self._outcome_again(known))
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            waiting = f"{self._settings.queue_max:,} messages are waiting"
            raise QueueFull("QUEUE_FULL", waiting) from None
        deadline = None if deadline_s is None else running.time() + deadline_s
        return self._enter(message, lane, self._wall(), deadline).future

    def statistics(self) -> OutboxStatistics:
        """The present moment."""
        return OutboxStatistics(
            counts=self._writer.standing.counts,
            waiting=self._waiting,
            streams=len(self._streams),
        )

    def _known_of(self, message: Message) -> Receipt | InDoubt | _Waiting | None:
        if self._broken is not None:
            raise self._broken
        if self._closing:
            raise RuntimeError("the engine is closing: it takes no more messages")
        return self._known.get(message.key) if message.key else None

    def _enter(
        self, message: Message, lane: Lane, queued_at: float, deadline: float | None
    ) -> _Waiting:
        waiting = _Waiting(message, queued_at)
        self._waiting += 1
        if message.key:
            self._known[message.key] = waiting
        if deadline is not None:
            running = asyncio.get_running_loop()
            waiting.timer = running.call_at(deadline, self._expire, waiting)
        self._arrivals.append((waiting, lane))
        self._arrived.set()
        return waiting

    async def _outcome_of(self, waiting: _Waiting) -> Receipt:
        try:
            return await asyncio.shield(waiting.future)
        except asyncio.CancelledError:
            self._withdraw(waiting, "its caller was cancelled")
            raise

    async def _outcome_again(self, known: Receipt | InDoubt | _Waiting) -> Receipt:
        """What became of the message that was the first of its key."""
        match known:
            case Receipt():
                return known
            case InDoubt():
                raise InDoubt(known.status, known.error)
            case _:
                return await asyncio.shield(known.future)

    def _expire(self, waiting: _Waiting) -> None:
        error = Expired("EXPIRED", "its deadline came before it could be sent")
        self._withdraw(waiting, "its deadline came", error)

    def _withdraw(self, waiting: _Waiting, why: str, error: SendError | None = None) -> None:
        """Give it up, unless that is no longer ours to do."""
        if waiting.gone or waiting.under_way or waiting.future.done():
            return
        waiting.gone = True
        error = error or Failed(WITHDRAWN, why)
        if waiting.stream is not None:
            waiting.stream.dispatcher.withdraw(waiting.seq)
            waiting.stream.sending.wake()
            error = self._given_up(waiting, WITHDRAWN, why, error)
        self._forget(waiting)
        self._resolve(waiting, error)

    def _given_up(self, waiting: _Waiting, status: str, why: str, error: SendError) -> SendError:
        """Have it recorded that nothing more is attempted; what its caller is to be told."""
        stream = waiting.stream
        state = State.FAILED if stream is None else stream.dispatcher.given_up(waiting.seq)
        self._records.append(Resolution(self._wall(), [waiting.seq], state, status, why))
        self._arrived.set()
        return InDoubt(status, why) if state is State.IN_DOUBT else error

    # --- intake ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take in and send until `close`. Raises JournalError; callers who wait then do, too."""
        try:
            async with anyio.create_task_group() as self._tasks:
                while not self._closing or self._arrivals or self._records or self.by_seq:
                    await self._arrived.wait()
                    self._arrived.clear()
                    while self._arrivals or self._records:
                        await self._take_in()
                self._stop(list(self._streams.values()))
        except BaseExceptionGroup as group:
            self._broken = root_of(group)
            raise self._broken from None
        finally:
            self._abandon()

    async def _take_in(self) -> None:
        """Make the next arrivals durable, and hand them to their streams."""
        arrivals, self._arrivals = self._arrivals[:TAKEN_MAX], self._arrivals[TAKEN_MAX:]
        groups: dict[_Stream, list[_Waiting]] = {}
        for waiting, lane in arrivals:
            if waiting.gone:
                continue
            try:
                stream = await self._stream_of(waiting.message.mailing, lane)
            except MailsluiceError as error:  # an attachment that cannot be read
                self._forget(waiting)
                self._resolve(waiting, error)
            else:
                groups.setdefault(stream, []).append(waiting)
        records, self._records = self._records, []
        first = last = self._writer.standing.counts.read + 1
        remarks: list[Remark] = []
        offers: list[tuple[_Stream, list[_Waiting], list[Entry]]] = []
        for stream, members in groups.items():
            rows = [Row(0, waiting.message.recipient) for waiting in members]
            chunk = stream.intake.take(rows, last)
            for seq, waiting in enumerate(members, last):
                waiting.seq = seq
                self.by_seq[seq] = waiting
            last = chunk.last + 1
            remarks += chunk.remarks
            offers.append((stream, members, chunk.entries))
        if offers:
            records.append(Taken(self._wall(), first, last - 1, remarks))
        await self._writer.write(records)
        for remark in remarks:
            self.settle(
                self.by_seq[remark.seq], Outcome(State.REJECTED, REFUSED, None, remark.reason)
            )
        for stream, members, entries in offers:
            self._offer(stream, members, entries)

    def _offer(self, stream: _Stream, members: list[_Waiting], entries: list[Entry]) -> None:
        left = []
        for entry in entries:
            waiting = self.by_seq[entry.seq]
            if waiting.gone:
                why = "it was withdrawn on its way"
                self._given_up(waiting, WITHDRAWN, why, Failed(WITHDRAWN, why))
                del self.by_seq[entry.seq]
            else:
                waiting.stream = stream
                left.append(entry)
        if not left:
            return
        if (stream.prefix, stream.lane) not in self._streams:  # it has ended meanwhile
            self._hold([entry.seq for entry in left], stream.dispatcher.hold or "CLOSED: it ended")
            return
        # They linger from when they came, not from when they were durable.
        stream.dispatcher.offer(left, min(waiting.queued for waiting in members))
        stream.sending.wake()

    async def _stream_of(self, mailing: Mailing, lane: Lane) -> _Stream:
        found = self._prefixes.get(id(mailing))
        if found is None:
            if len(self._prefixes) >= PREFIXES_MAX:
                self._prefixes.clear()
            prefix = (
                await to_thread.run_sync(mailing.prefix)
                if mailing.attachments
                else mailing.prefix()
            )
            found = self._prefixes[id(mailing)] = mailing, prefix
        prefix = found[1]
        stream = self._streams.get((prefix, lane))
        if stream is None:
            self._retire_idle()
            stream = self._streams[prefix, lane] = _Stream(self, prefix, mailing, lane)
            assert self._tasks is not None, "only `run` takes in"
            self._tasks.start_soon(stream.run)
        return stream

    def parts(
        self, prefix: bytes, mailing: Mailing, lane: Lane, listener: _Stream
    ) -> tuple[Intake, Dispatcher, Sending]:
        """What a stream is made of."""
        dispatcher = Dispatcher(
            self._gate,
            Attempts(attempts_max=self._delivery.max_attempts, in_doubt=self._delivery.in_doubt),
            lane=lane,
            linger_s=self._settings.linger_ms / 1000,
            rules_when_idle=True,
            random=self._random,
        )
        dispatcher.paused = self._paused
        sending = Sending(
            prefix=prefix,
            endpoint_id=mailing.endpoint_id,
            dispatcher=dispatcher,
            writer=self._writer,
            transport=self._transport,
            wall=self._wall,
            listener=listener,
            on_event=self._on_event,
        )
        return Intake(mailing, self._run_id, "none"), dispatcher, sending

    def _retire_idle(self) -> None:
        if len(self._streams) >= STREAMS_MAX:
            self._stop([each for each in self._streams.values() if each.dispatcher.idle])
            self._prefixes.clear()

    def _stop(self, streams: list[_Stream]) -> None:
        for stream in streams:
            self._streams.pop((stream.prefix, stream.lane), None)
            stream.dispatcher.stopping = True
            stream.sending.wake()

    # --- outcomes ----------------------------------------------------------------------------

    def waiting_of(self, batch: Batch) -> list[_Waiting]:
        """Whose messages are in it."""
        return [self.by_seq[entry.seq] for entry in batch.entries]

    def free_slot(self, waiting: _Waiting) -> None:
        """It does not wait to be attempted any more."""
        if waiting.holds_slot:
            waiting.holds_slot = False
            self._waiting -= 1
            self._slots.release()

    def settle(self, waiting: _Waiting, outcome: Outcome) -> None:
        """Tell the caller; what became of it is durable."""
        self._forget(waiting)
        error = _ERRORS.get(outcome.state)
        if error is not None:
            found = error(outcome.status, outcome.error)
            if isinstance(found, InDoubt) and waiting.key:
                self._known[waiting.key] = found
            self._resolve(waiting, found)
            return
        receipt = Receipt(
            message_id=outcome.message_id or "",
            attempts=waiting.attempts,
            queued_at=waiting.queued_at,
            settled_at=self._wall(),
        )
        if waiting.key:
            self._known[waiting.key] = receipt
        if not waiting.future.done():
            waiting.future.set_result(receipt)

    def _resolve(self, waiting: _Waiting, error: BaseException) -> None:
        if not waiting.future.done():
            waiting.future.set_exception(error)

    def _forget(self, waiting: _Waiting) -> None:
        self.free_slot(waiting)
        if waiting.timer is not None:
            waiting.timer.cancel()
        if waiting.stream is not None or not waiting.gone:
            self.by_seq.pop(waiting.seq, None)
        if waiting.key:
            self._known.pop(waiting.key, None)
        if self._closing:
            self._arrived.set()

    def ended(self, stream: _Stream) -> None:
        """SES refuses the mailing or the account, or the stream was told to stop."""
        self._streams.pop((stream.prefix, stream.lane), None)
        hold = stream.dispatcher.hold
        left = [seq for seq, waiting in self.by_seq.items() if waiting.stream is stream]
        if hold is not None and left:
            self._hold(left, hold)

    def _hold(self, seqs: list[int], hold: str) -> None:
        status, _, text = hold.partition(": ")
        for seq in seqs:
            waiting = self.by_seq[seq]
            error = self._given_up(waiting, status, text, Held(status, text))
            self._forget(waiting)
            self._resolve(waiting, error)

    # --- the end -----------------------------------------------------------------------------

    def pause(self, *, paused: bool) -> None:
        """Whether nothing is to be started, until the opposite is said."""
        self._paused = paused
        for stream in self._streams.values():
            stream.dispatcher.paused = paused
            stream.sending.wake()

    def close(self) -> None:
        """Take no more; `run` returns when all that was taken has its outcome."""
        self._closing = True
        self._arrived.set()

    def give_up(self) -> None:
        """Settle as not sent what is not under way."""
        for waiting, _ in self._arrivals:
            self._withdraw(
                waiting, "the engine was closed", Held("CLOSED", "the engine was closed")
            )
        for waiting in list(self.by_seq.values()):
            self._withdraw(
                waiting, "the engine was closed", Held("CLOSED", "the engine was closed")
            )

    def _abandon(self) -> None:
        """Nobody is left to say what became of these."""
        error = self._broken or RuntimeError("the engine was closed")
        for waiting in [*self.by_seq.values(), *(each for each, _ in self._arrivals)]:
            unknown = InDoubt("NO_ANSWER", "the engine was closed during the call")
            known = isinstance(error, JournalError) or not waiting.under_way
            self._resolve(waiting, error if known else unknown)
