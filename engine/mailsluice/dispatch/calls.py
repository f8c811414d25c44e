"""The calls of one stream, from the decision to the recorded outcome. Pure."""

from __future__ import annotations

from mailsluice.dispatch.gate import Gate, Member
from mailsluice.model import Batch


class Calls:
    """Takes a batch through its steps, and tells the gate, the pacer and the daily quota of each.

    In this order: `start`, `ready`, `leave` until its turn has come, `written` (or `stay`),
    `answered`, `land`.
    """

    def __init__(self, gate: Gate, member: Member, in_flight_max: int | None = None) -> None:
        """`in_flight_max` limits the calls of this stream, besides the gate's limit on all."""
        self._gate = gate
        self._member = member
        self._in_flight = gate.in_flight
        self._in_flight_max = in_flight_max or gate.in_flight.most
        self._under_way: dict[int, Batch] = {}
        """Batches that have started and not landed, by number."""

    @property
    def under_way(self) -> int:
        """Calls of this stream that have started and not landed."""
        return len(self._under_way)

    @property
    def at_once_max(self) -> int:
        """Calls that this stream may have under way."""
        return min(self._in_flight_max, self._in_flight.most)

    @property
    def are_full(self) -> bool:
        """True if this stream has as many calls under way as it may, whatever the gate allows."""
        return len(self._under_way) >= self._in_flight_max

    def start(self, batch: Batch, now: float) -> None:
        """Take the permits for a batch that was decided upon."""
        self._gate.pacer.spend(batch.weight, now)
        self._gate.daily.in_flight += batch.daily_weight
        self._in_flight.number += 1
        self._under_way[batch.number] = batch

    def lighten(self, left: Batch) -> None:
        """Note that only this is left of a batch that has no intent yet.

        The permits of what is left out are spent all the same.
        """
        was = self._under_way[left.number]
        self._gate.daily.in_flight -= was.daily_weight - left.daily_weight
        self._under_way[left.number] = left

    def ready(self, batch: Batch, now: float) -> None:
        """Note that the batch's intent is durable."""
        self._in_flight.ready(batch.number, now)

    def leave(self, batch: Batch, now: float) -> float:
        """Ask for the batch's turn: `now` if it may be written, else the moment to ask again.

        Call `written` after it has been written, or `stay` if it will not be.
        """
        moment = self._gate.pacer.leave(batch.number, batch.weight, now)
        if moment <= now:
            self._in_flight.left(batch.number, now)
        else:
            self._in_flight.waits(batch.number, now)
        return moment

    def written(self, batch: Batch, now: float) -> None:
        """Note that the batch has been written by now."""
        self._gate.pacer.written(batch.weight, now)

    def stay(self, batch: Batch) -> None:
        """Give the batch's turn back: it will not be written."""
        self._gate.pacer.stay(batch.number)
        self._in_flight.stays(batch.number)

    def has_left(self, number: int) -> bool:
        """Return True if some of a batch may have been written; ask before its answer is judged."""
        return self._in_flight.has_left(number)

    def answered(self, batch: Batch, now: float) -> None:
        """Note that SES has answered, or never will."""
        self._in_flight.answered(batch.number, now)

    def land(self, batch: Batch, now: float) -> float:
        """End a call whose outcome is durable. Return when the batch had left."""
        left_at = self._gate.landed(self._member, batch.number, now)
        del self._under_way[batch.number]
        self._gate.daily.in_flight -= batch.daily_weight
        return left_at

    def abandon(self) -> None:
        """Forget the calls that have not landed, because their stream has ended."""
        for batch in self._under_way.values():
            self._in_flight.lost(batch.number)
            self._gate.daily.in_flight -= batch.daily_weight
        self._under_way.clear()
