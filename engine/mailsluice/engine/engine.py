"""The composition root: puts transport, journal, quota and pipeline together, and runs mailings.

The only module that names concrete adapters.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from types import TracebackType
from typing import Self

import anyio
from anyio import to_thread

from mailsluice.checking.check import Checker
from mailsluice.checking.checked import Checked, Depth
from mailsluice.checking.previewing import Choosing, Previewed, choosing, previews
from mailsluice.config.settings import (
    DeliverySettings,
    LaneSettings,
    MessageSettings,
    QuotaSettings,
    RecipientsSettings,
    SesSettings,
    Settings,
    UnsubscribeSettings,
)
from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.dispatcher import Dispatcher
from mailsluice.dispatch.gate import Gate
from mailsluice.dispatch.pacer import PacerStatistics
from mailsluice.engine import arguments, excepted, provenance
from mailsluice.engine.account import AccountGate, AccountHeldError, ask
from mailsluice.engine.excepted import Excepted
from mailsluice.engine.fates import Fates, MailFate
from mailsluice.engine.home import Home
from mailsluice.engine.outbox import Outbox, OutboxStatistics
from mailsluice.engine.outbox_lifetime import Delivery, aside
from mailsluice.engine.pipeline import Pipeline
from mailsluice.engine.run import Current, Statistics, report_of
from mailsluice.engine.screening import Screen, Screening
from mailsluice.engine.sending import OnEvent, Sending
from mailsluice.journal import Event, Journal, RunHeader, recovery
from mailsluice.journal.none import NoJournal
from mailsluice.journal.recovery import Only, Scope
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.journal.standing import FINISHED, HELD, STOPPED, Standing
from mailsluice.journal.writer import Writer
from mailsluice.mailing.intake import Intake, Link
from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.message import Message, Receipt
from mailsluice.mailing.recognition import Recogniser
from mailsluice.model import Lane
from mailsluice.model.errors import (
    ArgumentTypeError,
    ConfigurationError,
    JournalError,
    UsageError,
    root_of,
)
from mailsluice.model.hold import Hold
from mailsluice.model.rolling_window import DAY_S
from mailsluice.model.shown import shown
from mailsluice.reports.report import Report
from mailsluice.ses import Transport
from mailsluice.ses.client import Client
from mailsluice.ses.control_plane import ControlPlane
from mailsluice.ses.direct import Direct
from mailsluice.ses.inspector import Inspector
from mailsluice.sources import Source
from mailsluice.sources.iterable import Recipients
from mailsluice.suppression.scopes import MAILINGS
from mailsluice.suppression.store import Suppressions

logger = logging.getLogger(__name__)

BODIES_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of all requests in flight: each has a copy of the mailing's attachments."""


