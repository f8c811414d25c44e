"""Counters of what this process has done so far."""

from __future__ import annotations

from collections import Counter

from mailsluice.engine.sending import BatchSettled
from mailsluice.model import LANE_SHARES, Lane, State


class Counters:
    """Counts call by call: `settled` is an engine's `on_event` hook."""

    def __init__(self) -> None:
        self.calls = 0
        self.states: dict[Lane, Counter[State]] = {lane: Counter() for lane in LANE_SHARES}
        """Attempts by outcome; pending: deferred."""
        self.statuses: Counter[str] = Counter()
        """Attempts that sent nothing, by SES's status."""

    def settled(self, event: BatchSettled) -> None:
        """Count a call that has its answer."""
        self.calls += 1
        self.states[event.lane].update(event.states)
        self.statuses.update(event.statuses)
