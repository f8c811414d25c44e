"""One active run: its parts, its statistics, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import anyio

from mailsluice.dispatch.dispatcher import Dispatcher, DispatcherStatistics
from mailsluice.dispatch.pacer import PacerStatistics
from mailsluice.engine.pipeline import Pipeline
from mailsluice.engine.sending import Sending, SendingStatistics
from mailsluice.journal import Event
from mailsluice.journal.standing import FINISHED, HELD, STOPPED, WAITING, End, Standing
from mailsluice.journal.writer import Writer
from mailsluice.model import Counts
from mailsluice.model.hold import Hold
from mailsluice.model.shown import counted, numbered, shown
from mailsluice.model.wait_reason import Reason
from mailsluice.reports.report import Report
from mailsluice.sources import Source

logger = logging.getLogger(__name__)

CHRONICLE_S = 2.0
"""Interval between two checks of what a run waits for, seconds; only changes are recorded."""

CHRONICLE_AGAIN_S = 60.0
"""Interval between two records of the same reason with other figures, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """One moment of a run, for the display, the status and tests."""

    counts: Counts
    in_flight: int
    """Recipients of calls under way: they would be in doubt if the process ended now."""
    elapsed_s: float
    rate_per_s: float
    """Recipients sent per second by this process."""
    fraction_read: float | None
    """Part of the source read so far, 0.0-1.0; None if its size is unknown."""
    pacer: PacerStatistics
    dispatcher: DispatcherStatistics
    pipeline: SendingStatistics
    goes_on_at: float | None
    """When the daily quota has room again, seconds since the epoch; None if now, or unknown."""

    @property
    def why(self) -> str:
        """Why the run is not faster at this moment, in words."""
        return self.explained(self.pipeline.waiting_for)

    def explained(self, reason: Reason) -> str:
        """Return a reason in words, with its present figures."""
        pacer, dispatcher = self.pacer, self.dispatcher
        match reason:
            case Reason.RATE:
                return f"{reason}: {pacer.ceiling_per_s:,.6g} recipients/s are allowed"
            case Reason.THROTTLED:
                rates = f"{pacer.rate_per_s:,.6g}/s of {pacer.ceiling_per_s:,.6g}/s"
                return f"{reason}: SES does not take the whole rate; trying {rates}"
            case Reason.DAILY:
                return f"{reason}: {self._day_explained}"
            case Reason.LATENCY | Reason.IN_FLIGHT:
                calls = (
                    f"{dispatcher.in_flight_max} calls at once, {dispatcher.latency_s:.2g} s each"
                )
                return f"{reason}: {calls}; [delivery] in_flight allows more"
            case Reason.JOURNAL:
                return f"{reason}: its disk is slow to make durable what is about to be sent"
            case _:
                return str(reason)

    @property
    def _day_explained(self) -> str:
        daily = self.dispatcher.daily
        used = f"{daily.own:,} of {daily.limit:,.0f} are used"
        if daily.own < daily.limit:
            used = "SES says that it is used up"
        if daily.others:
            used += f", besides {daily.others:,.0f} by others"
        if self.goes_on_at is None:
            return used
        at = datetime.fromtimestamp(self.goes_on_at).astimezone()
        return f"{used}; it goes on at {at:%Y-%m-%d %H:%M %Z}"