class Engine:
    """Sends mailings through one account.

    `Engine.open(settings)` builds one on the AWS SDK; the constructor takes any transport, and a
    journal: without one, each run is remembered only as long as it lasts. `wall` gives the time of
    day (seconds since the epoch) of what is recorded, `random` the jitter of back-off and the
    run's id: a simulation gives its own. `screening` says whom not to mail, and `scope` which
    kind of mailing a run is. `day_s` is the length of the daily quota's window in seconds, which an
    emulation shortens. `on_event` is called with a `BatchSettled` for every call
    that has its answer, on the event loop: it must not block.

    Several engines in one process are independent, except those that `beside` makes: they share
    the account. Single messages need the engine as a context:
    `async with Engine(...) as engine`.
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
        messages: MessageSettings | None = None,
        on_event: OnEvent | None = None,
        lanes: LaneSettings | None = None,
        account: AccountGate | None = None,
        remembers_keys: bool = True,
        inspector: Inspector | None = None,
        screening: Screening | None = None,
        scope: str = MAILINGS,
        unsubscribe: UnsubscribeSettings | None = None,
        fates: Fates | None = None,
    ) -> None:
        """Check the arguments. Raises ArgumentError."""
        _check_parts(transport, journal, day_s)
        arguments.all_of(
            {
                "quota": (quota, QuotaSettings),
                "delivery": (delivery, DeliverySettings),
                "recipients": (recipients, RecipientsSettings),
                "messages": (messages, MessageSettings),
                "lanes": (lanes, LaneSettings),
                "random": (random, Random),
            }
        )
        for name, hook in (("wall", wall), ("on_event", on_event)):
            arguments.function(name, hook)
        if unsubscribe is not None and screening is None:
            raise ConfigurationError(
                "[unsubscribe] needs [suppression], in the worker's file if there is a worker: its "
                "store has the key of the links"
            )
        self._home = Home()
        self._transport = transport
        self._journal = journal
        self._quota = quota or QuotaSettings()
        self._delivery = delivery or DeliverySettings()
        self._recipients = recipients or RecipientsSettings()
        self._dedupe = self._recipients.dedupe
        self._screening = screening
        self._scope = scope
        self._unsubscribe = unsubscribe
        self._fates = fates or Fates(None, SesSettings())
        self._inspector = inspector
        self._checker = Checker(transport, inspector, self._quota, partial(ask, transport))
        self._wall = wall
        self._random = random or SystemRandom()
        self._messages = messages or MessageSettings()
        self._on_event = on_event
        self._account = account or AccountGate(
            transport, self._quota, self._delivery.in_flight, lanes=lanes, wall=wall, day_s=day_s
        )
        self._delivering = Delivery(
            journal=journal or NoJournal(),
            account=self._account,
            transport=transport,
            settings=self._messages,
            delivery=self._delivery,
            wall=wall,
            random=self._random,
            on_event=on_event,
            remembers_keys=remembers_keys,
            screening=screening,
            scope=scope,
        )
        self._entered = False
        self._paused = False
        self._at_rest = asyncio.Event()
        """Set while no run is active."""
        self._at_rest.set()
        self._run_journal: Journal | None = None
        self._current: Current | None = None
        self._first: Statistics | None = None
        """The first statistics of the active run, or of the last one."""
        self._begun = anyio.Event()
        self._preparing: anyio.CancelScope | None = None
        self._stopping = False

    @classmethod
    def open(
        cls,
        settings: Settings | None = None,
        *,
        journal: Path | str | None = None,
        day_s: float = DAY_S,
        on_event: OnEvent | None = None,
    ) -> AbstractAsyncContextManager[Engine]:
        """Open an engine on the AWS SDK, with an SQLite journal if a path is given.

        `day_s` and `on_event` are as for the constructor. Leaving the context sends the accepted
        messages, for `messages.drain_s` seconds at most.

        Raises ArgumentError if an argument cannot be used, and on entry ConfigurationError (region,
        profile) and JournalError.
        """
        arguments.all_of({"settings": (settings, Settings)})
        arguments.seconds("day_s", day_s, above=True)
        arguments.function("on_event", on_event)
        path = arguments.path("journal", journal)
        return _opened(settings or Settings(), path, day_s, on_event)

    def beside(  # noqa: PLR0913  # each once, by name
        self,
        *,
        journal: Journal | None = None,
        delivery: DeliverySettings | None = None,
        recipients: RecipientsSettings | None = None,
        remembers_keys: bool = True,
        scope: str | None = None,
        unsubscribe: UnsubscribeSettings | None = None,
    ) -> Engine:
        """Make another engine on the same account: for a run beside this one's, within one quota.

        It lives as long as this one; `journal`, `delivery` and `recipients` are its own. Without
        `remembers_keys` a key is known only while its message is on its way, and the caller must
        prevent that it is sent twice.
        """
        engine = Engine(
            transport=self._transport,
            journal=journal,
            quota=self._quota,
            delivery=delivery or self._delivery,
            recipients=recipients,
            wall=self._wall,
            random=self._random,
            messages=self._messages,
            on_event=self._on_event,
            account=self._account,
            remembers_keys=remembers_keys,
            inspector=self._inspector,
            fates=self._fates,
            screening=self._screening,
            scope=scope or self._scope,
            unsubscribe=unsubscribe,
        )
        engine._home = self._home  # the same event loop
        engine._checker = self._checker
        return engine

    def __repr__(self) -> str:
        state = "stopping" if self._stopping else "paused" if self._paused else ""
        hold = self._account.hold
        parts = [state, f"held ({hold.code})" if hold else ""]
        parts += [repr(part) for part in (self._current, self._delivering.outbox) if part]
        return shown(self, *(parts if any(parts) else ["idle"]))

    async def __aenter__(self) -> Self:
        """Open the engine. Raises UsageError if it was used in another event loop before."""
        self._home.require()
        self._entered = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False
        with anyio.CancelScope(shield=True):
            try:
                await self._drain()
            finally:
                # Even if the task that leaves is cancelled once more.
                await self._delivering.end()

    async def run(  # noqa: PLR0913  # each once, by name
        self,
        mailing: Mailing,
        recipients: Source | Recipients,
        *,
        only: Only | None = None,
        again: bool = False,
        except_journals: Sequence[Path | str] = (),
        journal: Path | str | None = None,
    ) -> Report:
        """Send `mailing` to all of `recipients`; with a journal, carry on where it stopped.

        `journal` is the path of this run's own, instead of the engine's: single messages and a run
        cannot share one. They share the quota: a run is in the bulk lane.

        `only` sends once more to the recipients of a finished run that failed, were rejected or are
        in doubt: new attempts in the same journal, under the same guarantees. A recipient in doubt
        may get a second mail; the journal says so.

        `again` sends the mailing as it is now to the recipients that the run has not settled,
        although others were sent an earlier version; a finished run goes on with new rows of its
        list.

        `except_journals` are journals of other runs: a recipient that one of them lists as sent, in
        doubt, or dropped by an operator, is suppressed. It is known by its first address, or by its
        key with `dedupe = "key"`. They hold for the whole run: give the same when it carries on.

        Raises ConfigurationError or SourceError if nothing can be sent; among them
        MailingChangedError and SourceChangedError if the journal's run began with another mailing
        or source, and RunFinishedError if that run has finished. Raises JournalError if nothing
        more was sent because it could not be recorded. A cancelled run leaves the calls in flight
        in doubt. An error of the caller's own iterable is raised again after the calls in flight
        have ended. UsageError: this engine is already running a mailing, and would send at twice
        the rate; or it belongs to another event loop. ArgumentError: an argument cannot be used.
        """
        self._home.require()
        arguments.mailing("mailing", mailing)
        source = arguments.recipients(recipients)
        arguments.flag("again", again)
        path = arguments.path("journal", journal)
        others = arguments.paths("except_journals", except_journals)
        scope = Scope(only=only, again=again, excepted=others)
        if not self._at_rest.is_set():
            raise UsageError("this engine is running a mailing; open another engine for another")
        self._at_rest.clear()
        try:
            if path is None:
                return await self._run(mailing, source, scope, self._journal or NoJournal())
            opened = await to_thread.run_sync(SqliteJournal.open, path)
            with closing(opened):
                return await self._run(mailing, source, scope, opened)
        finally:
            self._at_rest.set()

    async def _run(
        self, mailing: Mailing, source: Source, scope: Scope, journal: Journal
    ) -> Report:
        if self._delivering.begun and journal is self._journal:
            raise JournalError(
                f"{journal.name}: single messages are using it; give the run its own: journal=…"
            )
        self._run_journal = journal
        try:
            async with AsyncExitStack() as stack:
                return await self._run_in(stack, mailing, source, scope, journal)
        finally:
            self._run_journal = None

    async def _run_in(  # as `run`
        self,
        stack: AsyncExitStack,
        mailing: Mailing,
        source: Source,
        scope: Scope,
        journal: Journal,
    ) -> Report:
        read_back = partial(provenance.read_back, journal, by_key=self._dedupe == "key")
        standing, known = await aside(journal.blocks, read_back)
        prefix = await aside(bool(mailing.attachments), mailing.prefix)
        digest = recovery.digest_of(prefix)
        with anyio.CancelScope() as self._preparing:
            if self._stopping:
                self._preparing.cancel()
            identity = await provenance.identified(journal, standing, source, known)
            if not scope.revises:
                recovery.require_same_mailing(journal, standing, digest)
            left_out = await self._left_out(scope, journal)
            recovery.require_same_exceptions(journal, standing, left_out.runs)
            rows = recovery.chosen(journal, standing, scope.only) if scope.only else []
            # A list that was empty may have been filled since.
            finished = standing.finished and standing.counts.read and not scope.again
            if finished and not rows:
                await provenance.require_nobody_new(journal, standing, source, known)
                return report_of(standing, FINISHED)
            try:
                opening = self._account.open(journal.name, standing)
                gate = await stack.enter_async_context(opening)
            except AccountHeldError as error:
                if not standing.finished:
                    async with Writer(journal, standing) as writer:
                        await writer.write([Event(self._wall(), HELD, str(error.hold))])
                return report_of(standing, HELD, error.hold)
        if self._preparing.cancelled_caught:
            return report_of(standing, STOPPED)
        at = self._wall()
        run, records = recovery.claim(
            journal, standing, digest, left_out.runs, identity, at, self._random
        )
        records += recovery.recovered(standing, self._delivery.in_doubt, at)
        if scope.only and rows:
            records += recovery.reopened(rows, scope.only, at)
        try:
            async with Writer(journal, standing) as writer:
                await writer.write(records)
                self._current = self._wire(
                    mailing, prefix, source, run, writer, gate, left_out, known, journal, scope
                )
                self._current.pause(paused=self._paused)
                self._first = self._current.statistics()
                self._begun.set()
                return await self._current.run(stopping=self._stopping)
        except BaseExceptionGroup as group:
            raise root_of(group) from None
        finally:
            if self._current is not None:
                self._current.close()
            self._current = None
            self._begun = anyio.Event()

    async def check(  # noqa: PLR0913  # each once, by name
        self,
        mailing: Mailing,
        recipients: Source | Recipients,
        *,
        depth: Depth = "thorough",
        rows: int | None = None,
        offline: bool = False,
        live: bool = False,
    ) -> Checked:
        """Find what will go wrong with the mailing, its list or the account, and the remedies.

        Nothing is sent. If the credentials may not read something, that is a finding, not an error.
        A "quick" check finds the errors that must keep a mailing from starting, and takes 3 s of
        SES's time at most; it reads the list if the template has variables, unless the list can be
        read only once. A "thorough" check finds more; `rows` is how many rows it reads (None: all),
        `offline` does not ask SES, and `live` sends the first row's mail to SES's mailbox simulator
        if there is no error. A check that `stop` ends has no findings.

        Raises SourceError if the list cannot be read, ConfigurationError if the mailing's files or
        the AWS configuration cannot be used; ArgumentError: an argument cannot be used.
        """
        self._home.require()
        arguments.mailing("mailing", mailing)
        source = arguments.recipients(recipients)
        arguments.check(depth, rows, {"offline": offline, "live": live})
        checker, settings = self._checker, self._recipients
        with anyio.CancelScope() as self._preparing:
            if self._stopping:
                self._preparing.cancel()
            if depth == "quick":
                return await checker.quick(mailing, source, settings)
            return await checker.thorough(
                mailing, source, settings, rows_max=rows, offline=offline, live=live
            )
        return Checked()

    async def previews(
        self,
        mailing: Mailing,
        recipients: Source | Recipients,
        which: Choosing | None = None,
        *,
        via_ses: bool = False,
    ) -> list[Previewed]:
        """Render the mails of the rows that `choosing` names, as their recipients would get them.

        Default: the first row. With `via_ses` SES renders them as well (TestRenderEmailTemplate).
        Raises ConfigurationError if the template cannot be read or there is no such row,
        SourceError if the list cannot be read; ArgumentError: an argument cannot be used.
        """
        self._home.require()
        arguments.mailing("mailing", mailing)
        source = arguments.recipients(recipients)
        arguments.function("which", which)
        return await previews(
            self._inspector, mailing, source, which or choosing(), via_ses=via_ses
        )

    async def send(
        self, message: Message, *, lane: Lane = "transactional", deadline_s: float | None = None
    ) -> Receipt:
        """Send one message, in a bulk call with others of its mailing; return when SES has it.

        Concurrent calls share bulk calls: one leaves when 50 wait, or as many as the rate allows at
        once, or `messages.linger_ms` after the first. While `messages.queue_max` messages wait,
        this waits too. `lane`: "transactional" messages go before those of the "bulk" lane, which
        is left a tenth of the rate. A message that is not under
        way after `deadline_s` seconds expires.

        Raises the outcome of a message that is not sent: Rejected, Failed, InDoubt, Held (also
        while the engine is closing), Expired; ConfigurationError, JournalError and UsageError (the
        engine is not open, or belongs to another event loop) if nothing can be sent; ArgumentError
        if an argument cannot be used. A caller that is cancelled withdraws the message, unless it
        is under way: then its outcome is still recorded in the journal.

        >>> async def welcome(engine: Engine, mailing: Mailing, address: str) -> str:
        ...     receipt = await engine.send(Message(mailing, to=address), deadline_s=30)
        ...     return receipt.message_id
        """
        arguments.message(message, lane, deadline_s)
        return await (await self._outbox()).send(message, lane, deadline_s)

    async def send_nowait(
        self, message: Message, *, lane: Lane = "transactional", deadline_s: float | None = None
    ) -> asyncio.Future[Receipt]:
        """Do as `send`, but return a future for the receipt at once, or raise QueueFull.

        Only the first message waits: for the account.
        """
        arguments.message(message, lane, deadline_s)
        return (await self._outbox()).send_nowait(message, lane, deadline_s)

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Keep the account's rate and daily quota up to date, even if nothing is sent.

        Raises AccountHeldError if the account sends nothing at present, ConfigurationError if
        GetAccount cannot be called for lack of credentials.
        """
        self._home.require()
        async with self._account.open("", Standing(), resumed=True):
            yield

    async def release(self) -> None:
        """Take no more single messages, and abandon those not under way: they end as Held."""
        self._home.require()
        self._delivering.close()
        if self._delivering.outbox is not None:
            await self._delivering.outbox.give_up()

    def change(self, quota: QuotaSettings, lanes: LaneSettings) -> None:
        """Change quota and lanes from now on, for all engines that `beside` made."""
        self._home.require()
        instances = {"quota": (quota, QuotaSettings), "lanes": (lanes, LaneSettings)}
        for name, (value, kind) in instances.items():
            arguments.instance(name, value, kind)
        self._account.change(quota, lanes)

    def pacer_statistics(self) -> PacerStatistics | None:
        """Return the account's pace at this moment; None while nothing is being sent."""
        return self._account.statistics()

    @property
    def account_hold(self) -> Hold | None:
        """Return why SES would send nothing for this account at present; None if it would."""
        return self._account.hold

    def message_statistics(self) -> OutboxStatistics | None:
        """Return the statistics of single messages; None before the first one."""
        outbox = self._delivering.outbox
        return None if outbox is None else outbox.statistics()

    def feedback(self, run: str | None = None) -> AsyncGenerator[MailFate, None]:
        """Take SES's events in, and yield what they change: `async for fate in engine.feedback()`.

        `run` is the id of one run; default: all. A change is durable in `feedback.db` before it is
        yielded, and its event is deleted then. Processes that follow one queue
        share its events; `fate` looks up what any of them has taken in. Raises ConfigurationError
        if the settings have no `feedback` with a queue or files, and StoreError.
        """
        self._home.require()
        arguments.all_of({"run": (run, str)})
        return self._fates.follow(run)

    async def fate(self, message_id: str) -> MailFate | None:
        """Return what has become of a mail; None if nothing was heard of it, which proves nothing.

        Raises ConfigurationError if the settings have no `feedback`, and StoreError.
        """
        self._home.require()
        arguments.instance("message_id", message_id, str)
        return await self._fates.of(message_id)

    def pause(self) -> None:
        """Start no call until `resume`; calls under way end. `send` and `run` wait."""
        self._pause(paused=True)

    def resume(self) -> None:
        """Continue after `pause`."""
        self._pause(paused=False)

    def _pause(self, *, paused: bool) -> None:
        self._home.require()
        if paused != self._paused:
            logger.info("the engine is %s", "paused" if paused else "resumed")
        self._paused = paused
        if self._current is not None:
            self._current.pause(paused=paused)
        self._delivering.pause(paused=paused)

    async def _outbox(self) -> Outbox:
        self._home.require()
        if self._delivering.outbox is not None:
            return self._delivering.outbox  # which knows by itself whether it is closing
        if not self._entered:
            raise UsageError("the engine is not open: use `async with Engine.open(...)`")
        if self._journal is not None and self._run_journal is self._journal:
            raise JournalError(f"{self._journal.name}: a run is using it; give that run its own")
        return await self._delivering.open()

    async def _drain(self) -> None:
        """Send accepted messages, and settle a run's calls under way, within the time limit."""
        if not self._at_rest.is_set():
            self.stop()
        self._delivering.close()
        with anyio.move_on_after(self._messages.drain_s):
            await self._delivering.drained()
            await self._at_rest.wait()

    def stop(self) -> None:
        """Start no more calls; `run` returns when the calls in flight have been settled."""
        self._home.require()
        self._stopping = True
        if self._current is not None:
            self._current.stop()
        elif self._preparing is not None:
            self._preparing.cancel()

    @property
    def is_stopping(self) -> bool:
        """True after `stop` has been called."""
        return self._stopping

    def statistics(self) -> Statistics | None:
        """Return the active run's statistics; None between runs."""
        return None if self._current is None else self._current.statistics()

    @property
    def has_begun(self) -> bool:
        """True if a run of this engine may have sent something."""
        return self._first is not None

    async def begun(self) -> Statistics:
        """Wait for a run to begin; return its first statistics, before anything was sent."""
        self._home.require()
        await self._begun.wait()
        assert self._first is not None
        return self._first

    async def _left_out(self, scope: Scope, journal: Journal) -> Excepted:
        """Read the journals of `except_journals`. Raises ConfigurationError, JournalError."""
        if not scope.excepted:
            return Excepted()
        return await to_thread.run_sync(
            excepted.read, scope.excepted, self._dedupe, SqliteJournal.read, journal.name
        )

    @property
    def _link(self) -> Link | None:
        """What makes a recipient's link to unsubscribe."""
        if self._unsubscribe is None or self._screening is None:
            return None
        return self._screening.links(self._unsubscribe.url, self._scope)

    def _wire(  # noqa: PLR0913, PLR0917  # the run's parts, each once
        self,
        mailing: Mailing,
        prefix: bytes,
        source: Source,
        run: RunHeader,
        writer: Writer,
        gate: Gate,
        left_out: Excepted,
        known: Recogniser,
        journal: Journal,
        scope: Scope,
    ) -> Current:
        """Put the parts of one run together."""
        standing = writer.standing
        attempts = Attempts(
            attempts_max=self._delivery.max_attempts,
            in_doubt=self._delivery.in_doubt,
            burned=standing.burned,
            doubted=standing.doubted,
        )
        dispatcher = Dispatcher(
            gate,
            attempts,
            in_flight_max=_in_flight(self._delivery.in_flight, len(prefix)),
            held_before=standing.held_before,
            random=self._random,
        )
        screen = None if self._screening is None else Screen(self._screening, self._scope)
        sending = Sending(
            prefix=prefix,
            endpoint_id=mailing.endpoint_id,
            dispatcher=dispatcher,
            writer=writer,
            transport=self._transport,
            wall=self._wall,
            on_event=self._on_event,
            screen=screen,
        )
        pipeline = Pipeline(
            source=source,
            intake=Intake(
                mailing,
                run.id,
                self._dedupe,
                standing.settled,
                standing.remarked,
                left_out.mailed,
                known,
                known_only=standing.reopened is not None and not scope.again,
                suppressed=None if screen is None else screen.why,
                link=self._link,
            ),
            dispatcher=dispatcher,
            sending=sending,
            writer=writer,
            wall=self._wall,
            describe=partial(aside, journal.blocks, provenance.difference, journal),
            screen=screen,
        )
        return Current(
            source=source,
            writer=writer,
            dispatcher=dispatcher,
            pipeline=pipeline,
            sending=sending,
            wall=self._wall,
            name=journal.name,
        )


