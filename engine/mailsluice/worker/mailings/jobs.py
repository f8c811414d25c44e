"""The mailings of a worker, from the folder or the queue, to their end."""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from mailsluice.checking.preview import Preview
from mailsluice.checking.previewing import choosing
from mailsluice.config.settings import SesSettings
from mailsluice.config.worker import FolderSettings
from mailsluice.engine.account import AccountRefusedError
from mailsluice.engine.engine import Engine
from mailsluice.model import Counts
from mailsluice.model.codes import SOURCE_BROKEN
from mailsluice.model.errors import (
    CheckFailedError,
    ConfigurationError,
    JournalError,
    JournalLockedError,
    SourceError,
    SourceUnavailableError,
)
from mailsluice.model.hold import Hold
from mailsluice.model.shown import numbered, shown
from mailsluice.worker.mailings import contents
from mailsluice.worker.mailings.inbox import Folder, Mark
from mailsluice.worker.mailings.job import ENDED, Job, JobState
from mailsluice.worker.queue.acks import AT_THE_END, Nack
from mailsluice.worker.queue.journals import OpenJournal
from mailsluice.worker.queue.messages import BodyError, FromList

logger = logging.getLogger(__name__)

ENDED_MAX = 100
"""Number of ended mailings that are still shown."""

_HOLDS = (AccountRefusedError, CheckFailedError, SourceUnavailableError, JournalError)
"""Errors whose cause is outside the mailing, or can be removed: it is tried again."""

_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


_LEVELS = {JobState.FAILED: logging.ERROR, JobState.HELD: logging.WARNING}
"""Log levels: what an operator must correct, and what is tried again (docs/worker.md)."""


