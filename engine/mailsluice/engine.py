"""The composition root: puts transport, journal, quota and pipeline together, and runs mailings.

The only module that names concrete adapters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random, SystemRandom
from typing import TypeVar, get_args

import anyio
from anyio import to_thread

from mailsluice import quota as quotas
from mailsluice import resume
from mailsluice.attempts import Attempts
from mailsluice.config import DeliverySettings, QuotaSettings, RecipientsSettings, Settings
from mailsluice.current import Current, Statistics, report_of
from mailsluice.daily import DAY_S, DailyQuota
from mailsluice.dispatcher import Dispatcher
from mailsluice.errors import ConfigurationError, MailsluiceError, root_of
from mailsluice.intake import Intake
from mailsluice.journal import Event, Journal, Run
from mailsluice.journal.memory import MemoryJournal
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.journal.standing import FINISHED, HELD, STOPPED, Standing
from mailsluice.journal.writer import Writer
from mailsluice.mailing import Mailing
from mailsluice.model import Account
from mailsluice.pacing import Pacer
from mailsluice.pipeline import Pipeline
from mailsluice.quota import QuotaKeeper
from mailsluice.report import Report
from mailsluice.resume import Only
from mailsluice.ses import AccountUnavailableError, Transport
from mailsluice.ses.client import Client
from mailsluice.ses.direct import Direct
from mailsluice.sources import Source
from mailsluice.sources.iterable import IterableSource, Recipients
from mailsluice.statuses import NO_CREDENTIALS, NOT_SENT, hold_text

logger = logging.getLogger(__name__)

BODIES_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of all requests in flight: each has a copy of the mailing's attachments."""

Result = TypeVar("Result")


class _HeldError(MailsluiceError):
    """The run cannot begin for a cause outside it."""


