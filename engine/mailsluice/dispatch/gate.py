"""Admission control shared by all streams of an engine: rate, day, calls in flight, turns. Pure.

A stream is a run, or the messages of one mailing. The next lane is the one furthest below its
weighted share; within the lane, the stream served least goes next: start-time fair queueing (Goyal,
Vin, Cheng, 1996), by weight, on two levels. A stream that had nothing to send for a while gets no
credit for that, but comes before those that were sending all the time: its first batch is the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.dispatch.in_flight import CallsInFlight
from mailsluice.dispatch.pacer import Pacer
from mailsluice.model import LANE_SHARES, Lane
from mailsluice.model.hold import Hold

CALLS_KEPT = 1 / 8
"""Part of the calls at once, one at least, that the bulk lane leaves free for the other lane."""


def _nobody() -> None:
    """Do nothing: the `wake` of a stream that has left."""


class Member:
    """One stream at the gate; made by `Gate.join`."""

    def __init__(self, lane: Lane, order: int) -> None:
        self.lane = lane
        self.is_active = False
        """True if the stream has something to send now, and may."""
        self.wake: Callable[[], None] = _nobody
        """Called when the stream should decide again."""
        self.served = 0.0
        """Weight that the stream has sent."""
        self.order = order


class _LaneTurn:
    """A lane's place in the fair queueing: what it has sent, and where its members start."""

    def __init__(self) -> None:
        self.served = 0.0
        """Weight that the lane has sent, divided by its share."""
        self.start = 0.0
        """The `served` from which a member that is activated starts: the last charged one's."""


class Gate:
    """One account's pace, day and calls under way, and the streams that share them."""

    def __init__(
        self,
        pacer: Pacer,
        daily: DailyQuota,
        in_flight_max: int,
        lane_shares: Mapping[Lane, float] = LANE_SHARES,
    ) -> None:
        self.pacer = pacer
        self.daily = daily
        self.in_flight = CallsInFlight(in_flight_max)
        self.lane_shares = lane_shares
        """Shares of the lanes by weight; only their ratio counts."""
        self.hold: Hold | None = None
        """Why the account sends nothing at present, as GetAccount says."""
        self.refusal: Hold | None = None
        """Why the account's last call was refused, or could not be signed; None if it was not."""
        self.number = 0
        """Number of the newest batch. Batches of all streams are numbered together."""
        self._members: list[Member] = []
        self._joined = 0
        self._lanes: dict[Lane, _LaneTurn] = {lane: _LaneTurn() for lane in LANE_SHARES}
        self._start = 0.0
        """`served` of the last charged lane before its charge: an activated lane starts here."""

    def join(self, lane: Lane) -> Member:
        """Add a stream; `leave` removes it."""
        self._joined += 1
        member = Member(lane, self._joined)
        self._members.append(member)
        return member

    def leave(self, member: Member) -> None:
        """Remove a stream that has ended."""
        member.is_active = False
        self._members.remove(member)
        member.wake = _nobody  # its owner may hold a reference to this member
        self._wake_next(member)  # the last of its lane leaves more calls to the other

    def activate(self, member: Member) -> None:
        """Note that a stream has something to send, and may."""
        if member.is_active:
            return
        lane = self._lanes[member.lane]
        if not any(each.is_active for each in self._members if each.lane == member.lane):
            lane.served = max(lane.served, self._start)
        member.served = max(member.served, lane.start)
        member.is_active = True

    def deactivate(self, member: Member) -> None:
        """Note that a stream has nothing to send, or may not send it now."""
        if member.is_active:
            member.is_active = False
            self._wake_next(member)

    def may_start(self, member: Member) -> bool:
        """Return True if a call is free for this stream."""
        return self.in_flight.number < self.calls_max(member.lane)

    def is_next(self, member: Member) -> bool:
        """Return True if it is this stream's turn among the active ones that may start a call."""
        return self._next() is member

    def _next(self) -> Member | None:
        free = {lane for lane in LANE_SHARES if self.in_flight.number < self.calls_max(lane)}
        active = (each for each in self._members if each.is_active and each.lane in free)
        return min(active, key=self._rank, default=None)

    def _rank(self, member: Member) -> tuple[float, bool, float, int]:
        """Return a stream's rank: the active one with the lowest rank is next."""
        lane_served = self._lanes[member.lane].served
        return lane_served, member.lane != "transactional", member.served, member.order

    def charge(self, member: Member, weight: int) -> int:
        """Count a batch of that weight against a stream; return the batch's number."""
        lane = self._lanes[member.lane]
        self._start, lane.start = lane.served, member.served
        lane.served += weight / self.lane_shares[member.lane]
        member.served += weight
        self._wake_next(member)
        self.number += 1
        return self.number

    def landed(self, member: Member, batch: int, now: float) -> float:
        """Free the call of a batch whose outcome is durable. Return when the batch had left."""
        left_at = self.in_flight.landed(batch, now)
        self._wake_next(member)
        return left_at

    def calls_max(self, lane: Lane) -> int:
        """Return the number of calls under way below which a stream of `lane` may start one."""
        most = self.in_flight.most
        if lane == "transactional" or all(each.lane == "bulk" for each in self._members):
            return most
        return max(1, most - max(1, int(most * CALLS_KEPT)))

    def wake(self) -> None:
        """Have every stream decide again."""
        for member in self._members:
            member.wake()

    def _wake_next(self, member: Member) -> None:
        """Have the next stream decide again, unless it is `member`, which is about to anyway."""
        found = self._next()
        if found is not None and found is not member:
            found.wake()