def _check_parts(transport: object, journal: object, day_s: object) -> None:
    """Raise ArgumentTypeError for a wrong part, such as a path instead of a journal."""
    if not callable(getattr(transport, "send_bulk_email", None)):
        name = type(transport).__name__
        raise ArgumentTypeError(
            f"transport is of type {name}; it must be a transport: see Engine.open"
        )
    if journal is not None and not callable(getattr(journal, "commit", None)):
        name = type(journal).__name__
        raise ArgumentTypeError(
            f"journal is of type {name}; for a path use Engine.open(journal=...)"
        )
    arguments.seconds("day_s", day_s, above=True)


def _in_flight(wanted: int, prefix_bytes: int) -> int:
    """Return the calls at once: fewer if attachments make each of them large."""
    return max(1, min(wanted, BODIES_BYTES_MAX // max(1, prefix_bytes)))


async def _transport(client: Client, settings: Settings) -> Transport:
    return await Direct.over(client) if settings.ses.transport == "direct" else client


@asynccontextmanager
async def _opened(
    settings: Settings, path: Path | None, day_s: float, on_event: OnEvent | None
) -> AsyncIterator[Engine]:
    journal = None if path is None else await to_thread.run_sync(SqliteJournal.open, path)
    suppression, store = settings.suppression, None
    try:
        if suppression is not None:
            open_ = partial(Suppressions.open, suppression.path, suppression.keep)
            store = await to_thread.run_sync(open_)
        client = Client(
            region=settings.ses.region,
            profile=settings.ses.profile,
            endpoint_url=settings.ses.endpoint_url,
            in_flight_max=settings.delivery.in_flight,
            timeout_s=settings.delivery.timeout_s,
        )
        inspector = ControlPlane(
            region=settings.ses.region,
            profile=settings.ses.profile,
            endpoint_url=settings.ses.endpoint_url,
            timeout_s=settings.delivery.timeout_s,
        )
        async with client, inspector:
            engine = Engine(
                transport=await _transport(client, settings),
                journal=journal,
                quota=settings.quota,
                lanes=settings.lanes,
                delivery=settings.delivery,
                recipients=settings.recipients,
                messages=settings.messages,
                day_s=day_s,
                on_event=on_event,
                inspector=inspector,
                fates=Fates(settings.feedback, settings.ses, suppression),
                screening=None if store is None else Screening(store, time.time),
                scope=MAILINGS if suppression is None else suppression.scope,
                unsubscribe=settings.unsubscribe,
            )
            async with engine:
                yield engine
    finally:
        if store is not None:
            store.close()
        if journal is not None:
            journal.close()
