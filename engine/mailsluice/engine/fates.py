"""What becomes of mail after SES has accepted it, for a program: fates as they come, and by id."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime

from anyio import to_thread

from mailsluice.config.settings import FeedbackSettings, SesSettings, SuppressionSettings
from mailsluice.engine.pulse import Pulse
from mailsluice.engine.streams import acts_of, stream_of
from mailsluice.feedback import fate
from mailsluice.feedback.ingest import Heard, Ingest
from mailsluice.feedback.listener import Listener, Stream, Taken
from mailsluice.feedback.store import FeedbackStore
from mailsluice.model.errors import ConfigurationError

WAITING_MAX = 10_000
"""Changes that the program has not taken yet: beyond that no more events are taken in."""

_NO_TABLE = (
    "[feedback]: it is missing: the settings do not say where SES's events come from; give "
    'FeedbackSettings(queue="https://sqs…")'
)


@dataclass(frozen=True, slots=True)
class MailFate:
    """What has become of one mail so far. Times are in UTC."""

    run: str
    """The run's id, as in the tag `mailsluice-id`."""
    row: int
    """The recipient's row in it."""
    message_id: str
    """SES's MessageId, as in a `Receipt`."""
    fate: str
    """`sent`, `delivered`, `bounced`, `complained` and others; the worst that was heard."""
    heard_at: datetime | None
    """When the last event happened; None of a change that has just come in."""


class _Waiting:
    """Changes that the program has not taken yet."""

    def __init__(self, run: str | None) -> None:
        self.fates: deque[MailFate] = deque()
        self.changed = Pulse()
        self._run = run

    def add(self, heard: Heard) -> None:
        """Add what a batch has changed."""
        for change in heard.changes:
            if self._run is None or change.run == self._run:
                word = fate.word(change.bits)
                self.fates.append(MailFate(change.run, change.row, change.message_id, word, None))
        self.changed.beat()

    def take(self) -> MailFate:
        """Take the oldest."""
        taken = self.fates.popleft()
        self.changed.beat()
        return taken


class _Paced:
    """A stream that rests while a program has enough to do."""

    def __init__(self, stream: Stream, waiting: _Waiting) -> None:
        self.name = stream.name
        self.side_by_side = stream.side_by_side
        self.opened = stream.opened
        self._stream = stream
        self._waiting = waiting

    async def step(self, ingest: Ingest, *, waits: bool) -> Taken:
        """See `Stream.step`."""
        while len(self._waiting.fates) >= WAITING_MAX:
            await self._waiting.changed.wait()
        return await self._stream.step(ingest, waits=waits)


class Fates:
    """Reads `feedback.db`, and fills it while a program follows it."""

    def __init__(
        self,
        feedback: FeedbackSettings | None,
        ses: SesSettings,
        suppression: SuppressionSettings | None = None,
    ) -> None:
        self._feedback = feedback
        self._ses = ses
        self._suppression = suppression

    async def of(self, message_id: str) -> MailFate | None:
        """Return what has become of a mail; None if nothing was heard of it, which proves nothing.

        Raises ConfigurationError without a `[feedback]` table, and StoreError.
        """
        settings = self._required()
        return await to_thread.run_sync(_fate_in, settings, message_id)

    async def follow(self, run: str | None = None) -> AsyncGenerator[MailFate, None]:
        """Take events in, and yield what they change, of one run or of all.

        A change is durable before it is yielded, and yielded once: what a program has not done
        about it when it is killed is found by `of`. With `[suppression]`, hard bounces and
        complaints are suppressed before their events are deleted.

        Raises ConfigurationError without a stream, and StoreError.
        """
        settings = self._required()
        stream = stream_of(settings, self._ses)
        if stream is None:
            raise ConfigurationError(
                "[feedback] queue: it is missing, and so is files: there is nothing to follow"
            )
        with ExitStack() as stores:
            store = await to_thread.run_sync(FeedbackStore.open, settings.store)
            stores.callback(store.close)
            acts = await to_thread.run_sync(stores.enter_context, acts_of(self._suppression))
            waiting = _Waiting(run)
            ingest = Ingest(store, acts=acts)
            ingest.tell(waiting.add)
            listener = Listener(_Paced(stream, waiting), ingest)
            # No task group: a generator may be closed in another task than it was begun in.
            task = asyncio.create_task(listener.run())
            task.add_done_callback(lambda _: waiting.changed.beat())
            try:
                while not task.done():
                    while waiting.fates:
                        yield waiting.take()
                    await waiting.changed.wait()
            finally:
                listener.stop()
                await task

    def _required(self) -> FeedbackSettings:
        if self._feedback is None:
            raise ConfigurationError(_NO_TABLE)
        return self._feedback


def _fate_in(settings: FeedbackSettings, message_id: str) -> MailFate | None:
    with closing(FeedbackStore.open(settings.store)) as store:
        found = store.of_message(message_id)
    if found is None:
        return None
    run, row, (bits, _, last_at) = found
    heard_at = None if last_at is None else datetime.fromtimestamp(last_at, UTC)
    return MailFate(run, row, message_id, fate.word(bits), heard_at)
