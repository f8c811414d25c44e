"""The worker: takes in mailings and messages, sends them side by side, obeys operators."""

from __future__ import annotations

import logging
import secrets
import time
from pathlib import Path

import anyio
import orjson
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from mailsluice import config
from mailsluice.config import Settings, WorkerSettings
from mailsluice.engine import Engine
from mailsluice.errors import ConfigurationError, JournalError, JournalLockedError, SourceError
from mailsluice.mailing import Mailing
from mailsluice.pacing import PacerStatistics
from mailsluice.quota import AccountHeldError
from mailsluice.sending import OnEvent
from mailsluice.sources import files
from mailsluice.worker import body
from mailsluice.worker.body import FromList
from mailsluice.worker.consumer import Consumer, Sooner
from mailsluice.worker.folder import JOURNAL, MESSAGE, Folder, mailing_file
from mailsluice.worker.job import ENDED, Job, JobState
from mailsluice.worker.queue import Queue
from mailsluice.worker.segments import OpenJournal, Segments

logger = logging.getLogger(__name__)

ENDED_MAX = 100
"""Mailings that have ended and are still shown."""

ENDING_S = 4.0
"""Of `messages.drain_s`, kept to record doubts and to give the queue its messages back."""


class Worker:
    """`await Worker(settings, open_journal).run()` until `stop` is called.

    `settings` are a worker's file; `settings.folder.path` is absolute by then. Journals, claims
    and quota are reached through `open_journal`, `Folder` and the engine: nothing here assumes that
    there is no other worker.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        open_journal: OpenJournal,
        *,
        on_event: OnEvent | None = None,
    ) -> None:
        self.id = secrets.token_hex(4)
        """Another one with every start."""
        self.settings = settings
        self.jobs: dict[str, Job] = {}
        """By name, in the order in which they were claimed."""
        self.ready = False
        """Whether it takes in anything."""
        self.paused = False
        """Whether nothing at all is started."""
        self.consumer: Consumer | None = None
        """Of the queue, where there is one."""
        self.segments: Segments | None = None
        self.engine: Engine | None = None
        """The one on whose account all others send."""
        self._open_journal = open_journal
        self._on_event = on_event
        self._folder = Folder(settings.folder.path)
        self._room = anyio.CapacityLimiter(settings.folder.at_once)
        self._putting = anyio.Lock()
        self._stopping = anyio.Event()
        self._beginning = anyio.CancelScope()
        """Until the account and the queue have been reached."""
        self._tasks: TaskGroup

    async def run(self) -> None:
        """Take in and send.

        Raises ConfigurationError where it cannot begin, JournalError where messages can no longer
        be recorded, or are another process's.
        """
        await to_thread.run_sync(self._folder.prepare)
        drain_s = max(0.0, self.settings.messages.drain_s - ENDING_S)
        brief = self.settings.messages.model_copy(update={"drain_s": drain_s})
        settings = self.settings.model_copy(update={"messages": brief})
        async with (
            Engine.open(settings, on_event=self._on_event) as self.engine,
            anyio.create_task_group() as self._tasks,
        ):
            self._tasks.start_soon(self._take_in, self.engine)
            await self._stopping.wait()
            await self._wind_up(drain_s)

    def stop(self) -> None:
        """Take in nothing more; `run` returns when the calls in flight have been settled."""
        self.ready = False
        self._stopping.set()

    def apply(self, settings: WorkerSettings) -> list[str]:
        """Go on by these settings, as far as a running worker can; what waits for a restart."""
        before, self.settings = self.settings, settings
        if self.engine is not None:
            self.engine.change(settings.quota, settings.lanes)
        self._room.total_tokens = settings.folder.at_once
        waits = []
        for table in WorkerSettings.model_fields:
            was, is_ = getattr(before, table), getattr(settings, table)
            if was == is_ or table in {"quota", "lanes", "log"}:
                continue
            names = type(was or is_).model_fields
            changed = [
                each for each in names if getattr(was, each, None) != getattr(is_, each, None)
            ]
            waits += [f"{table}.{name}" for name in changed if f"{table}.{name}" not in _AT_ONCE]
        return waits

    @property
    def pace(self) -> PacerStatistics | None:
        """At this moment; None where nothing can be sent."""
        return None if self.engine is None else self.engine.pacer_statistics()

    # --- by an operator ----------------------------------------------------------------------

    def pause(self, name: str | None = None) -> None:
        """Start no more calls of it, or of anything. Raises LookupError where it is not sent."""
        if name is None:
            self.paused = True
            self._obey_pauses()
            return
        job = self._sending(name)
        job.paused = True
        self._obey_pauses()
        self._note(job, JobState.PAUSED)

    def resume(self, name: str | None = None) -> None:
        """Go on with what is paused, or held. Raises LookupError where it is neither."""
        if name is None:
            self.paused = False
            self._obey_pauses()
            return
        if self.jobs[name].state is JobState.HELD:
            self.jobs[name].changed.set()
            return
        job = self._sending(name)
        job.paused = False
        self._obey_pauses()
        self._note(job, JobState.SENDING)

    def cancel(self, name: str) -> None:
        """Send no more of it, for good. Raises LookupError where it has ended already."""
        job = self.jobs[name]
        if job.state in ENDED:
            raise LookupError(name)
        job.cancelled = True
        job.wind_up()

    def _sending(self, name: str) -> Job:
        job = self.jobs[name]
        if job.state not in {JobState.SENDING, JobState.PAUSED}:
            raise LookupError(name)
        return job

    def _obey_pauses(self) -> None:
        if self.segments is not None:
            self.segments.pause(paused=self.paused)
        for job in self.jobs.values():
            if job.engine is not None:
                (job.engine.pause if self.paused or job.paused else job.engine.resume)()

    # --- beginning and end -------------------------------------------------------------------

    async def _take_in(self, engine: Engine) -> None:
        with self._beginning:
            await self._tasks.start(self._attend, engine)
            if self.settings.queue is not None:
                await self._tasks.start(self._consume, engine)
            self.ready = not self._stopping.is_set()
        while not self._stopping.is_set():
            await self._look()
            with anyio.move_on_after(self.settings.folder.poll_s):
                await self._stopping.wait()

    async def _attend(self, engine: Engine, *, task_status: TaskStatus[None]) -> None:
        """Keep the pace and the day between two mailings; nothing can begin without credentials."""
        try:
            async with engine.attended():
                task_status.started()
                await self._stopping.wait()
        except AccountHeldError as error:
            logger.warning("nothing can be sent yet: %s", error)
            task_status.started()

    async def _wind_up(self, drain_s: float) -> None:
        self._tasks.cancel_scope.deadline = anyio.current_time() + drain_s
        self._beginning.cancel()
        for job in self.jobs.values():
            job.wind_up()
        if self.consumer is not None:
            self.consumer.stop()
        if self.segments is not None:
            await self.segments.release()

    # --- the queue ---------------------------------------------------------------------------

    async def _consume(self, engine: Engine, *, task_status: TaskStatus[None]) -> None:
        settings, ses = self.settings.queue, self.settings.ses
        assert settings is not None
        async with (
            Queue(settings, region=ses.region, profile=ses.profile) as queue,
            anyio.create_task_group() as tasks,
        ):
            self.segments = Segments(
                self._folder.messages,
                engine,
                self._open_journal,
                retention_s=queue.retention_s,
                wall=time.time,
                in_doubt=self.settings.delivery.in_doubt,
            )
            try:
                await self.segments.open(tasks)
            except JournalLockedError as error:
                raise JournalLockedError(
                    f"{self._folder.messages}: another worker is at it; each needs a [folder] path "
                    "of its own"
                ) from error
            self.segments.pause(paused=self.paused)
            self.consumer = Consumer(
                settings,
                queue,
                self.segments,
                take_list=self._take_list,
                quarantine=self._folder.quarantine,
            )
            task_status.started()
            await self.consumer.run()
            self.segments.close()

    async def _take_list(self, message_id: str, read: FromList, text: str) -> Sooner | None:
        """A mailing from the queue, as if it had been dropped."""
        name = read.key or message_id
        try:
            async with self._putting:
                path = await to_thread.run_sync(self._folder.put_to_work, name, text)
        except OSError as error:
            logger.warning("%s cannot be begun: %s", name, error)
            return self.settings.folder.hold_s
        if path is None:
            return None  # it has ended already
        job = self._begin(path)
        await job.left.wait()
        return None if job.state in ENDED else 0.0

    # --- the folder --------------------------------------------------------------------------

    async def _look(self) -> None:
        try:
            await to_thread.run_sync(self._folder.claim)
            claimed = await to_thread.run_sync(self._folder.claimed)
        except OSError as error:
            logger.warning("%s: %s; looking again", self._folder.path, error.strerror)
            return
        for path in claimed:
            self._begin(path)
        ended = [name for name, job in self.jobs.items() if job.state in ENDED]
        for name in ended[:-ENDED_MAX]:
            del self.jobs[name]

    def _begin(self, path: Path) -> Job:
        job = self.jobs.get(path.name)
        if job is None or job.state in ENDED:
            job = self.jobs[path.name] = Job(path.name, path)
            self._tasks.start_soon(self._work, job)
        return job

    async def _work(self, job: Job) -> None:
        """One mailing from its claim to its end, or to the worker's."""
        try:
            while await self._once(job):
                with anyio.move_on_after(self.settings.folder.hold_s):
                    await job.changed.wait()
                job.changed = anyio.Event()
        except JournalLockedError:
            del self.jobs[job.name]  # another worker has it
        except (ConfigurationError, SourceError, JournalError) as error:
            await self._end(job, JobState.FAILED, str(error))
        finally:
            job.left.set()

    async def _once(self, job: Job) -> bool:
        """One attempt at the whole mailing; whether there is to be another."""
        async with self._room:
            if not (self._stopping.is_set() or job.cancelled):
                await self._send(job)
        if job.cancelled:
            await self._end(job, JobState.CANCELLED, "cancelled by an operator")
        elif self._stopping.is_set():
            self._note(job, JobState.STOPPED)
        elif job.report is not None and job.report.state == "finished":
            await self._end(job, JobState.FINISHED, None)
        else:
            self._note(job, JobState.HELD, job.report.hold if job.report else None)
            return True
        return False

    async def _send(self, job: Job) -> None:
        mailing, settings = await to_thread.run_sync(_mailing_of, job.path)
        list_ = settings.recipients.path
        if list_ is None or list_ == "-":
            raise ConfigurationError(f"{job.name}: [recipients] path must name the list beside it")
        ses = self.settings.ses
        source = files.open_source(
            list_ if files.is_elsewhere(list_) else job.path / list_,
            settings.recipients.fields(),
            region=ses.region,
            profile=ses.profile,
        )
        journal = await to_thread.run_sync(self._open_journal, job.path / JOURNAL)
        try:
            assert self.engine is not None
            job.engine = self.engine.beside(
                journal=journal, delivery=settings.delivery, recipients=settings.recipients
            )
            self._obey_pauses()
            self._note(job, JobState.PAUSED if job.paused else JobState.SENDING)
            if job.cancelled or self._stopping.is_set():
                job.engine.stop()
            job.report = await job.engine.run(mailing, source)
        finally:
            job.engine = None
            await to_thread.run_sync(journal.close)

    async def _end(self, job: Job, state: JobState, why: str | None) -> None:
        report = {
            "state": state.value,
            "why": why,
            "report": job.report.as_dict() if job.report else None,
        }
        text = orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        done = state is JobState.FINISHED
        try:
            job.path = await to_thread.run_sync(
                lambda: self._folder.put_away(job.path, text, done=done)
            )
        except OSError as error:
            # It stays in working/: the next look finds it finished, and tries to put it away again.
            why = f"{why or state}; it cannot be put away: {error.strerror}"
            logger.warning("%s: %s", job.name, why)
        self._note(job, state, why)

    def _note(self, job: Job, state: JobState, why: str | None = None) -> None:
        job.state, job.why = state, why
        logger.info("%s: %s%s", job.name, state, f": {why}" if why else "")


_AT_ONCE = {"folder.at_once", "folder.hold_s", "folder.poll_s"}
"""Besides the tables `quota`, `lanes` and `log`, what a running worker goes by at once."""


def _mailing_of(path: Path) -> tuple[Mailing, Settings]:
    message = path / MESSAGE
    if not message.exists():
        return config.load(mailing_file(path))
    read = body.parse(message.read_bytes())
    assert isinstance(read, FromList), "only such are put to work"
    return read.mailing, body.settings_of(read)
