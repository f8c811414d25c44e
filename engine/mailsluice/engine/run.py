"""One run under way: its parts, how it ends, and what can be said of it meanwhile."""

from __future__ import annotations

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
from mailsluice.model.wait_reason import Reason
from mailsluice.reports.report import Report
from mailsluice.sources import Source

CHRONICLE_S = 2.0
"""Between two looks at what a run waits for; the journal is told only what has changed."""

CHRONICLE_AGAIN_S = 60.0
"""Between two records of the same reason with other figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """One moment of a run; display, tests and status read it."""

    counts: Counts
    in_flight: int
    """Recipients of calls under way: they would be in doubt if the process ended now."""
    elapsed_s: float
    rate_per_s: float
    """Recipients sent per second by this process."""
    fraction_read: float | None
    """Part of the source read so far, 0.0-1.0; None where its size is unknown."""
    pacer: PacerStatistics
    dispatcher: DispatcherStatistics
    pipeline: SendingStatistics
    goes_on_at: float | None
    """Seconds since the epoch, where the daily quota has no room and it is known when it has."""

    @property
    def why(self) -> str:
        """Why it is not faster at this moment, for a person."""
        return self.explained(self.pipeline.waiting_for)

    def explained(self, reason: Reason) -> str:
        """That reason, with its figures at this moment."""
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
    ) -> None:
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
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._chronicle)
            await self._pipeline.run()
            self._ended.set()
        hold = self._dispatcher.hold
        state: End = HELD if hold else FINISHED if self._dispatcher.complete else STOPPED
        await self._writer.write([Event(self._wall(), state, str(hold) if hold else "")])
        now = self.statistics()
        return report_of(self._writer.standing, state, hold, now)

    async def _chronicle(self) -> None:
        """Have the journal say what keeps the run from sending faster, for `mailsluice status`."""
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
        """It has ended, in whatever way."""
        self._pipeline.close()

    def pause(self, *, paused: bool) -> None:
        """Whether nothing is to be started, until the opposite is said."""
        self._dispatcher.pause(paused=paused)
        self._sending.wake()

    def stop(self) -> None:
        """Start nothing more."""
        self._dispatcher.stop()
        self._sending.wake()

    def statistics(self) -> Statistics:
        """The present moment."""
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
    """The report of a run that is left in `state`; `now` is its last moment in this process."""
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
