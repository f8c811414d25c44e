"""The worker: claims mailings, sends them side by side, and can be watched, paused and stopped."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import orjson
from anyio import to_thread
from anyio.abc import TaskGroup

from mailsluice import config
from mailsluice.config import Settings, WorkerSettings
from mailsluice.current import Statistics
from mailsluice.engine import Engine
from mailsluice.errors import ConfigurationError, JournalError, JournalLockedError, SourceError
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.mailing import Mailing
from mailsluice.report import Report
from mailsluice.sources import files
from mailsluice.worker.folder import JOURNAL, Folder, mailing_file

logger = logging.getLogger(__name__)


class JobState(enum.StrEnum):
    """Where a mailing stands."""

    WAITING = "waiting"
    """Claimed; as many as may be are being sent."""
    SENDING = "sending"
    PAUSED = "paused"
    HELD = "held"
    """It stopped for a cause outside the recipients, and is tried again after `folder.hold_s`."""
    FINISHED = "finished"
    FAILED = "failed"
    """It cannot be sent as it is."""
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """The worker stops; the next one carries on."""


ENDED = {JobState.FINISHED, JobState.FAILED, JobState.CANCELLED}

ENDED_MAX = 100
"""Mailings that have ended and are still shown."""


@dataclass(slots=True)
class Job:
    """One mailing in the worker's hands."""

    name: str
    path: Path
    state: JobState = JobState.WAITING
    why: str | None = None
    """Of a hold or a failure."""
    report: Report | None = None
    """Of its last run here."""
    engine: Engine | None = None
    cancelled: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set when it is to be tried again before its time, or given up."""

    @property
    def statistics(self) -> Statistics | None:
        """The present moment of its run; None where it is not running."""
        return self.engine.statistics() if self.engine else None


class Worker:
    """`await Worker(settings, folder).run()` until `stop` is called.

    `settings` are a worker's file; `settings.folder.path` is absolute by then.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.jobs: dict[str, Job] = {}
        """By name, in the order in which they were claimed."""
        self.ready = False
        """Whether it takes in mailings."""
        self.changed: Callable[[], None] = lambda: None
        """Called whenever a job has changed."""
        self._folder = Folder(settings.folder.path)
        self._room = anyio.Semaphore(settings.folder.at_once)
        self._stopping = anyio.Event()

    async def run(self) -> None:
        """Take in and send. Raises ConfigurationError where it cannot begin."""
        await to_thread.run_sync(self._folder.prepare)
        async with Engine.open(self.settings) as base, anyio.create_task_group() as tasks:
            self.ready = True
            while not self._stopping.is_set():
                await self._look(base, tasks)
                with anyio.move_on_after(self.settings.folder.poll_s):
                    await self._stopping.wait()
            self.ready = False
            for job in self.jobs.values():
                self._wind_up(job)

    def stop(self) -> None:
        """Take in nothing more; `run` returns when the calls in flight have been settled."""
        self.ready = False
        self._stopping.set()

    # --- one mailing -------------------------------------------------------------------------

    def pause(self, name: str) -> None:
        """Start no more calls of it. Raises LookupError where it is not being sent."""
        job = self._sending(name)
        assert job.engine is not None
        job.engine.pause()
        self._note(job, JobState.PAUSED)

    def resume(self, name: str) -> None:
        """Go on with what is paused, or held. Raises LookupError where it is neither."""
        job = self.jobs[name]
        if job.state is JobState.HELD:
            job.changed.set()
            return
        job = self._sending(name)
        assert job.engine is not None
        job.engine.resume()
        self._note(job, JobState.SENDING)

    def cancel(self, name: str) -> None:
        """Send no more of it, for good. Raises LookupError where it has ended already."""
        job = self.jobs[name]
        if job.state in ENDED:
            raise LookupError(name)
        job.cancelled = True
        self._wind_up(job)

    def _sending(self, name: str) -> Job:
        job = self.jobs[name]
        if job.state not in {JobState.SENDING, JobState.PAUSED}:
            raise LookupError(name)
        return job

    def _wind_up(self, job: Job) -> None:
        if job.engine is not None:
            job.engine.stop()
        job.changed.set()

    # --- the folder --------------------------------------------------------------------------

    async def _look(self, base: Engine, tasks: TaskGroup) -> None:
        try:
            await to_thread.run_sync(self._folder.claim)
            claimed = await to_thread.run_sync(self._folder.claimed)
        except OSError as error:
            logger.warning("%s: %s; looking again", self._folder.path, error.strerror)
            return
        for path in claimed:
            job = self.jobs.get(path.name)
            if job is None or job.state in ENDED:
                job = self.jobs[path.name] = Job(path.name, path)
                tasks.start_soon(self._work, base, job)
        ended = [name for name, job in self.jobs.items() if job.state in ENDED]
        for name in ended[:-ENDED_MAX]:
            del self.jobs[name]

    async def _work(self, base: Engine, job: Job) -> None:
        """One mailing from its claim to its end, or to the worker's."""
        try:
            while await self._once(base, job):
                with anyio.move_on_after(self.settings.folder.hold_s):
                    await job.changed.wait()
                job.changed = anyio.Event()
        except JournalLockedError:
            del self.jobs[job.name]  # another worker has it
        except (ConfigurationError, SourceError, JournalError) as error:
            await self._end(job, JobState.FAILED, str(error))

    async def _once(self, base: Engine, job: Job) -> bool:
        """One attempt at the whole mailing; whether there is to be another."""
        async with self._room:
            if not (self._stopping.is_set() or job.cancelled):
                await self._send(base, job)
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

    async def _send(self, base: Engine, job: Job) -> None:
        mailing, settings = await to_thread.run_sync(_mailing_of, job.path)
        list_ = settings.recipients.path
        if list_ is None or list_ == "-":
            raise ConfigurationError(f"{job.name}: [recipients] path must name the list beside it")
        source = files.open_source(job.path / list_, settings.recipients.fields())
        journal = await to_thread.run_sync(SqliteJournal.open, job.path / JOURNAL)
        try:
            job.engine = base.beside(
                journal=journal, delivery=settings.delivery, recipients=settings.recipients
            )
            self._note(job, JobState.SENDING)
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
        self.changed()


def _mailing_of(path: Path) -> tuple[Mailing, Settings]:
    return config.load(mailing_file(path))
