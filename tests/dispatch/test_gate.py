"""Whose turn it is: shares, overtaking, no credit for idleness, calls that are kept free."""

from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.dispatch.dispatcher import Dispatcher, Send
from mailsluice.dispatch.gate import Gate, Member
from mailsluice.dispatch.pacer import Pacer
from mailsluice.model import Answer, Batch, Entry, EntryResult, Lane
from mailsluice.model.rolling_window import RollingDay
from mailsluice.ses.statuses import classify


def gate(in_flight: int = 32) -> Gate:
    return Gate(Pacer(1e6, 0.0), DailyQuota(RollingDay()), in_flight)


def saturated(gate: Gate, *places: Member, batches: int, weight: int = 50) -> Counter[Member]:
    """Weight that each has sent when all of them want all the time."""
    sent: Counter[Member] = Counter()
    for place in places:
        gate.activate(place)
    for _ in range(batches):
        [turn] = [place for place in places if gate.is_next(place)]
        gate.charge(turn, weight)
        sent[turn] += weight
    return sent


def test_lanes_that_both_want_more_than_there_is_share_nine_to_one() -> None:
    made = gate()
    bulk, urgent = made.join("bulk"), made.join("transactional")
    sent = saturated(made, bulk, urgent, batches=1000)
    assert sent[bulk] / sent.total() == pytest.approx(0.1, abs=0.01)


def test_lanes_share_as_they_are_told_and_otherwise_when_they_are_told_otherwise() -> None:
    made = gate()
    bulk, urgent = made.join("bulk"), made.join("transactional")
    for share in (0.5, 0.25, 0.9):
        # Only the ratio counts.
        made.lane_shares = {"bulk": 8 * share, "transactional": 8 * (1 - share)}
        sent = saturated(made, bulk, urgent, batches=1000)
        assert sent[bulk] / sent.total() == pytest.approx(share, abs=0.01)


def test_mailings_of_a_lane_share_alike_whatever_their_batches_weigh() -> None:
    made = gate()
    one, other = made.join("bulk"), made.join("bulk")
    for place in (one, other):
        made.activate(place)
    sent: Counter[Member] = Counter()
    for _ in range(1000):
        turn, weight = (one, 50) if made.is_next(one) else (other, 7)
        made.charge(turn, weight)
        sent[turn] += weight
    assert sent[one] == pytest.approx(sent[other], rel=0.05)


def test_what_comes_after_a_pause_is_next_and_has_no_credit() -> None:
    made = gate()
    bulk, urgent = made.join("bulk"), made.join("transactional")
    saturated(made, bulk, batches=100)
    made.activate(urgent)
    assert made.is_next(urgent)
    assert not made.is_next(bulk)
    sent = saturated(made, bulk, urgent, batches=20)
    assert sent[bulk] >= 50, "the hundred batches that it waited are not made up for"


def test_others_are_woken_when_a_turn_is_over_or_given_up() -> None:
    made, woken = gate(), []
    bulk, urgent = made.join("bulk"), made.join("transactional")
    bulk.wake = lambda: woken.append("bulk")
    urgent.wake = lambda: woken.append("urgent")
    made.activate(bulk)
    made.activate(urgent)
    made.charge(urgent, 1)
    assert woken == ["bulk"]
    made.deactivate(urgent)
    assert woken == ["bulk", "bulk"]
    made.leave(bulk)
    assert woken == ["bulk", "bulk"]
    made.wake()
    assert woken == ["bulk", "bulk", "urgent"]


@pytest.mark.parametrize(
    ("lanes", "most", "bulk_max"),
    [(["bulk"], 32, 32), (["bulk", "transactional"], 32, 28), (["bulk", "transactional"], 1, 1)],
)
def test_bulk_leaves_an_eighth_of_the_calls_free(
    lanes: list[Lane], most: int, bulk_max: int
) -> None:
    made = gate(most)
    places = [made.join(lane) for lane in lanes]
    for place in places:
        made.in_flight.number = 0
        while made.may_start(place):
            made.in_flight.number += 1
        assert made.in_flight.number == (bulk_max if place.lane == "bulk" else most)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(["want", "rest", "serve"]), st.integers(1, 50)
        ),
        max_size=60,
    )
)
def test_there_is_always_exactly_one_next_of_those_that_want(
    steps: list[tuple[int, str, int]],
) -> None:
    made = gate()
    places = [made.join(lane) for lane in ("bulk", "bulk", "transactional", "transactional")]
    for which, step, weight in steps:
        place = places[which]
        if step == "want":
            made.activate(place)
        elif step == "rest":
            made.deactivate(place)
        elif place.is_active and made.is_next(place):
            before = made.number
            assert made.charge(place, weight) == before + 1
        wanting = [each for each in places if each.is_active]
        assert sum(map(made.is_next, wanting)) == min(1, len(wanting))


