"""What leaves, leaves at the rate, wherever the process is stopped and however long it takes."""

import heapq
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.dispatch import batching
from mailsluice.dispatch.pacer import Pacer
from tests.support.rate import excess

ROUNDING = 1e-6


class Job(NamedTuple):
    """A batch: when it is started, how long until its bytes can leave, its weight."""

    started_at: float
    takes_s: float
    weight: int


class Machine:
    """One thread, which may be stopped before any step; it does what is due, in order."""

    def __init__(self, pacer: Pacer, jobs: Iterable[Job], stops: Iterable[float]) -> None:
        self.now = 0.0
        self.written: list[tuple[float, int]] = []
        self._pacer = pacer
        self._stops = iter(stops)
        self._steps = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        for number, job in enumerate(jobs, 1):
            self._at(job.started_at + job.takes_s, self._ask, number, job.weight)

    def run(self) -> None:
        while self._due:
            when, _, step = heapq.heappop(self._due)
            self.now = max(self.now, when) + next(self._stops, 0.0)
            step()

    def _at(self, when: float, step: Callable[..., None], *args: int) -> None:
        self._steps += 1
        heapq.heappush(self._due, (when, self._steps, lambda: step(*args)))

    def _ask(self, number: int, weight: int) -> None:
        moment = self._pacer.leave(number, weight, self.now)
        if moment > self.now:
            self._at(moment, self._ask, number, weight)
        else:
            self._at(self.now, self._write, weight)

    def _write(self, weight: int) -> None:
        self.written.append((self.now, weight))
        self._at(self.now, self._pacer_written, weight)

    def _pacer_written(self, weight: int) -> None:
        self._pacer.written(weight, self.now)


jobs = st.lists(
    st.builds(
        Job,
        st.floats(0, 3),
        st.sampled_from([0.0, 0.0, 0.01, 2.0, 5.0]),
        st.one_of(st.integers(1, 50), st.just(50)),
    ),
    min_size=1,
    max_size=60,
)
stops = st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.3, 5.0]), max_size=200)


@given(rate=st.floats(0.5, 5000), jobs=jobs, stops=stops)
def test_no_window_holds_more_than_the_rate_and_one_batch_wherever_it_is_stopped(
    rate: float, jobs: list[Job], stops: list[float]
) -> None:
    machine = Machine(Pacer(rate, 0.0), jobs, stops)
    machine.run()
    batch = max(batching.size_for(rate), *(job.weight for job in jobs))
    assert len(machine.written) == len(jobs)
    assert excess(machine.written, rate, batch) <= ROUNDING


@given(rate=st.floats(2, 5000), jobs=jobs, stops=stops)
def test_what_has_waited_leaves_at_the_whole_rate(
    rate: float, jobs: list[Job], stops: list[float]
) -> None:
    machine = Machine(Pacer(rate, 0.0), jobs, stops)
    machine.run()
    ready = max(job.started_at + job.takes_s for job in jobs) + sum(stops)
    whole = sum(job.weight for job in jobs) + max(job.weight for job in jobs)
    assert machine.now <= ready + whole / rate + ROUNDING


def test_those_that_missed_their_turns_together_do_not_leave_together() -> None:
    # Handshakes of 5 s: all of 32 calls could leave in the same moment.
    machine = Machine(Pacer(200.0, 0.0), [Job(n * 0.15, 5 - n * 0.15, 30) for n in range(32)], ())
    machine.run()
    assert [weight for moment, weight in machine.written if moment < 6] == [30] * 8
    assert excess(machine.written, 200.0, 50) <= ROUNDING


def test_who_was_ready_first_leaves_first() -> None:
    pacer = Pacer(100.0, 0.0)
    assert pacer.leave(1, 50, 0.0) == 0.0
    pacer.written(50, 0.0)
    assert pacer.leave(2, 50, 0.0) == 0.5
    assert pacer.leave(3, 1, 0.1) == pytest.approx(0.51)
    assert pacer.leave(3, 1, 0.4) == pytest.approx(0.51)
    pacer.stay(2)  # its call was cancelled
    assert pacer.leave(3, 1, 0.4) == 0.4


def test_a_limit_on_calls_holds_for_what_leaves_too() -> None:
    pacer = Pacer(1000.0, 0.0, calls_per_s=2.0)
    moments = [pacer.leave(number, 1, 5.0) for number in (1, 2, 3)]
    assert moments == [5.0, 5.5, 5.5]
    pacer.written(1, 5.0)
    assert [pacer.leave(number, 1, 5.5) for number in (2, 3)] == [5.5, 6.0]


def test_a_stop_between_turn_and_write_lets_no_second_batch_out() -> None:
    pacer = Pacer(100.0, 0.0)
    assert pacer.leave(1, 30, 0.0) == 0.0
    # It is stopped for a minute here, and writes then: the bucket is not full beside it.
    assert pacer.leave(2, 30, 60.0) == pytest.approx(60.1)
    pacer.written(30, 60.0)
    assert pacer.leave(2, 30, 60.0) == pytest.approx(60.1)
    assert pacer.leave(2, 30, 60.1) == 60.1


def test_no_clock_makes_up_for_lost_time() -> None:
    # A suspended machine, a virtual one that is restored: the clock goes on, or leaps, or has not.
    pacer = Pacer(100.0, 1e6)
    now = 1e6
    for number, leap in zip(range(1, 8), repeat(86_400.0), strict=False):
        now += leap
        assert pacer.leave(number, 50, now) == now
        assert pacer.leave(number + 100, 50, now) > now
        pacer.stay(number + 100)
        pacer.written(50, now)


def test_batches_that_take_less_than_a_timer_can_tell_leave_without_asking_twice() -> None:
    pacer = Pacer(1e9, 0.0)
    asked = [pacer.leave(number, 50, 0.0) for number in range(32)]
    assert asked == [0.0] * 32  # none of them has been written yet


def test_up_to_the_rate_of_a_timer_one_batch_leaves_until_it_is_written() -> None:
    pacer = Pacer(50_000, 0.0)
    assert pacer.leave(1, 50, 0.0) == 0.0
    assert pacer.leave(2, 50, 1.0) > 1.0
    pacer.written(50, 1.0)
    assert pacer.leave(2, 50, 1.001) == 1.001
