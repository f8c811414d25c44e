"""The rate that throttles leave, step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.dispatch.adaptive_rate import CUT, FLOOR, TOLERATED, AdaptiveRate, Answered


def throttle(rate: AdaptiveRate, number: int, now: float, *, latest: int | None = None) -> None:
    rate.answered(Answered(number, 0, 10, now), latest or number, now)


def test_throttles_of_batches_from_before_the_slow_down_count_once() -> None:
    rate = AdaptiveRate(100.0)
    throttle(rate, 3, 1.0, latest=10)
    throttle(rate, 9, 1.0, latest=10)
    assert (rate.at(1.0), rate.throttles) == (100 * (1 - CUT), 1)
    throttle(rate, 11, 1.0, latest=12)
    assert rate.at(1.0) == pytest.approx(100 * (1 - CUT) ** 2)


def test_a_batch_throttled_in_part_slows_down_by_that_part() -> None:
    rate = AdaptiveRate(100.0)
    rate.answered(Answered(1, 30, 10, 0.0), 1, 0.0)
    assert rate.at(0.0) == pytest.approx(100 * (1 - CUT / 4))


def test_what_was_taken_between_two_throttles_is_the_limit() -> None:
    rate = AdaptiveRate(500.0)
    throttle(rate, 1, 10.0)
    for number in range(2, 72):
        rate.answered(Answered(number, 10, 0, 10 + number / 35), number, 10 + number / 35)
    throttle(rate, 72, 12.0)
    assert rate.at(12.0) == pytest.approx(350 * 0.9)
    assert rate.at(15.0) == pytest.approx(350, rel=0.01), "it lingers at what SES took"
    assert rate.at(22.0) == 500, "and is back within 10 s"


@given(
    ceiling=st.floats(0.2, 5000),
    throttles=st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 200)), max_size=30),
)
def test_whatever_was_throttled_the_rate_stays_in_bounds_and_comes_back(
    ceiling: float, throttles: list[tuple[float, int]]
) -> None:
    rate = AdaptiveRate(ceiling)
    now = 0.0
    for number, (after, accepted) in enumerate(throttles, 1):
        now += after
        rate.answered(Answered(number, accepted, 10, now), number, now)
        assert FLOOR * ceiling * 0.999 <= rate.at(now) <= ceiling
    rates = [rate.at(now + second / 10) for second in range(1200)]
    assert rates == sorted(rates)
    assert rates[-1] == ceiling


def test_strays_do_not_wear_it_down() -> None:
    rate = AdaptiveRate(1000.0)
    for number in range(1, 3000):
        stray = number % 4 == 0 and number > 100  # one recipient in 200
        rate.answered(Answered(number, 50 - stray, stray, number / 20), number, number / 20)
    assert TOLERATED > 1 / 200
    assert (rate.at(150.0), rate.throttles) == (1000, 0)


def test_a_new_ceiling_leaves_a_cut_where_it_is() -> None:
    rate = AdaptiveRate(100.0)
    throttle(rate, 1, 0.0)
    rate.set_ceiling(1000.0, 0.0)
    assert rate.at(0.0) == 80
    rate.set_ceiling(50.0, 0.0)
    assert rate.at(0.0) == 50