def test_two_dispatchers_at_one_gate_keep_to_their_shares() -> None:
    made = Gate(Pacer(100.0, 0.0), DailyQuota(RollingDay()), 32)
    entry = Entry(1, 1, ("a@example.com",), (), (), None, b"{}")
    lanes: dict[Lane, Dispatcher] = {
        lane: Dispatcher(made, Attempts(attempts_max=3, in_doubt="hold"), lane=lane)
        for lane in ("bulk", "transactional")
    }
    sent: Counter[Lane] = Counter()
    now = 0.0
    while sent.total() < 3_000:
        for lane, dispatcher in lanes.items():
            while dispatcher.backlog.wants_more:
                dispatcher.backlog.offer([entry] * 100, now)
            if isinstance(decision := dispatcher.decide(now), Send):
                batch = decision.batch
                dispatcher.calls.ready(batch, now)
                assert dispatcher.calls.leave(batch, now) == now
                dispatcher.calls.written(batch, now)
                answer = Answer(results=(EntryResult("SUCCESS", "id"),) * len(batch.entries))
                verdicts = classify(answer, len(batch.entries))
                outcomes = dispatcher.judge(batch, verdicts, now)
                dispatcher.absorb(batch, verdicts, outcomes, now)
                sent[lane] += len(batch.entries)
        now += 0.01
    assert sent["bulk"] / sent.total() == pytest.approx(0.1, abs=0.02)
    assert sent.total() / now == pytest.approx(100, rel=0.05)


class Streams:
    """Dispatchers at one gate, each of which looks again only when it is woken."""

    def __init__(self, calls: int) -> None:
        self.gate = Gate(Pacer(1e9, 0.0), DailyQuota(RollingDay()), calls)
        self.under_way: list[tuple[int, Batch]] = []
        self.waiting = [0, 0, 0, 0]
        self.paused: set[int] = set()
        self._awake: set[int] = set()
        self._seq = 0
        lanes: list[Lane] = ["bulk", "bulk", "transactional", "transactional"]
        self.all = [
            Dispatcher(
                self.gate,
                Attempts(attempts_max=3, in_doubt="hold"),
                lane=lane,
                in_flight_max=1 + n,
                linger_s=0.0,
                one_caller_each=True,
            )
            for n, lane in enumerate(lanes)
        ]
        for n, dispatcher in enumerate(self.all):
            dispatcher.wake_by(partial(self._awake.add, n))

    def offer(self, which: int) -> None:
        self._seq += 1
        self.all[which].backlog.offer(
            [Entry(self._seq, 1, ("a@example.com",), (), (), None, b"{}")], 0.0
        )
        self.waiting[which] += 1
        self._look(which)

    def pause(self, which: int) -> None:
        self.paused ^= {which}
        self.all[which].pause(paused=which in self.paused)
        self._look(which)

    def land(self, which: int) -> None:
        """One of the calls under way, if there are any."""
        if self.under_way:
            n, batch = self.under_way.pop(which % len(self.under_way))
            answer = Answer(results=(EntryResult("SUCCESS", "id"),) * len(batch.entries))
            verdicts = classify(answer, len(batch.entries))
            outcomes = self.all[n].judge(batch, verdicts, 0.0)
            self.all[n].absorb(batch, verdicts, outcomes, 0.0)
            self._look(n)

    def _look(self, which: int) -> None:
        self._awake.add(which)
        while self._awake:
            n = min(self._awake)
            self._awake.remove(n)
            while isinstance(decision := self.all[n].decide(0.0), Send):
                self.under_way.append((n, decision.batch))
                self.waiting[n] -= len(decision.batch.entries)

    @property
    def could_start(self) -> list[int]:
        """Those that stand still though they have something to send, and a call is free."""
        own = Counter(n for n, _ in self.under_way)
        bulk_max = self.gate.calls_max("bulk")
        return [
            n
            for n in range(len(self.all))
            if self.waiting[n] > 0
            and n not in self.paused
            and own[n] < 1 + n
            and len(self.under_way) < (bulk_max if n < 2 else self.gate.in_flight.most)
        ]


@given(
    calls=st.integers(1, 6),
    steps=st.lists(
        st.tuples(st.sampled_from(["offer", "offer", "land", "pause"]), st.integers(0, 3)),
        max_size=60,
    ),
)
def test_nobody_stands_still_while_a_call_is_free(calls: int, steps: list[tuple[str, int]]) -> None:
    streams = Streams(calls)
    for step, which in steps:
        getattr(streams, step)(which)
        assert not streams.could_start