class Current:
    """One run under way."""

    def __init__(  # noqa: PLR0913  # the run's parts, each once
        self,
        *,
        source: Source,
        writer: Writer,
        dispatcher: Dispatcher,
        pipeline: Pipeline,
        sending: Sending,
        wall: Callable[[], float],
        name: str,
    ) -> None:
        """`name` is the journal's, for log lines."""
        self._name = name
        self._source = source
        self._writer = writer
        self._dispatcher = dispatcher
        self._pipeline = pipeline
        self._sending = sending
        self._wall = wall
        self._began_at = anyio.current_time()
        self._sent_before = writer.standing.counts.sent
        self._ended = anyio.Event()

    async def run(self, *, stopping: bool) -> Report:
        """Run to the end, record how it ended, and report it."""
        if stopping:
            self._dispatcher.stop()
        before = counted(self._writer.standing.counts)
        logger.info("%s: the run %s", self._name, f"resumes: {before}" if before else "begins")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._chronicle)
            await self._pipeline.run()
            self._ended.set()
        hold = self._dispatcher.hold
        state: End = HELD if hold else FINISHED if self._dispatcher.complete else STOPPED
        await self._writer.write([Event(self._wall(), state, str(hold) if hold else "")])
        now = self.statistics()
        ended = f"{state}: {hold}" if hold else state
        logger.info(
            "%s: the run is %s: %s; %d calls, %.1f s",
            *(self._name, ended, counted(now.counts), now.pipeline.calls, now.elapsed_s),
        )
        return report_of(self._writer.standing, state, hold, now)

    def __repr__(self) -> str:
        standing = self._writer.standing
        in_flight = sum(map(len, standing.open.values()))
        calls = numbered(self._sending.statistics().calls, "calls")
        return shown(self, counted(standing.counts), numbered(in_flight, "in flight"), calls)

    async def _chronicle(self) -> None:
        """Record what keeps the run from sending faster, for `mailsluice status`."""
        recorded, recorded_at = "", 0.0
        before = self._sending.statistics().waited_s
        while True:
            with anyio.move_on_after(CHRONICLE_S):
                await self._ended.wait()
                return
            now = self._sending.statistics().waited_s
            waited_s = {reason: total - before.get(reason, 0.0) for reason, total in now.items()}
            before = now
            reason = max(waited_s, key=lambda reason: waited_s[reason])
            if sum(waited_s.values()) < CHRONICLE_S / 2:
                reason = Reason.MACHINE
            text = self.statistics().explained(reason)
            again = anyio.current_time() >= recorded_at + CHRONICLE_AGAIN_S
            if not recorded.startswith(reason) or (again and text != recorded):
                recorded, recorded_at = text, anyio.current_time()
                await self._writer.write([Event(self._wall(), WAITING, text)])

    def close(self) -> None:
        """Release the parts after the end, however it came."""
        self._pipeline.close()

    def pause(self, *, paused: bool) -> None:
        """Pause or resume. While paused, no new call starts."""
        self._dispatcher.pause(paused=paused)
        self._sending.wake()

    def stop(self) -> None:
        """Start no more calls."""
        self._dispatcher.stop()
        self._sending.wake()

    def statistics(self) -> Statistics:
        """Return the present statistics."""
        now = anyio.current_time()
        counts = self._writer.standing.counts
        elapsed_s = now - self._began_at
        dispatcher = self._dispatcher.statistics(now)
        goes_on_at = dispatcher.daily.goes_on_at
        return Statistics(
            counts=counts,
            in_flight=sum(map(len, self._writer.standing.open.values())),
            elapsed_s=elapsed_s,
            rate_per_s=(counts.sent - self._sent_before) / elapsed_s if elapsed_s else 0.0,
            fraction_read=self._source.fraction_read,
            pacer=self._dispatcher.pacer.statistics(now),
            dispatcher=dispatcher,
            pipeline=self._sending.statistics(),
            goes_on_at=None if goes_on_at is None else self._wall() + goes_on_at - now,
        )


def report_of(
    standing: Standing, state: End, hold: Hold | None = None, now: Statistics | None = None
) -> Report:
    """Make the report of a run left in `state`; `now` are its last statistics in this process."""
    return Report(
        state=state,
        hold=hold,
        counts=standing.counts,
        calls=now.pipeline.calls if now else 0,
        throttled=now.pipeline.throttled if now else 0,
        elapsed_s=now.elapsed_s if now else 0.0,
        rate_per_s=now.rate_per_s if now else 0.0,
        quota_rate_per_s=now.pacer.ceiling_per_s if now else 0.0,
    )
