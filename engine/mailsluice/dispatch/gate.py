"""What everything goes through that one engine sends: its pace, its day, its calls, its turn. Pure.

Several streams share it: a run, and the messages of each mailing. Of the lanes that have something
to send the one is next that has had the least of what it is due, and in it the stream that has had
least: start-time fair queueing (Goyal, Vin, Cheng, 1996), by weight, on two levels. Who had nothing
to send for a while has no credit for that, but is ahead of those that have been sending all the
time: his first batch is the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.dispatch.in_flight import Flights
from mailsluice.dispatch.pacer import Pacer
from mailsluice.model import LANE_SHARES, Lane

CALLS_KEPT = 1 / 8
"""Part of the calls at once, one at least, that the bulk lane leaves free for the other."""


def _nobody() -> None:
    """Wakes nobody."""


class Place:
    """One stream at the gate; made by `Gate.join`."""

    def __init__(self, lane: Lane, order: int) -> None:
        self.lane = lane
        self.wants = False
        """Whether it has something to send now."""
        self.wake: Callable[[], None] = _nobody
        """Called when it should look again."""
        self.had = 0.0
        """Weight that it has sent."""
        self.order = order


class _LaneTurn:
    """What a lane has had, and its places."""

    def __init__(self) -> None:
        self.had = 0.0
        """Weight, in parts of what the lane is due."""
        self.served = 0.0
        """By the place that was served last, before it was."""


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
        self.flights = Flights(in_flight_max)
        self.lane_shares = lane_shares
        """By weight: only their ratio counts."""
        self.hold: str | None = None
        """Why the account sends nothing at present, as GetAccount says."""
        self.refusal: str | None = None
        """Why the account's last call was refused, or could not be signed; None if it was not."""
        self.number = 0
        """Of the newest batch. Batches of all streams are numbered together."""
        self._places: list[Place] = []
        self._joined = 0
        self._lanes: dict[Lane, _LaneTurn] = {lane: _LaneTurn() for lane in LANE_SHARES}
        self._served = 0.0
        """By the lane that was served last, before it was."""

    def join(self, lane: Lane) -> Place:
        """One more stream; it ends by `leave`."""
        self._joined += 1
        place = Place(lane, self._joined)
        self._places.append(place)
        return place

    def leave(self, place: Place) -> None:
        """The stream has ended."""
        place.wants = False
        self._places.remove(place)
        place.wake = _nobody  # whoever it was refers to this
        self._wake_next(place)  # the last of its lane leaves more calls to the other

    def want(self, place: Place) -> None:
        """It has something to send, and may."""
        if place.wants:
            return
        lane = self._lanes[place.lane]
        if not any(each.wants for each in self._places if each.lane == place.lane):
            lane.had = max(lane.had, self._served)
        place.had = max(place.had, lane.served)
        place.wants = True

    def rest(self, place: Place) -> None:
        """It has nothing to send, or may not send it now."""
        if place.wants:
            place.wants = False
            self._wake_next(place)

    def may_start(self, place: Place) -> bool:
        """Whether there is a free call for it."""
        return self.flights.number < self.calls_max(place.lane)

    def is_next(self, place: Place) -> bool:
        """Whether it is its turn, of those that want it and for which there is a free call."""
        return self._next() is place

    def _next(self) -> Place | None:
        free = {lane for lane in LANE_SHARES if self.flights.number < self.calls_max(lane)}
        wanting = (each for each in self._places if each.wants and each.lane in free)
        return min(wanting, key=self._rank, default=None)

    def _rank(self, place: Place) -> tuple[float, bool, float, int]:
        """The lowest of those that want is next."""
        lane_had = self._lanes[place.lane].had
        return lane_had, place.lane != "transactional", place.had, place.order

    def served(self, place: Place, weight: int) -> int:
        """It sends a batch of that weight, the number of which is returned."""
        lane = self._lanes[place.lane]
        self._served, lane.served = lane.had, place.had
        lane.had += weight / self.lane_shares[place.lane]
        place.had += weight
        self._wake_next(place)
        self.number += 1
        return self.number

    def landed(self, place: Place, batch: int, now: float) -> float:
        """A call of it is over, and free for another. When it had left."""
        left_at = self.flights.landed(batch, now)
        self._wake_next(place)
        return left_at

    def calls_max(self, lane: Lane) -> int:
        """Calls under way of all streams, below which one of that lane may start another."""
        most = self.flights.most
        if lane == "transactional" or all(each.lane == "bulk" for each in self._places):
            return most
        return max(1, most - max(1, int(most * CALLS_KEPT)))

    def wake(self) -> None:
        """Have every stream look again."""
        for place in self._places:
            place.wake()

    def _wake_next(self, place: Place) -> None:
        """Have the one look again whose turn it is now; `place` is about to do so anyway."""
        found = self._next()
        if found is not None and found is not place:
            found.wake()
