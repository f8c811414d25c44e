"""The calls in flight: the step each has reached, how long SES takes, why no more start. Pure."""

from __future__ import annotations

from mailsluice.model.wait_reason import Reason

LATENCY_WEIGHT = 0.2
"""Weight of the newest answer in the mean of how long answers take."""

LATENCY_LONG_S = 1.0
"""If answers take longer than this, they are the reason that the in-flight limit is reached."""

SCARCE_SHARE = 7 / 8
"""Share of the calls at once above which every call is filled. Not below: a full batch leaves
nothing in the bucket for a late wake-up."""


class CallsInFlight:
    """The steps of each call, by batch number: started, ready, left, answered, landed.

    The journal is writing before a call is ready, and again between its answer and its landing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        """Calls at once."""
        self.number = 0
        """Calls under way."""
        self.latency_s = 0.0
        """Seconds to reach SES and get its answer, the mean of the last calls."""
        self._ready_at: dict[int, float] = {}
        self._turn_since: dict[int, float] = {}
        self._left_at: dict[int, float] = {}
        self._answered: dict[int, float] = {}

    @property
    def scarce(self) -> bool:
        """True if so few calls are allowed that each is worth filling."""
        return self.number >= self.most * SCARCE_SHARE

    def ready(self, batch: int, now: float) -> None:
        """Note that a batch's intent is durable: the transport has it from now on."""
        self._ready_at[batch] = now

    def waits(self, batch: int, now: float) -> None:
        """Note that a batch has a connection, and waits for its turn."""
        self._turn_since.setdefault(batch, now)

    def left(self, batch: int, now: float) -> None:
        """Note that a batch is being written."""
        self._left_at[batch] = now
        if batch in self._turn_since:  # the rate took that time, not SES
            self._ready_at[batch] += now - self._turn_since.pop(batch)

    def stays(self, batch: int) -> None:
        """Note that no byte of a batch was written: it waits for another turn, or is taken back."""
        self._left_at.pop(batch, None)

    def has_left(self, batch: int) -> bool:
        """Return True if some of a batch may have been written, and it has no answer."""
        return batch in self._left_at

    def answered(self, batch: int, now: float) -> None:
        """Note that SES has answered a batch, or never will."""
        self._answered[batch] = self._left_at.pop(batch, now)
        self._turn_since.pop(batch, None)
        newest = max(0.0, now - self._ready_at.pop(batch, now))
        self.latency_s += (newest - self.latency_s) * (LATENCY_WEIGHT if self.latency_s else 1)

    def landed(self, batch: int, now: float) -> float:
        """Note that a batch's outcome is durable. Return when it had left."""
        self.number -= 1
        return self._answered.pop(batch, now)

    def lost(self, batch: int) -> None:
        """Forget a call whose stream ended before its outcome was recorded."""
        for moments in (self._ready_at, self._turn_since, self._left_at):
            moments.pop(batch, None)
        self.landed(batch, 0.0)

    @property
    def why_full(self) -> Reason:
        """Return the reason why as many calls are under way as allowed."""
        if len(self._ready_at) < self.number / 2:
            return Reason.JOURNAL
        return Reason.LATENCY if self.latency_s > LATENCY_LONG_S else Reason.IN_FLIGHT
