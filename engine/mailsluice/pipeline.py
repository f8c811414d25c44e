"""The flow of one run: source → intake → dispatcher → sender → settle → journal.

`sending` is the flow from the dispatcher on, which a run has in common with single messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import anyio

from mailsluice.dispatcher import Dispatcher
from mailsluice.errors import JournalError, SourceError
from mailsluice.intake import Intake
from mailsluice.journal import Taken
from mailsluice.journal.writer import Writer
from mailsluice.model import Chunk
from mailsluice.remedies import SOURCE_BROKEN
from mailsluice.sending import Sending
from mailsluice.sources import Source


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
    ) -> None:
        self._source = source
        self._intake = intake
        self._dispatcher = dispatcher
        self._sending = sending
        self._writer = writer
        self._wall = wall
        self._now = asyncio.get_running_loop().time
        self._caller_error: Exception | None = None
        self._broken: str | None = None
        """How the source broke off."""

    async def run(self) -> None:
        """Send until nothing is left, the run is held, or it is told to stop.

        Raises SourceError where the source breaks before its first row (after it, the run is held),
        JournalError where nothing more can be recorded, and what the caller's own iterable raises.
        What was in flight has been settled, or is in doubt in the journal.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._take_in)
            await self._sending.run()
            await self._sending.record_rulings(self._dispatcher.rule_on_suspects())
            if self._caller_error is not None:
                raise self._caller_error
            if self._dispatcher.complete:
                self._dispatcher.hold = self._dispatcher.hold or self._broken
            tasks.cancel_scope.cancel()  # intake, where the run ends before its source

    def close(self) -> None:
        """It has ended, in whatever way."""
        self._intake.close()
        self._dispatcher.close()

    async def _take_in(self) -> None:
        try:
            await self._take_in_all()
        except SourceError as error:
            if self._writer.standing.counts.read == 0:
                raise
            # What came before the break has been accepted, and is sent.
            self._broken = (
                f"{SOURCE_BROKEN}: {error}; what came before is settled: give the very same bytes "
                "again, or send what `export` does not list as a run of its own"
            )
            self._dispatcher.source_ended()
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001  # the caller's own; raised when all is drained
            self._caller_error = error
            self._dispatcher.stopping = True
        else:
            self._dispatcher.source_ended()
        self._sending.wake()

    async def _take_in_all(self) -> None:
        async with aclosing(self._source.rows()) as source:
            async for rows in source:
                chunk = self._intake.take(rows)
                await self._record_chunk(chunk)
                self._dispatcher.offer(chunk.entries, self._now())
                self._sending.wake()
                while not self._dispatcher.wants_more:
                    await self._sending.room.wait_until(None)

    async def _record_chunk(self, chunk: Chunk) -> None:
        """Make durable that these rows were read, unless an earlier process has done so."""
        known = self._writer.standing.counts.read
        if chunk.last <= known:
            return
        remarks = [remark for remark in chunk.remarks if remark.seq > known]
        first = max(chunk.first, known + 1)
        self._dispatcher.recording = True
        await self._writer.write([Taken(self._wall(), first, chunk.last, remarks)])
        self._dispatcher.recording = False
