"""The flow of one run: source → intake → dispatcher → sender → settle → journal.

`sending` is the part from the dispatcher on, which runs share with single messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

import anyio

from mailsluice.dispatch.dispatcher import Dispatcher
from mailsluice.engine.screening import Screen
from mailsluice.engine.sending import Sending
from mailsluice.journal import AddressColumns, Addresses, Resolution, Taken
from mailsluice.journal.writer import Writer
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.recognition import DifferentRowError
from mailsluice.model import Chunk, Head, Remark, State
from mailsluice.model.codes import (
    EXCEPTED,
    EXCEPTED_TEXT,
    GONE,
    SOURCE_BROKEN,
    SOURCE_CHANGED,
    SOURCE_SHORTER,
    SUPPRESSED,
    SUPPRESSIONS_UNREADABLE,
)
from mailsluice.model.errors import JournalError, SourceChangedError, SourceError, StoreError
from mailsluice.model.hold import Hold
from mailsluice.reports.remedies import remedy
from mailsluice.sources import Row, Source

logger = logging.getLogger(__name__)

_GONE = "the source no longer gives a recipient of its key that can be sent"


class Pipeline:
    """One run's task group; `wall` gives seconds since the epoch, for the journal's records."""

    def __init__(  # noqa: PLR0913  # the composition root hands over each part once
        self,
        *,
        source: Source,
        intake: Intake,
        dispatcher: Dispatcher,
        sending: Sending,
        writer: Writer,
        wall: Callable[[], float],
        describe: Callable[[DifferentRowError], Awaitable[str]],
        screen: Screen | None = None,
    ) -> None:
        """`describe` says which row differs from the journal, and how."""
        self._source = source
        self._intake = intake
        self._dispatcher = dispatcher
        self._sending = sending
        self._writer = writer
        self._wall = wall
        self._describe = describe
        self._screen = screen
        self._now = asyncio.get_running_loop().time
        self._head: Head | None = None
        """The source's bytes read when rows were recorded last."""
        self._changed: SourceChangedError | DifferentRowError | None = None
        """The difference that shows that the source is another one."""
        self._caller_error: Exception | None = None
        self._broken: Hold | None = None
        """The error with which the source broke off."""
        self._unfit: Remark | None = None
        """The first row that was accepted before, and cannot be sent as the source gives it now."""

    async def run(self) -> None:
        """Send until nothing is left, the run is held, or it is told to stop.

        Raises SourceError if the source breaks before its first row (after it, the run is held),
        SourceChangedError if it is another one and nothing was sent (else, the run is held),
        JournalError if nothing more can be recorded, and what the caller's own iterable raises.
        What was in flight has been settled, or is in doubt in the journal.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._take_in)
            await self._sending.run()
            await self._sending.record_blames(self._dispatcher.settle_suspects())
            if self._caller_error is not None:
                raise self._caller_error
            if self._changed is not None:
                await self._hold_or_raise(self._changed)
            if self._dispatcher.complete:
                if self._broken is not None and self._dispatcher.hold is None:
                    self._dispatcher.hold_for(self._broken)
                if self._dispatcher.hold is None:
                    await self._account_for_missing()
            tasks.cancel_scope.cancel()  # intake, where the run ends before its source

    def close(self) -> None:
        """Release the parts after the end, however it came."""
        self._intake.close()
        self._dispatcher.close()

    async def _take_in(self) -> None:
        try:
            await self._take_in_all()
        except (SourceChangedError, DifferentRowError) as error:
            self._changed = error
            self._dispatcher.stop()
        except SourceError as error:
            if self._writer.standing.counts.read == 0:
                raise
            # What came before the break has been accepted, and is sent.
            self._broken = Hold(
                SOURCE_BROKEN,
                f"{error}; what came before is settled: give the very same bytes "
                "again, or send what `export` does not list as a run of its own",
            )
            self._dispatcher.backlog.source_ended()
        except JournalError:
            raise
        except StoreError as error:
            self._dispatcher.hold_for(Hold(SUPPRESSIONS_UNREADABLE, str(error)))
        except Exception as error:  # noqa: BLE001  # the caller's own; raised when all is drained
            self._caller_error = error
            self._dispatcher.stop()
        else:
            self._dispatcher.backlog.source_ended()
        self._sending.wake()

    async def _hold_or_raise(self, changed: SourceChangedError | DifferentRowError) -> None:
        """Hold the run, or raise if nothing was sent: the source is another one."""
        what = (
            await self._describe(changed)
            if isinstance(changed, DifferentRowError)
            else str(changed)
        )
        if not self._sending.statistics().calls:
            text = f"{what}: nothing was sent. To go on, {remedy(SOURCE_CHANGED)}"
            raise SourceChangedError(text) from changed
        self._dispatcher.hold_for(Hold(SOURCE_CHANGED, f"{what}: nothing more was sent"))

    async def _account_for_missing(self) -> None:
        """Handle rows that an earlier process has read, and that the source did not give again.

        By order, that makes it another source. By key, those recipients are gone from the list.
        """
        rows, pending = self._intake.rows, self._writer.standing.counts.pending
        if passed_over := self._intake.passed_over:
            logger.warning(
                "%d recipients that the run has not had are on the list, and were not sent to: a "
                "part of the run is sent once more; --again sends to them",
                passed_over,
            )
        if rows.by_key:
            await self._give_up_the_gone(rows.missing)
        elif rows.missing:
            self._dispatcher.hold_for(
                Hold(
                    SOURCE_SHORTER,
                    f"the source ended before row {rows.known - rows.missing + 1} of "
                    f"{rows.known}, which were read before",
                )
            )
        elif pending:
            unfit = self._unfit
            first = "" if unfit is None else f" (row {unfit.seq} is {unfit.state}: {unfit.reason})"
            self._dispatcher.hold_for(
                Hold(
                    SOURCE_SHORTER,
                    f"{pending} recipients that were accepted before have not come "
                    f"again as they were{first}; give the same source and the same [recipients] "
                    "settings",
                )
            )

    async def _give_up_the_gone(self, missing: int) -> None:
        standing = self._writer.standing
        gone = list(standing.settled.missing(1, standing.counts.read))
        if gone:
            await self._give_up(gone, GONE, _GONE)
            logger.warning(
                "%d recipients are given up (%s): the source no longer gives their keys",
                len(gone),
                GONE,
            )
        if missing:
            logger.info("%d recipients that were read before have not come again", missing)

    async def _give_up(self, pending: Sequence[int], status: str, reason: str) -> None:
        at = self._wall()
        by_state: dict[State, list[int]] = {}
        for seq in pending:
            by_state.setdefault(self._dispatcher.abandoned_state(seq), []).append(seq)
        await self._writer.write(
            [Resolution(at, seqs, state, status, reason) for state, seqs in by_state.items()]
        )

    def _kept_back(self, remark: Remark) -> Resolution:
        state = self._dispatcher.abandoned_state(remark.seq, State.SUPPRESSED)
        to = AddressColumns.of([Addresses((remark.address,), (), (), remark.key)])
        return Resolution(self._wall(), [remark.seq], state, SUPPRESSED, remark.reason, to)

    async def _account_for_unfit(self, unfit: Sequence[Remark]) -> None:
        """Settle accepted rows that may not be mailed any more: suppressed, or given up.

        Given up are those that another run has mailed. The others that cannot be sent now stay
        pending, because their data may be corrected.
        """
        mailed = [remark.seq for remark in unfit if remark.status == EXCEPTED]
        if mailed:
            await self._give_up(mailed, EXCEPTED, EXCEPTED_TEXT)
        if suppressed := [remark for remark in unfit if remark.status == SUPPRESSED]:
            await self._writer.write([self._kept_back(remark) for remark in suppressed])
        left = (remark for remark in unfit if remark.state is not State.SUPPRESSED)
        self._unfit = self._unfit or next(left, None)

    async def _take_in_all(self) -> None:
        async with aclosing(self._source.rows()) as source:
            async for rows in source:
                chunk = await self._take(rows)
                await self._record_chunk(chunk)
                await self._account_for_unfit(chunk.unfit)
                self._dispatcher.backlog.offer(chunk.entries, self._now())
                self._sending.wake()
                while not self._dispatcher.backlog.wants_more:
                    await self._sending.room.wait_until(None)

    async def _take(self, rows: Sequence[Row]) -> Chunk:
        if self._screen is None:
            return self._intake.take(rows)
        async with self._screen.current():
            return self._intake.take(rows)

    async def _record_chunk(self, chunk: Chunk) -> None:
        """Record that these rows were read, unless an earlier process has recorded it."""
        if chunk.last < chunk.first:
            return
        head = self._source.head
        known, self._head = self._head, head
        taken = Taken(
            self._wall(),
            chunk.first,
            chunk.last,
            chunk.remarks,
            chunk.prints,
            head if head != known else None,
        )
        with self._dispatcher.backlog.recording():
            await self._writer.write([taken])
