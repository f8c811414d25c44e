"""Sends the recipients of messages once each, across holds of the account."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import anyio

from mailsluice.config.worker import QueueSettings
from mailsluice.engine.pulse import Pulse
from mailsluice.mailing.message import Failed, Held, InDoubt, Rejected
from mailsluice.model import LANE_SHARES, State
from mailsluice.model.codes import CLOSED, QUOTA_TOO_SMALL, REFUSED
from mailsluice.model.errors import ConfigurationError, EngineError, JournalError
from mailsluice.ses.statuses import holds_mailing
from mailsluice.worker.queue import messages
from mailsluice.worker.queue.acks import AT_THE_END, Nack
from mailsluice.worker.queue.journals import Segments
from mailsluice.worker.queue.messages import Many, One, Part

logger = logging.getLogger(__name__)

COUNTED = (
    State.SENT,
    State.REFUSED,
    State.REJECTED,
    State.FAILED,
    State.IN_DOUBT,
    State.DUPLICATE,
)
"""Outcomes of a message's recipient; duplicate: its key is known."""


class _AccountHeldError(Exception):
    """The account is held: no message can be sent at present."""


class MessageSender:
    """Sends by `segments` until `stop`; `went_on` is called when a hold has ended."""

    def __init__(
        self, settings: QueueSettings, segments: Segments, went_on: Callable[[], None]
    ) -> None:
        self.counts: Counter[State] = Counter()
        """Recipients by outcome in this process; the keys are `COUNTED`."""
        self.hold: str | None = None
        """Why nothing can be sent at present: a cause outside the messages."""
        self._settings = settings
        self._segments = segments
        self._went_on = went_on
        self._change = Pulse()
        """Set when the hold has ended, or `stop` is called."""
        self._stopping = anyio.Event()
        self._keys: dict[str, anyio.Event] = {}
        """Keys that are being sent."""
        self._slots = {lane: anyio.Semaphore(settings.in_hand) for lane in LANE_SHARES}
        """Limits how many recipients of messages to many are sent at once."""

    def stop(self) -> None:
        """Start no more attempts."""
        self._stopping.set()
        self._changed()

    async def send(self, read: One | Many, message_id: str) -> Nack | None:
        """Send all recipients of a message."""
        if isinstance(read, One):
            return await self._send_once(next(messages.parts(read, message_id)))
        unsent: list[Nack] = []
        failures: list[Exception] = []

        async def send(part: Part) -> None:
            try:
                if (given_back := await self._send_once(part)) is not None:
                    unsent.append(given_back)
            except Exception as error:  # noqa: BLE001  # the others under way get their outcomes
                failures.append(error)
            finally:
                self._slots[part.lane].release()

        async with anyio.create_task_group() as tasks:
            for part in messages.parts(read, message_id):
                await self._slots[part.lane].acquire()
                tasks.start_soon(send, part)
        if failures:
            ends = (each for each in failures if isinstance(each, JournalError | EngineError))
            raise next(ends, failures[0])
        return max(unsent, default=None)

    async def _send_once(self, part: Part) -> Nack | None:
        """Send one recipient unless its key is known; one at a time per key."""
        key = part.message.key or ""
        while (other := self._keys.get(key)) is not None:
            await other.wait()
        self._keys[key] = ended = anyio.Event()
        try:
            if self._segments.knows(key):
                self.counts[State.DUPLICATE] += 1
                return None
            return await self._send_until_ended(part)
        finally:
            del self._keys[key]
            ended.set()

    async def _send_until_ended(self, part: Part) -> Nack | None:
        """Send one recipient until it has an outcome, across holds of the account."""
        while not self._stopping.is_set():
            if self.hold is not None:
                await self._change.wait()
                continue
            try:
                return await self._attempt(part)
            except _AccountHeldError as held:
                if self.hold is None:
                    return await self._try_for_all(part, str(held))
        return AT_THE_END

    async def _try_for_all(self, part: Part, why: str) -> Nack | None:
        """Let one recipient at a time try while the account is held: each attempt is a journal row.

        Messages in hand are kept meanwhile: returned, they would use up their receives.
        """
        self.hold = why
        try:
            while True:
                with anyio.move_on_after(self._settings.hold_s):
                    await self._stopping.wait()
                    return AT_THE_END
                try:
                    return await self._attempt(part)
                except _AccountHeldError as held:
                    self.hold = str(held)
        finally:
            self._go_on()

    async def _attempt(self, part: Part) -> Nack | None:
        """Send one recipient, and count its outcome. Raises _AccountHeldError."""
        try:
            await self._segments.send(*part)
            self.counts[State.SENT] += 1
            self._go_on()
        except Held as held:
            if held.status == CLOSED:
                return AT_THE_END
            # A message to fewer addresses may have room in the day.
            if not holds_mailing(held.status) and held.status != QUOTA_TOO_SMALL:
                raise _AccountHeldError(str(held)) from None
            logger.warning("a message is held: %s", held)
            return Nack(self._settings.hold_s, str(held))
        except ConfigurationError as error:  # credentials that are gone
            raise _AccountHeldError(str(error)) from None
        except InDoubt:
            self.counts[State.IN_DOUBT] += 1
        except Rejected as rejected:
            refused = rejected.status == REFUSED
            self.counts[State.REFUSED if refused else State.REJECTED] += 1
        except Failed:
            self.counts[State.FAILED] += 1
        return None

    def _go_on(self) -> None:
        if self.hold is not None:
            self.hold = None
            self._changed()
            self._went_on()

    def _changed(self) -> None:
        self._change.beat()
