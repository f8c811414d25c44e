"""The calls under way: where each of them is, how long SES takes, why there are no more. Pure."""

from __future__ import annotations

from mailsluice.model.wait_reason import Reason

LATENCY_WEIGHT = 0.2
"""Of the newest answer, in the mean of how long answers take."""

LATENCY_LONG_S = 1.0
"""Answers that take longer than this are the reason where the in-flight limit is reached."""

SCARCE_SHARE = 7 / 8
"""Part of the calls at once from which on each is filled. Not earlier: a full batch leaves nothing
in the bucket for waking up late."""


class Flights:
    """By batch number; in this order each is started, is ready, leaves, is answered, and lands.

    It is in the journal's hands before it is ready, and again between its answer and its landing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        """Calls at once."""
        self.number = 0
        """Calls under way."""
        self.latency_s = 0.0
        """What SES takes to be reached and to answer, the mean of the last calls."""
        self._ready_at: dict[int, float] = {}
        self._turn_since: dict[int, float] = {}
        self._left_at: dict[int, float] = {}
        self._answered: dict[int, float] = {}

    @property
    def scarce(self) -> bool:
        """Whether it is the number of calls that is scarce, so that each is worth filling."""
        return self.number >= self.most * SCARCE_SHARE

    def ready(self, batch: int, now: float) -> None:
        """Its intent is durable: from now on it is the transport's."""
        self._ready_at[batch] = now

    def waits(self, batch: int, now: float) -> None:
        """It has a connection, and waits for its turn."""
        self._turn_since.setdefault(batch, now)

    def left(self, batch: int, now: float) -> None:
        """It is being written."""
        self._left_at[batch] = now
        if batch in self._turn_since:  # that time was the rate's, and not SES's
            self._ready_at[batch] += now - self._turn_since.pop(batch)

    def stays(self, batch: int) -> None:
        """Note that no byte of it was written: it waits for another turn, or is taken back."""
        self._left_at.pop(batch, None)

    def has_left(self, batch: int) -> bool:
        """Whether some of it may have been written, and it has no answer."""
        return batch in self._left_at

    def answered(self, batch: int, now: float) -> None:
        """SES has answered, or never will."""
        self._answered[batch] = self._left_at.pop(batch, now)
        self._turn_since.pop(batch, None)
        newest = max(0.0, now - self._ready_at.pop(batch, now))
        self.latency_s += (newest - self.latency_s) * (LATENCY_WEIGHT if self.latency_s else 1)

    def landed(self, batch: int, now: float) -> float:
        """Its outcome is durable. When it had left."""
        self.number -= 1
        return self._answered.pop(batch, now)

    def lost(self, batch: int) -> None:
        """It never will land: what had it in hand has ended."""
        for moments in (self._ready_at, self._turn_since, self._left_at):
            moments.pop(batch, None)
        self.landed(batch, 0.0)

    @property
    def why_full(self) -> Reason:
        """Why as many calls are under way as may be."""
        if len(self._ready_at) < self.number / 2:
            return Reason.JOURNAL
        return Reason.LATENCY if self.latency_s > LATENCY_LONG_S else Reason.IN_FLIGHT
