"""One mailing of the worker, and its state."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from mailsluice.engine.engine import Engine
from mailsluice.engine.run import Statistics
from mailsluice.model import Counts
from mailsluice.reports.report import Report


class JobState(enum.StrEnum):
    """The state of a mailing."""

    WAITING = "waiting"
    """Claimed, and waiting for a place among those that are being sent."""
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


@dataclass(slots=True)
class Job:
    """One mailing of the worker."""

    name: str
    path: Path
    state: JobState = JobState.WAITING
    why: str | None = None
    """The reason of a hold or failure."""
    report: Report | None = None
    """The report of its last run in this process."""
    counts: Counts | None = None
    """The journal's counts; None until they are known, and while it is being sent."""
    fraction_read: float | None = None
    """Share of the list that its last run in this process has read."""
    engine: Engine | None = None
    paused: bool = False
    cancelled: bool = False
    marking: anyio.Lock = field(default_factory=anyio.Lock)
    """Lock for writing and reading an operator's orders."""
    waiting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Scope of its wait for a place among those that are being sent."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set when it is to be tried again early, or abandoned."""
    left: anyio.Event = field(default_factory=anyio.Event)
    """Set when this worker does nothing more with it."""

    @property
    def statistics(self) -> Statistics | None:
        """Return the statistics of its run; None if it is not running."""
        return self.engine.statistics() if self.engine else None

    @property
    def known_counts(self) -> Counts:
        """Return the counts of its recipients, as far as this process knows them."""
        now = self.statistics
        return now.counts if now else self.counts or Counts()

    def state_shown(self, *, paused: bool) -> JobState:
        """Return the state to show: PAUSED if the worker is paused while this one is sending."""
        return JobState.PAUSED if paused and self.state is JobState.SENDING else self.state

    def wind_up(self) -> None:
        """Start no more calls of this mailing, and end its waits."""
        if self.engine is not None:
            self.engine.stop()
        self.waiting.cancel()
        self.changed.set()
