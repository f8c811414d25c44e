"""One mailing in the worker's hands, and where it stands."""

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
    counts: Counts | None = None
    """What its journal says; None while that is not known, and while it is being sent."""
    fraction_read: float | None = None
    """Of its list, by its last run here."""
    engine: Engine | None = None
    paused: bool = False
    cancelled: bool = False
    marking: anyio.Lock = field(default_factory=anyio.Lock)
    """Held while what an operator says is written, or read."""
    waiting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Its wait for its turn among those that are sent at once."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set when it is to be tried again before its time, or given up."""
    left: anyio.Event = field(default_factory=anyio.Event)
    """Set when nothing more is done about it here."""

    @property
    def statistics(self) -> Statistics | None:
        """The present moment of its run; None where it is not running."""
        return self.engine.statistics() if self.engine else None

    @property
    def known_counts(self) -> Counts:
        """Of its recipients, as far as it is known here."""
        now = self.statistics
        return now.counts if now else self.counts or Counts()

    def state_shown(self, *, paused: bool) -> JobState:
        """Where it stands for who looks at it, where the worker is paused or not."""
        return JobState.PAUSED if paused and self.state is JobState.SENDING else self.state

    def wind_up(self) -> None:
        """Start no more calls of it, and wait for nothing."""
        if self.engine is not None:
            self.engine.stop()
        self.waiting.cancel()
        self.changed.set()