class Engine:
    """Sends mailings through one account.

    `Engine.open(settings)` builds one on the AWS SDK; the constructor takes any transport, and a
    journal: without one, each run is remembered only as long as it lasts. `wall` gives the time of
    day (seconds since the epoch) of what is recorded, `random` the jitter of back-off and the
    run's id: a simulation gives its own. `day_s` is the length of the daily quota's window in
    seconds, which an emulation shortens.
    """

    def __init__(  # noqa: PLR0913  # each has a default but the transport
        self,
        *,
        transport: Transport,
        journal: Journal | None = None,
        quota: QuotaSettings | None = None,
        delivery: DeliverySettings | None = None,
        recipients: RecipientsSettings | None = None,
        wall: Callable[[], float] = time.time,
        random: Random | None = None,
        day_s: float = DAY_S,
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._quota = quota or QuotaSettings()
        self._delivery = delivery or DeliverySettings()
        self._dedupe = (recipients or RecipientsSettings()).dedupe
        self._wall = wall
        self._random = random or SystemRandom()
        self._day_s = day_s
        self._current: Current | None = None
        self._first: Statistics | None = None
        """The first moment of the run under way, or of the last one."""
        self._begun = anyio.Event()
        self._preparing: anyio.CancelScope | None = None
        self._stopping = False
        self._running = False

    @classmethod
    def open(
        cls,
        settings: Settings | None = None,
        *,
        journal: Path | str | None = None,
        day_s: float = DAY_S,
    ) -> AbstractAsyncContextManager[Engine]:
        """An engine on the AWS SDK, with an SQLite journal where a path is given.

        `day_s` is as for the constructor.

        Raises ConfigurationError (region, profile) and JournalError on entry.
        """
        return _opened(settings or Settings(), None if journal is None else Path(journal), day_s)

    async def run(
        self, mailing: Mailing, recipients: Source | Recipients, *, only: Only | None = None
    ) -> Report:
        """Send `mailing` to all of `recipients`; with a journal, carry on where it stopped.

        `only` sends those of a finished run once more that failed, were rejected or are in doubt:
        new attempts in the same journal, under the same guarantees. A doubt may thereby become a
        second mail, which the journal says.

        Raises ConfigurationError or SourceError where nothing can be sent, SourceChangedError where
        the journal was begun with another source, and JournalError where nothing more was sent
        because it could not be recorded. A cancelled run leaves the calls in flight in doubt.
        What the caller's own iterable raises is raised again when the calls in flight have ended.
        RuntimeError: this engine is running a mailing already, and would send at twice the rate.
        """
        if self._running:
            raise RuntimeError("this engine is running a mailing; open another engine for another")
        self._running = True
        try:
            return await self._run(mailing, as_source(recipients), only)
        finally:
            self._running = False

    async def _run(self, mailing: Mailing, source: Source, only: Only | None) -> Report:
        journal = self._journal or MemoryJournal()
        standing = await _aside(journal.blocks, resume.standing_of, journal)
        prefix = await _aside(bool(mailing.attachments), mailing.prefix)
        with anyio.CancelScope() as self._preparing:
            if self._stopping:
                self._preparing.cancel()
            identity = await source.identify()
            resume.require_same(journal, standing, identity)
            if only not in {None, *get_args(Only)}:
                raise ConfigurationError(f"only={only!r}: there are {', '.join(get_args(Only))}")
            rows = resume.chosen(journal, standing, only) if only else []
            # A list that was empty may have been filled since.
            if standing.finished and standing.counts.read and not rows:
                return report_of(standing, FINISHED)
            try:
                account = await self._account()
            except _HeldError as error:
                if not standing.finished:
                    async with Writer(journal, standing) as writer:
                        await writer.write([Event(self._wall(), HELD, str(error))])
                return report_of(standing, HELD, str(error))
        if self._preparing.cancelled_caught:
            return report_of(standing, STOPPED)
        at = self._wall()
        run, event = resume.claim(journal, standing, prefix, identity, at, self._random)
        records = [event, *resume.recovered(standing, self._delivery.in_doubt, at)]
        if only and rows:
            records += resume.reopened(rows, only, at)
        try:
            async with Writer(journal, standing) as writer:
                await writer.write(records)
                self._current = self._wire(mailing, prefix, source, run, writer, account)
                self._first = self._current.statistics()
                self._begun.set()
                return await self._current.run(stopping=self._stopping)
        except BaseExceptionGroup as group:
            raise root_of(group) from None
        finally:
            self._current = None
            self._begun = anyio.Event()

    def stop(self) -> None:
        """Start nothing more; `run` returns when the calls in flight have been settled."""
        self._stopping = True
        if self._current is not None:
            self._current.stop()
        elif self._preparing is not None:
            self._preparing.cancel()

    def statistics(self) -> Statistics | None:
        """The present moment of the run under way; None between runs."""
        return None if self._current is None else self._current.statistics()

    async def begun(self) -> Statistics:
        """The first moment of the run under way, when nothing had been sent yet; waits for one."""
        await self._begun.wait()
        assert self._first is not None
        return self._first

    def _wire(  # noqa: PLR0913, PLR0917  # the run's parts, each once
        self,
        mailing: Mailing,
        prefix: bytes,
        source: Source,
        run: Run,
        writer: Writer,
        account: Account | None,
    ) -> Current:
        """Put the parts of one run together."""
        standing = writer.standing
        pacer = Pacer(
            quotas.rate_per_s(self._quota, account),
            anyio.current_time(),
            calls_per_s=self._quota.calls_per_second,
            resumed=standing.calls > 0,
        )
        attempts = Attempts(
            attempts_max=self._delivery.max_attempts,
            in_doubt=self._delivery.in_doubt,
            burned=standing.burned,
            doubted=standing.doubted,
        )
        dispatcher = Dispatcher(
            pacer,
            self._daily(standing),
            attempts,
            in_flight_max=_in_flight(self._delivery.in_flight, len(prefix)),
            first_number=standing.last_batch + 1,
            held_before=standing.held_before,
            random=self._random,
        )
        pipeline = Pipeline(
            prefix=prefix,
            endpoint_id=mailing.endpoint_id,
            source=source,
            intake=Intake(mailing, run.id, self._dedupe, standing.settled, standing.remarked),
            dispatcher=dispatcher,
            writer=writer,
            transport=self._transport,
            wall=self._wall,
        )
        keeper = QuotaKeeper(self._transport, self._quota, dispatcher, pipeline.wake)
        if account is not None:
            keeper.apply(account)
        return Current(
            source=source,
            writer=writer,
            dispatcher=dispatcher,
            pipeline=pipeline,
            keeper=keeper,
            wall=self._wall,
        )

    def _daily(self, standing: Standing) -> DailyQuota:
        """The day's quota, of which earlier processes of this run have used a part."""
        since_epoch = self._wall() - anyio.current_time()
        return DailyQuota(
            standing.day.moved(-since_epoch, self._day_s),
            share=self._quota.share,
            reserve=self._quota.reserve,
        )

    async def _account(self) -> Account | None:
        """What GetAccount says; None where it may not be asked and need not be."""
        try:
            account = await quotas.ask(self._transport)
        except AccountUnavailableError as error:
            self._require_account(error)
            logger.warning("%s; sending at the configured rate, blind to the daily quota", error)
            return None
        if (why := quotas.obstacle(account)) is not None:
            raise _HeldError(why)
        return account

    def _require_account(self, error: AccountUnavailableError) -> None:
        """Return where the run can do without an answer from GetAccount; raise where not."""
        answer = error.answer
        if answer.code == NO_CREDENTIALS:
            raise ConfigurationError(
                f"no AWS credentials: {answer.error}; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or a profile, or give this host a role"
            ) from error
        rejected = answer.http_status == 403 and "AccessDenied" not in (answer.code or "")  # noqa: PLR2004  # HTTP's Forbidden
        if rejected:
            raise _HeldError(hold_text(answer.code or "", answer.error)) from error
        if answer.code == NOT_SENT:
            raise _HeldError(f"{NOT_SENT}: SES cannot be reached: {answer.error}") from error
        if self._quota.rate == "account" and answer.http_status != 403:  # noqa: PLR2004  # as above
            raise _HeldError(hold_text(answer.code or "", answer.error)) from error
        if self._quota.rate == "account":
            raise ConfigurationError(
                f"{error}; allow ses:GetAccount, or give the rate, as in --set quota.rate=14"
            ) from error


def as_source(recipients: Source | Recipients) -> Source:
    """A source as it is; anything that can be iterated over as a source."""
    return recipients if isinstance(recipients, Source) else IterableSource(recipients)


def _in_flight(wanted: int, prefix_bytes: int) -> int:
    """Calls at once: fewer where attachments make each of them large."""
    return max(1, min(wanted, BODIES_BYTES_MAX // max(1, prefix_bytes)))


async def _aside(blocks: bool, function: Callable[..., Result], *args: object) -> Result:  # noqa: FBT001
    """Call it in a worker thread where it blocks; a virtual clock cannot wait for threads."""
    return await to_thread.run_sync(function, *args) if blocks else function(*args)


async def _transport(client: Client, settings: Settings) -> Transport:
    return await Direct.over(client) if settings.ses.transport == "direct" else client


@asynccontextmanager
async def _opened(settings: Settings, path: Path | None, day_s: float) -> AsyncIterator[Engine]:
    journal = None if path is None else await to_thread.run_sync(SqliteJournal.open, path)
    try:
        client = Client(
            region=settings.ses.region,
            profile=settings.ses.profile,
            endpoint_url=settings.ses.endpoint_url,
            in_flight_max=settings.delivery.in_flight,
            timeout_s=settings.delivery.timeout_s,
        )
        async with client:
            yield Engine(
                transport=await _transport(client, settings),
                journal=journal,
                quota=settings.quota,
                delivery=settings.delivery,
                recipients=settings.recipients,
                day_s=day_s,
            )
    finally:
        if journal is not None:
            journal.close()
