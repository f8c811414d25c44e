"""Receives messages from the queue, sends their recipients, and deletes or returns each message.

A message is deleted when the outcomes of all its recipients are durable. It is returned, at once or
hidden for a while, if one of them was not attempted. A message that the queue delivers twice is
recognised by its keys. While it is in hand, it stays hidden from other workers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from mailsluice.config.worker import QueueSettings
from mailsluice.engine.pulse import Pulse
from mailsluice.model.errors import EngineError, JournalError, root_of
from mailsluice.model.shown import numbered, shown
from mailsluice.ses.aws.sqs import BATCH_MAX, Queue, Received, UnreachableError, back_off_s
from mailsluice.worker.queue import messages
from mailsluice.worker.queue.acks import Ack, AckBatcher, Nack
from mailsluice.worker.queue.journals import Segments
from mailsluice.worker.queue.messages import BodyError, FromList
from mailsluice.worker.queue.sender import MessageSender

logger = logging.getLogger(__name__)

POLLS = 4
"""Polls at once: each brings ten messages per round trip."""

TELLERS = 4
"""Calls at once that delete messages, and as many that return them."""

LISTS_MAX = 1_000
"""Mailings to lists in hand at once."""

BYTES_MAX = 64 * 1024 * 1024
"""Total size of the bodies in hand; parsed, they take several times as much."""

EXTENSIONS = 4
"""Extensions within the time for which a message is hidden: all but one may fail."""

POLL_ENDS_S = 1.0
"""Time for polls under way when the worker stops, seconds: they may still bring messages."""

ASIDE_BYTES = 64 * 1024
"""A longer body is parsed in a thread."""


class Consumer:
    """Feeds an engine from one queue: `run` it until `stop`.

    `take_list` sends a mailing to a list, by message id and body; `quarantine` keeps what can never
    be sent.
    """

    def __init__(
        self,
        settings: QueueSettings,
        queue: Queue,
        segments: Segments,
        *,
        take_list: Callable[[str, FromList, str], Awaitable[Nack | None]],
        quarantine: Callable[[Received, str], None],
    ) -> None:
        self.recipients = MessageSender(settings, segments, went_on=self._changed)
        self.malformed = 0
        """Messages that could not be read."""
        self.unreachable: str | None = None
        """Why no message can be received at present; None if messages can."""
        self.in_hand: dict[str, Received] = {}
        """Messages received and not yet deleted or returned, by the queue's id."""
        self._hiding: set[str] = set()
        """Ids of messages whose hiding is being extended."""
        self._settings = settings
        self._queue = queue
        self._take_list = take_list
        self._quarantine = quarantine
        self._bytes = 0
        """Total size of received message bodies, bytes."""
        self._asked = 0
        """Messages that polls under way may return."""
        self._polls: set[anyio.CancelScope] = set()
        self._stopping = anyio.Event()
        self._change = Pulse()
        self._lists = 0
        """Number of messages in hand that are mailings to lists."""
        self._deleting = AckBatcher(self._delete, self._left)
        self._giving_back = AckBatcher(queue.hide, self._left)
        self._tasks: TaskGroup

    def __repr__(self) -> str:
        malformed = numbered(self.malformed, "malformed")
        return shown(self, numbered(len(self.in_hand), "messages in hand"), malformed)

    async def run(self) -> None:
        """Receive and send until stopped, and until every message in hand is deleted or returned.

        Raises JournalError and EngineError: the queue delivers again what was not deleted.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_hidden)
            for _ in range(TELLERS):
                tasks.start_soon(self._deleting.run)
                tasks.start_soon(self._giving_back.run)
            async with anyio.create_task_group() as self._tasks:
                for _ in range(POLLS):
                    self._tasks.start_soon(self._receive)
            while self.in_hand:
                await self._change.wait()
            tasks.cancel_scope.cancel()

    def stop(self) -> None:
        """Receive no more messages."""
        self._stopping.set()
        self.recipients.stop()
        for poll in self._polls:
            poll.deadline = anyio.current_time() + POLL_ENDS_S
        self._changed()

    # --- receiving ---------------------------------------------------------------------------

    async def _receive(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            in_hand = len(self.in_hand) - self._lists + self._asked
            most = min(BATCH_MAX, self._settings.in_hand - in_hand)
            if most <= 0 or self.recipients.hold is not None or self._bytes > BYTES_MAX:
                await self._change.wait()
                continue
            self._asked += most
            try:
                with anyio.CancelScope() as poll:
                    self._polls.add(poll)
                    for received in await self._queue.receive(most):
                        self._take(received)
                failures = 0
                self._note_reached()
            except UnreachableError as error:
                await self._back_off(failures, error)
                failures += 1
            finally:
                self._polls.discard(poll)
                self._asked -= most
                self._changed()

    async def _back_off(self, failures: int, error: Exception) -> None:
        if self.unreachable is None:
            logger.warning("the queue cannot be reached: %s; trying again", error)
        self.unreachable = str(error)
        with anyio.move_on_after(back_off_s(failures)):
            await self._stopping.wait()

    def _note_reached(self) -> None:
        if self.unreachable is not None:
            logger.info("the queue is reached again")
            self.unreachable = None

    def _take(self, received: Received) -> None:
        received.hidden_until = anyio.current_time() + self._settings.visibility_s
        if received.id in self.in_hand:
            # It was not kept hidden for long enough; only the newest handle deletes it for sure.
            known = self.in_hand[received.id]
            known.handle, known.receives = received.handle, received.receives
            return
        self.in_hand[received.id] = received
        self._bytes += len(received.body)
        self._tasks.start_soon(self._handle, received)

    async def _keep_hidden(self) -> None:
        every_s = self._settings.visibility_s / EXTENSIONS
        while True:
            await anyio.sleep(every_s)
            soon = anyio.current_time() + self._settings.visibility_s - every_s / 2
            due = [
                each
                for each in self.in_hand.values()
                if not each.leaving and each.hidden_until < soon
            ]
            tens = iter([due[first : first + BATCH_MAX] for first in range(0, len(due), BATCH_MAX)])
            async with anyio.create_task_group() as tasks:
                for _ in range(TELLERS):
                    tasks.start_soon(self._hide_all_longer, tens)

    async def _hide_all_longer(self, tens: Iterator[Sequence[Received]]) -> None:
        for some in tens:
            await self._hide_longer(some)

    async def _hide_longer(self, some: Sequence[Received]) -> None:
        still = [each for each in some if each.id in self.in_hand and not each.leaving]
        if not still:
            return
        ids = {each.id for each in still}
        self._hiding |= ids
        try:
            again = await self._queue.hide([(each, self._settings.visibility_s) for each in still])
        except UnreachableError as error:
            logger.warning("messages in hand could not be kept hidden: %s; trying again", error)
            return
        finally:
            self._hiding -= ids
            self._changed()
        until = anyio.current_time() + self._settings.visibility_s
        for each in still:
            if each not in again:
                each.hidden_until = until

    # --- one message -------------------------------------------------------------------------

    async def _handle(self, received: Received) -> None:
        """Send a message, and acknowledge it. Raises JournalError and EngineError."""
        try:
            given_back = await self._sent(received)
        except BodyError as error:
            given_back = await self._put_aside(received, str(error))
        except Exception as error:  # one message never stops the others
            root = root_of(error) if isinstance(error, BaseExceptionGroup) else error
            if isinstance(root, JournalError | EngineError):
                raise root from root.__cause__
            logger.exception("message %s is tried again", received.id)
            given_back = Nack(self._settings.hold_s, f"{type(root).__name__}: {root}")
        if given_back is None or await self._is_given_up(received, given_back.why):
            self._deleting.add((received, 0.0))
        else:
            await self._give_back(received, given_back.hidden_s)

    async def _give_back(self, received: Received, hidden_s: float) -> None:
        while self._stopping.is_set() and self._polls:
            await self._change.wait()  # a poll could receive it once more
        received.leaving = True
        while received.id in self._hiding:
            await self._change.wait()  # that call would hide it again
        self._giving_back.add((received, hidden_s))

    async def _is_given_up(self, received: Received, why: str) -> bool:
        """Send a message received too often to the dead-letter queue, with reason and first id.

        If it is moved back, that id tells which recipients were sent to.
        """
        if not self._queue.is_last(received):
            return False
        logger.error("message %s has been given for the last time", received.id)
        return await self._queue.send_to_dlq(received, why)

    async def _sent(self, received: Received) -> Nack | None:
        text = received.body
        read = messages.parse(text) if len(text) < ASIDE_BYTES else await _parse_aside(text)
        if isinstance(read, FromList):
            return await self._send_list(received.origin, read, text)
        return await self.recipients.send(read, received.origin)

    async def _send_list(self, message_id: str, read: FromList, text: str) -> Nack | None:
        """Send a mailing to a list. It takes hours, and takes no place from single messages."""
        if self._lists >= LISTS_MAX:
            return Nack(self._settings.hold_s, "too many lists are being sent")
        self._lists += 1
        self._changed()
        try:
            return await self._take_list(message_id, read, text)
        finally:
            self._lists -= 1

    async def _put_aside(self, received: Received, reason: str) -> Nack | None:
        # Without the reason, which may name an address.
        logger.error("message %s is malformed, and put aside with the reason", received.id)
        if not await self._queue.send_to_dlq(received, reason):
            try:
                await to_thread.run_sync(self._quarantine, received, reason)
            except OSError as error:
                logger.warning("message %s cannot be put aside: %s", received.id, error)
                return Nack(self._settings.hold_s, reason)
        self.malformed += 1
        return None

    # --- acknowledging -----------------------------------------------------------------------

    async def _delete(self, some: Sequence[Ack]) -> list[Received]:
        return await self._queue.delete([received for received, _ in some])

    def _left(self, received: Received) -> None:
        del self.in_hand[received.id]
        self._bytes -= len(received.body)
        self._changed()

    def _changed(self) -> None:
        self._change.beat()


async def _parse_aside(text: str) -> messages.Body:
    return await to_thread.run_sync(messages.parse, text)
