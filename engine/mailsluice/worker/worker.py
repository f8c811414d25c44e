"""The worker: takes in mailings and messages, sends them side by side, obeys operators."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from mailsluice.config.worker import WorkerSettings
from mailsluice.dispatch.pacer import PacerStatistics
from mailsluice.engine.account import AccountHeldError, AccountRefusedError
from mailsluice.engine.engine import Engine
from mailsluice.engine.sending import OnEvent
from mailsluice.engine.streams import acts_of
from mailsluice.feedback.store import FeedbackStore
from mailsluice.model.errors import JournalLockedError
from mailsluice.model.shown import shown
from mailsluice.ses.aws.sqs import Queue, UnreachableError, back_off_s
from mailsluice.worker.feedback import Feedback
from mailsluice.worker.mailings.inbox import Folder, Mark
from mailsluice.worker.mailings.jobs import Mailings
from mailsluice.worker.queue.consumer import Consumer
from mailsluice.worker.queue.journals import OpenJournal, Segments

logger = logging.getLogger(__name__)

ENDING_S = 4.0
"""Time kept of `messages.drain_s`, half of it at most, to record doubts and return messages."""

LOOK_S = 0.5
"""Interval between two checks for a held account: a shorter hold is not logged, seconds."""


class Worker:
    """`await Worker(settings, open_journal).run()` until `stop` is called.

    `settings` are a worker's file; `settings.folder.path` is absolute by then. Journals, claims
    and quota are reached through `open_journal`, `Folder` and the engine, so other workers may run
    beside this one.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        open_journal: OpenJournal,
        *,
        on_event: OnEvent | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.id = secrets.token_hex(4)
        """A new id with every start."""
        self.settings = settings
        """The settings in force."""
        self.has_begun = False
        """True after the worker has been ready once."""
        self._takes_in = False
        self._unreached: str | None = None
        """Why the worker cannot begin yet; None if it can."""
        self.consumer: Consumer | None = None
        """The queue's consumer, if there is a queue."""
        self.segments: Segments | None = None
        self.feedback: Feedback | None = None
        """SES's events, if the settings have a `[feedback]` table."""
        self.engine: Engine | None = None
        """The engine whose account all others share."""
        self._open_journal = open_journal
        self._on_event = on_event
        self._on_ready = on_ready
        """Called once, before the worker takes anything in."""
        self._folder = Folder(settings.folder.path)
        self.mailings = Mailings(self._folder, settings.folder, settings.ses, open_journal)
        self._stopping = anyio.Event()
        self._beginning = anyio.CancelScope()
        """Scope of the wait for the account and the queue."""
        self._tasks: TaskGroup

    def __repr__(self) -> str:
        hold = self.hold
        state = f"held: {hold}" if hold else "ready" if self.ready else "not ready"
        parts = self.mailings, self.consumer, self.engine
        return shown(self, self.id, state, *(repr(part) for part in parts if part is not None))

    async def run(self) -> None:
        """Take in mailings and messages, and send them.

        Raises ConfigurationError or StoreError if it cannot begin, JournalError if messages can no
        longer be recorded, or if another process records them.
        """
        await to_thread.run_sync(self._folder.prepare)
        self._pause_all(paused=Mark.PAUSED in self._folder.marks(self._folder.path))
        # The worker itself waits for what is in flight.
        patient = self.settings.messages.model_copy(update={"drain_s": 0.0})
        settings = self.settings.model_copy(update={"messages": patient})
        async with (
            self._listening(),
            Engine.open(settings, on_event=self._on_event) as self.engine,
            anyio.create_task_group() as self._tasks,
        ):
            if self.feedback is not None:
                self._tasks.start_soon(self.feedback.run)
            self._tasks.start_soon(self._take_in, self.engine)
            await self._stopping.wait()
            await self._wind_up()

    @property
    def ready(self) -> bool:
        """Return True if the worker takes in work and can send it."""
        return self._takes_in and self.hold is None

    @property
    def hold(self) -> str | None:
        """Return why nothing can be sent or taken in at present."""
        consumer = self.consumer
        return (
            self._unreached
            or self.account_hold
            or (consumer.unreachable if consumer is not None else None)
        )

    @property
    def account_hold(self) -> str | None:
        """Return why the account or the credentials let nothing be sent at present."""
        held = self.consumer.recipients.hold if self.consumer is not None else None
        if held is None and self.engine is not None and self.engine.account_hold is not None:
            return str(self.engine.account_hold)
        return held

    def stop(self) -> None:
        """Take in nothing more. `run` returns when the calls in flight are settled."""
        self._takes_in = False
        self._stopping.set()

    def apply(self, settings: WorkerSettings) -> list[str]:
        """Apply new settings. Return the keys that need a restart."""
        now = self.settings
        at_once = settings.folder.model_dump(include={"at_once", "hold_s", "poll_s"})
        folder = now.folder.model_copy(update=at_once)
        tables = {"quota": settings.quota, "lanes": settings.lanes, "log": settings.log}
        self.settings = now.model_copy(update={**tables, "folder": folder})
        if self.engine is not None:
            self.engine.change(settings.quota, settings.lanes)
        self.mailings.apply(folder)
        return _differences(self.settings, settings)

    @property
    def pace(self) -> PacerStatistics | None:
        """Return the pace at this moment; None if nothing can be sent."""
        return None if self.engine is None else self.engine.pacer_statistics()

    @property
    def allowed_per_s(self) -> float:
        """Return the rate allowed at this moment, recipients per second."""
        pace, engine = self.pace, self.engine
        return 0.0 if pace is None or engine is None or engine.account_hold else pace.allowed_per_s

    @property
    def paused(self) -> bool:
        """True if an operator has paused the whole worker."""
        return self.mailings.paused

    async def pause(self, *, paused: bool) -> None:
        """Pause or resume the whole worker; a pause outlives the process.

        Raises LookupError if it is paused or running already.
        """
        if paused == self.paused:
            raise LookupError
        tell = self._folder.mark if paused else self._folder.unmark
        await to_thread.run_sync(tell, self._folder.path, Mark.PAUSED)
        self._pause_all(paused=paused)

    def _pause_all(self, *, paused: bool) -> None:
        self.mailings.pause_all(paused=paused)
        if self.segments is not None:
            self.segments.pause(paused=paused)

    # --- beginning and end -------------------------------------------------------------------

    async def _take_in(self, engine: Engine) -> None:
        self.mailings.open(engine, self._tasks)
        with self._beginning:
            await self._tasks.start(self._attend, engine)
            if self.settings.queue is not None:
                await self._tasks.start(self._consume, engine)
            if self._on_ready is not None:
                self._on_ready()
            self._takes_in = self.has_begun = not self._stopping.is_set()
            self._tasks.start_soon(self._tell_of_holds)
        await self.mailings.run()

    async def _attend(self, engine: Engine, *, task_status: TaskStatus[None]) -> None:
        """Keep pace and daily quota between mailings; begin once the account can be read."""
        while True:
            try:
                async with engine.attended():
                    if self._unreached is not None:
                        logger.info("the account can be sent through now")
                    self._unreached = None
                    task_status.started()
                    await self._stopping.wait()
                    return
            except AccountRefusedError as error:
                if self._unreached is None:
                    raise  # failed at the start: give up
                self._unreached = str(error)
            except AccountHeldError as error:
                if self._unreached is None:
                    logger.warning("nothing can be sent yet: %s", error)
                self._unreached = str(error)
            await anyio.sleep(self.settings.folder.hold_s)

    async def _tell_of_holds(self) -> None:
        """Log once that the account is held, and once that it sends again."""
        told: str | None = None
        while not self._stopping.is_set():
            hold = self.account_hold
            if hold is not None and told is None:
                logger.warning("nothing is sent: %s; trying again", hold)
            elif hold is None and told is not None:
                logger.info("sending goes on")
            told = hold
            with anyio.move_on_after(LOOK_S):
                await self._stopping.wait()

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Open the store of SES's events, if there is one."""
        settings = self.settings
        if settings.feedback is None:
            yield
            return
        store = await to_thread.run_sync(FeedbackStore.open, settings.feedback.store)
        with closing(store), acts_of(settings.suppression) as acts:
            self.feedback = Feedback(store, settings.feedback, settings.ses, acts)
            yield

    async def _wind_up(self) -> None:
        drain_s = self.settings.messages.drain_s
        ends = anyio.current_time() + drain_s - min(ENDING_S, drain_s / 2)
        self._tasks.cancel_scope.deadline = ends
        self._beginning.cancel()
        self.mailings.stop()
        if self.feedback is not None:
            self.feedback.stop()
        if self.consumer is not None:
            self.consumer.stop()
        if self.segments is not None:
            await self.segments.release()

    # --- the queue ---------------------------------------------------------------------------

    async def _consume(self, engine: Engine, *, task_status: TaskStatus[None]) -> None:
        settings, ses = self.settings.queue, self.settings.ses
        assert settings is not None
        async with (
            Queue(
                settings.url,
                visibility_s=settings.visibility_s,
                wait_s=settings.wait_s,
                region=ses.region,
                profile=ses.profile,
            ) as queue,
            anyio.create_task_group() as tasks,
        ):
            await self._reach(queue)
            self.segments = Segments(
                self._folder.messages,
                engine,
                self._open_journal,
                retention_s=queue.retention_s,
                monotonic=time.monotonic,
                in_doubt=self.settings.delivery.in_doubt,
            )
            self.segments.pause(paused=self.paused)
            try:
                await self.segments.open(tasks)
            except JournalLockedError as error:
                raise JournalLockedError(
                    f"{self._folder.messages}: another worker is at it; each needs a [folder] path "
                    "of its own"
                ) from error
            self.consumer = Consumer(
                settings,
                queue,
                self.segments,
                take_list=self.mailings.take_list,
                quarantine=self._folder.quarantine,
            )
            task_status.started()
            await self.consumer.run()
            self.segments.close()

    async def _reach(self, queue: Queue) -> None:
        """Wait until the queue has answered. Raises ConfigurationError."""
        failures = 0
        while True:
            try:
                await queue.look()
            except UnreachableError as error:
                if not failures:
                    logger.warning("the queue cannot be reached: %s; trying again", error)
                self._unreached = f"the queue cannot be reached: {error}"
                await anyio.sleep(back_off_s(failures))
                failures += 1
            else:
                if failures:
                    logger.info("the queue is reached now")
                self._unreached = None
                return


def _differences(in_force: WorkerSettings, wanted: WorkerSettings) -> list[str]:
    """Return the keys, such as `folder.path`, in which two settings differ."""
    found = []
    for table in WorkerSettings.model_fields:
        was, is_ = getattr(in_force, table), getattr(wanted, table)
        if was != is_:
            names = type(was or is_).model_fields
            found += [
                f"{table}.{name}"
                for name in names
                if getattr(was, name, None) != getattr(is_, name, None)
            ]
    return found