def _is_shortage(error: BaseException | None) -> bool:
    """Return True if this machine ran out of memory or descriptors."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            return True
        error = error.__cause__
    return False


class _ElsewhereError(Exception):
    """The mailing has gone: another worker or an operator has moved it."""


class Mailings:
    """Claims mailings, and sends them side by side on one engine's account.

    An operator's order is durable before it is confirmed.
    """

    def __init__(
        self, folder: Folder, settings: FolderSettings, ses: SesSettings, open_journal: OpenJournal
    ) -> None:
        self.jobs: dict[str, Job] = {}
        """Mailings by name, in the order of their claims."""
        self.paused = False
        """True while no mailing starts a call."""
        self._folder = folder
        self._settings = settings
        self._ses = ses
        self._open_journal = open_journal
        self._room = anyio.CapacityLimiter(settings.at_once)
        self._putting = anyio.Lock()
        self._stopping = anyio.Event()
        self._engine: Engine
        self._tasks: TaskGroup

    def __repr__(self) -> str:
        states = Counter(job.state.value for job in self.jobs.values())
        paused = "paused" if self.paused else ""
        return shown(self, paused, *(numbered(number, state) for state, number in states.items()))

    async def run(self) -> None:
        """Poll the folder until stopped."""
        while not self._stopping.is_set():
            await self._look()
            with anyio.move_on_after(self._settings.poll_s):
                await self._stopping.wait()

    def open(self, engine: Engine, tasks: TaskGroup) -> None:
        """Start to send mailings beside `engine`, in tasks of that group."""
        self._engine = engine
        self._tasks = tasks

    def stop(self) -> None:
        """Start no more calls. Mailings that have not ended stay where they are."""
        self._stopping.set()
        for job in self.jobs.values():
            job.wind_up()

    def apply(self, settings: FolderSettings) -> None:
        """Apply new settings."""
        self._settings = settings
        self._room.total_tokens = settings.at_once

    # --- by an operator ----------------------------------------------------------------------

    def pause_all(self, *, paused: bool) -> None:
        """Pause or resume all mailings. While paused, no new call starts."""
        self.paused = paused
        for job in self.jobs.values():
            if job.engine is not None:
                (job.engine.pause if paused else job.engine.resume)()

    async def pause(self, name: str) -> None:
        """Start no more calls of one mailing. Raises LookupError if it has ended or is paused."""
        job = self._open_job(name)
        async with job.marking:
            if job.paused:
                raise LookupError(name)
            await to_thread.run_sync(self._folder.mark, job.path, Mark.PAUSED)
            job.paused = True
        self._note(job, JobState.PAUSED)
        job.wind_up()

    async def resume(self, name: str) -> None:
        """Resume a paused or held mailing. Raises LookupError if it is neither."""
        job = self._open_job(name)
        if job.state not in {JobState.PAUSED, JobState.HELD}:
            raise LookupError(name)
        async with job.marking:
            await to_thread.run_sync(self._folder.unmark, job.path, Mark.PAUSED)
            job.paused = False
        self._note(job, JobState.WAITING)
        job.changed.set()

    async def cancel(self, name: str) -> None:
        """Cancel a mailing for good. Raises LookupError if it has ended."""
        job = self._open_job(name)
        async with job.marking:
            await to_thread.run_sync(self._folder.mark, job.path, Mark.CANCELLED)
            job.cancelled = True
        job.wind_up()

    async def preview(self, name: str, row: int) -> Preview:
        """Make the mail of a row as its recipient would get it.

        Raises KeyError if there is no such mailing; ConfigurationError, BodyError or SourceError if
        there is no such row, or it cannot be rendered.
        """
        job = self.jobs[name]
        mailing, settings = await to_thread.run_sync(contents.mailing_of, job.path)
        source = contents.list_of(job.path, settings, self._ses)
        [found] = await self._engine.previews(mailing, source, choosing(row=row))
        return found.preview

    def _open_job(self, name: str) -> Job:
        job = self.jobs[name]
        if job.state in {*ENDED, JobState.STOPPED} or job.cancelled:
            raise LookupError(name)
        return job

    # --- claims ------------------------------------------------------------------------------

    async def take_list(self, message_id: str, read: FromList, text: str) -> Nack | None:
        """Take a mailing from the queue, as if it had been dropped into the folder."""
        name = f"queue-{read.key or message_id}"
        while True:
            try:
                async with self._putting:
                    path = await to_thread.run_sync(self._folder.put_to_work, name, text)
            except OSError as error:
                logger.warning("%s cannot be started: %s", name, error)
                return Nack(self._settings.hold_s, f"it cannot be started: {error}")
            if path is None:
                logger.warning("%s has been sent, or tried, before: nothing is done", name)
                return None
            job = self._begin(path)
            await job.left.wait()
            if job.state in ENDED:
                return None
            if self._stopping.is_set():
                return AT_THE_END
            # Another worker has it. The message stays in hand until that worker has finished it.
            with anyio.move_on_after(self._settings.hold_s):
                await self._stopping.wait()

    async def _look(self) -> None:
        try:
            refused = await to_thread.run_sync(self._folder.claim)
            claimed = await to_thread.run_sync(self._folder.claimed)
        except OSError as error:
            logger.warning("%s: %s; looking again", self._folder.path, error.strerror)
            return
        for path in claimed:
            self._begin(path)
        for path, why in refused:
            self._refuse(path, why)
        ended = [name for name, job in self.jobs.items() if job.left.is_set()]
        for name in ended[:-ENDED_MAX]:
            del self.jobs[name]

    def _begin(self, path: Path) -> Job:
        job = self.jobs.get(path.name)
        if job is None or job.left.is_set():
            job = self.jobs[path.name] = Job(path.name, path)
            self._tasks.start_soon(self._work, job, partial(self._send_all, job))
        return job

    def _refuse(self, path: Path, why: str) -> None:
        """Move a refused mailing from inbox/ to failed/. One of the same name may be in work."""
        name = f"inbox/{path.name}"
        before = self.jobs.get(name)
        if before is None or before.left.is_set():
            job = self.jobs[name] = Job(name, path)
            self._tasks.start_soon(self._work, job, partial(self._end, job, JobState.FAILED, why))

    # --- one mailing -------------------------------------------------------------------------

    async def _work(self, job: Job, work: Callable[[], Awaitable[None]]) -> None:
        """Work on a mailing from its claim to its end, or to the worker's."""
        try:
            await work()
        except JournalLockedError:
            del self.jobs[job.name]  # another worker has it
        except _ElsewhereError:
            logger.info("%s: another worker or an operator has moved it", job.name)
            del self.jobs[job.name]
        finally:
            job.left.set()

    async def _send_all(self, job: Job) -> None:
        try:
            while await self._once(job):
                await self._wait_for_change(job)
        except (JournalLockedError, _ElsewhereError):
            raise
        except Exception as error:
            if not isinstance(error, ConfigurationError | SourceError | BodyError):
                logger.exception("%s cannot be sent", job.name)
            await self._end(job, JobState.FAILED, str(error) or type(error).__name__)

    async def _wait_for_change(self, job: Job) -> None:
        with anyio.move_on_after(self._settings.hold_s):
            await job.changed.wait()
        job.changed = anyio.Event()

    async def _once(self, job: Job) -> bool:
        """Attempt the whole mailing once. Return True if it is to be attempted again."""
        hold: Hold | None = None
        why: str | None = None
        try:
            await self._see_marks(job)
            if job.counts is None:
                job.counts = await self._counts_of(job)
            async with self._room_for(job) as free:
                if free:
                    await self._send(job)
                    hold = job.report.hold if job.report else None
                    why = str(hold) if hold else None
        except JournalLockedError:
            raise
        except Exception as error:
            if not (isinstance(error, _HOLDS) or _is_shortage(error)):
                raise
            why = str(error) or type(error).__name__
        if job.cancelled:
            await self._end(job, JobState.CANCELLED, "cancelled by an operator")
        elif hold is not None and hold.code == SOURCE_BROKEN:
            await self._end(job, JobState.FAILED, why)
        elif why is None and job.report is not None and job.report.state == "finished":
            await self._end(job, JobState.FINISHED, None)
        elif self._stopping.is_set():
            self._note(job, JobState.STOPPED)
        else:
            self._note(job, JobState.PAUSED if job.paused else JobState.HELD, why)
            return True
        return False

    async def _see_marks(self, job: Job) -> None:
        """Obey the operator's marks, also those left for another worker. Raises _ElsewhereError."""
        async with job.marking:
            gone, marks = await to_thread.run_sync(
                lambda: (not job.path.exists(), self._folder.marks(job.path))
            )
            if gone:
                raise _ElsewhereError
            job.paused = Mark.PAUSED in marks
            job.cancelled = job.cancelled or Mark.CANCELLED in marks

    def _may_be_sent(self, job: Job) -> bool:
        return not (self._stopping.is_set() or job.cancelled or job.paused)

    @asynccontextmanager
    async def _room_for(self, job: Job) -> AsyncIterator[bool]:
        """Wait for a place. Return False if it was paused, cancelled or stopped meanwhile."""
        if not self._may_be_sent(job):
            yield False
            return
        borrower = object()
        with anyio.CancelScope() as job.waiting:
            await self._room.acquire_on_behalf_of(borrower)
        if job.waiting.cancelled_caught:
            yield False
            return
        try:
            yield self._may_be_sent(job)
        finally:
            self._room.release_on_behalf_of(borrower)

    async def _counts_of(self, job: Job) -> Counts:
        return await to_thread.run_sync(contents.counts_of, job.path, self._open_journal)

    async def _send(self, job: Job) -> None:
        mailing, settings = await to_thread.run_sync(contents.mailing_of, job.path)
        source = contents.list_of(job.path, settings, self._ses)
        journal = await to_thread.run_sync(contents.journal_of, job.path, self._open_journal)
        try:
            await self._see_marks(job)  # the journal's last owner may have received an order
            if not self._may_be_sent(job):
                return
            job.counts = None
            job.engine = self._engine.beside(
                journal=journal,
                delivery=settings.delivery,
                recipients=settings.recipients,
                scope=settings.suppression.scope if settings.suppression else None,
                unsubscribe=settings.unsubscribe,
            )
            if self.paused:
                job.engine.pause()
            self._note(job, JobState.SENDING)
            if self._settings.check:
                (await job.engine.check(mailing, source, depth="quick")).require()
            job.report = await job.engine.run(mailing, source)
            job.counts = job.report.counts
        finally:
            job.engine = None
            job.fraction_read = source.fraction_read
            await to_thread.run_sync(journal.close)

    async def _end(self, job: Job, state: JobState, why: str | None) -> None:
        """Move an ended mailing to done/ or failed/, trying until it works."""
        if not (job.counts and job.counts.read):
            job.counts = None  # another worker may have begun it meanwhile
            with suppress(JournalError, ConfigurationError):
                job.counts = await self._counts_of(job)
        why = why and _as_text(why)
        while not await self._put_away(job, state, why) and not self._stopping.is_set():
            await self._wait_for_change(job)

    async def _put_away(self, job: Job, state: JobState, why: str | None) -> bool:
        """Try to move it. Return True on success. Raises _ElsewhereError."""
        report = contents.report_of(job, state, why)
        done = state is JobState.FINISHED
        begun = job.counts is None or job.counts.read > 0
        try:
            job.path = await to_thread.run_sync(
                lambda: self._folder.put_away(job.path, report, done=done, begun=begun)
            )
        except OSError as error:
            if not await to_thread.run_sync(job.path.exists):
                raise _ElsewhereError from error
            name = Path(error.filename2 or error.filename or job.name).name
            text = f"it cannot be put away: {name}: {error.strerror}; it is tried again"
            self._note(job, state, f"{why}; {text}" if why else text, logging.WARNING)
            return False
        self._note(job, state, why)
        return True

    def _note(
        self, job: Job, state: JobState, why: str | None = None, level: int | None = None
    ) -> None:
        why = why and _as_text(why)
        if (state, why) != (job.state, job.why):
            level = _LEVELS.get(state, logging.INFO) if level is None else level
            logger.log(level, "%s: %s%s", job.name, state, f": {why}" if why else "")
        job.state, job.why = state, why


def _as_text(why: str) -> str:
    """Return a path as text, also if its name is not UTF-8."""
    return why.encode(errors="replace").decode()
