"""The rolling 24 hours: never more than the quota in any of them, whoever sends."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.dispatch.daily_quota import MEMORY_SHARE, DailyQuota
from mailsluice.model.rolling_window import DAY_S, STEPS, RollingDay, Sends

STEP_S = DAY_S / STEPS
EPOCH_S = 1_700_000_000.0
MEMORY_S = DAY_S * MEMORY_SHARE


def quota(daily_max: float, sent: float = 0, **limits: float) -> DailyQuota:
    made = DailyQuota(RollingDay(), **limits)
    made.learn(daily_max, sent, 0.0)
    return made


@given(
    sends=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 59.0, 3600.0, 40_000.0]), st.integers(1, 400)),
        max_size=60,
    )
)
def test_no_day_of_any_phase_sees_more_than_the_quota(sends: list[tuple[float, int]]) -> None:
    made = quota(1000)
    accepted: deque[tuple[float, int]] = deque()
    now = 0.0
    for after, wanted in sends:
        now += after
        weight = max(0, min(wanted, int(made.room(now))))
        made.accepted(weight, now)
        accepted.append((now, weight))
        while accepted[0][0] <= now - DAY_S:
            accepted.popleft()
        assert sum(n for _, n in accepted) <= 1000


def test_it_says_when_it_goes_on_and_it_does() -> None:
    made = quota(100)
    made.accepted(60, 0.0)
    made.accepted(40, 5 * STEP_S)
    assert made.room(6 * STEP_S) == 0
    assert made.goes_on_at(1, 6 * STEP_S) == DAY_S
    assert made.statistics(6 * STEP_S).goes_on_at == DAY_S
    assert made.room(DAY_S) == 60
    assert made.goes_on_at(61, DAY_S) == DAY_S + 5 * STEP_S


def test_calls_under_way_count() -> None:
    made = quota(100)
    made.in_flight = 70
    assert made.room(0.0) == 30
    made.in_flight = 0
    made.accepted(50, 1.0)  # the others of them were throttled
    assert made.room(1.0) == 50


def test_what_others_have_sent_is_what_ses_counts_above_ours() -> None:
    made = quota(100, sent=30)
    assert made.room(0.0) == 70
    made.accepted(50, 1.0)
    # SES's figure lags: it hides the others for as long as this run sends.
    made.learn(100, 60, 2.0)
    assert made.statistics(2.0).others == 30
    made.learn(100, 80, 60.0)
    assert (made.statistics(60.0).others, made.room(60.0)) == (30, 20)
    # What is seen of them for long enough is true: their day is over.
    made.learn(100, 50, 60 + 2 * MEMORY_S)
    assert made.room(60 + 2 * MEMORY_S) == 50


@pytest.mark.parametrize(
    ("limits", "sent", "room"),
    [
        ({}, 0, 1000),
        ({"share": 0.5}, 0, 500),
        ({"share": 0.5}, 400, 500),
        ({"share": 0.5}, 700, 300),
        ({"reserve": 300}, 0, 700),
        ({"reserve": 300, "share": 0.5}, 300, 400),
        ({"reserve": 2000}, 0, -1000),
    ],
)
def test_share_is_what_this_run_may_use_and_reserve_what_is_left_for_others(
    limits: dict[str, float], sent: float, room: float
) -> None:
    assert quota(1000, sent, **limits).room(0.0) == room


@pytest.mark.parametrize("made", [quota(1000), quota(-1), DailyQuota(RollingDay())])
def test_a_refusal_stops_for_a_minute_whatever_has_been_counted(made: DailyQuota) -> None:
    room = made.room(0.0)
    made.refused(5.0)
    assert (made.room(5.0), made.goes_on_at(1, 5.0)) == (0, 5.0 + STEP_S)
    assert made.room(5.0 + STEP_S) == room > 0


def test_unlimited_is_unlimited() -> None:
    assert quota(-1, sent=1e9).room(0.0) == float("inf")


def sends(*records: tuple[float, int]) -> Sends:
    made = Sends()
    for hours, weight in records:
        made.add(weight, EPOCH_S + hours * 3600)
    return made


def test_a_window_is_the_same_on_another_clock() -> None:
    day = sends((0, 10)).day(EPOCH_S + 3600, 7000.0, DAY_S)
    assert (day.used(7000.0), day.frees_at(1), day.used(3400.0 + DAY_S)) == (
        10,
        3400.0 + DAY_S,
        0,
    )


@pytest.mark.parametrize("jump_h", [-240, -24, -1, 1, 24, 240])
@pytest.mark.parametrize("for_a_while", [True, False])
def test_a_clock_that_was_set_takes_nothing_out_of_the_window_and_keeps_nothing_for_days(
    jump_h: float, *, for_a_while: bool
) -> None:
    """Four sends an hour apart; the clock is wrong from the second on, to the third or the end."""
    wrong = [0, jump_h, jump_h, 0 if for_a_while else jump_h]
    made = sends(*((hour + by, 10) for hour, by in enumerate(wrong)))
    wall = EPOCH_S + 4 * 3600  # which is right again
    day = made.day(wall, 0.0, DAY_S)
    assert day.used(0.0) == 40
    assert day.used(20 * 3600 - 1) == 40
    assert day.used(DAY_S) == 0


def test_what_was_sent_days_ago_is_not_counted_whatever_the_clock_was_then() -> None:
    made = sends((0, 10), (5, 10), (-3, 10))
    assert made.day(EPOCH_S + 30 * 3600, 0.0, DAY_S).used(0.0) == 0


def test_one_record_with_a_wrong_clock_does_not_delay_those_after_it() -> None:
    made = sends((0, 10), (240, 10), (1, 10), (20, 10))
    day = made.day(EPOCH_S + 26 * 3600, 0.0, DAY_S)
    assert (day.used(0.0), day.frees_at(10)) == (10, 18 * 3600)


def test_records_of_calls_that_ended_together_share_a_step() -> None:
    made = sends((1, 10), (0.9999, 10), (1.0001, 10))
    assert len(made.day(EPOCH_S + DAY_S, 0.0, DAY_S).steps) == 1


def test_refusals_in_a_row_are_tried_again_less_and_less_often_one_call_at_a_time() -> None:
    made = DailyQuota(RollingDay())
    now, waits = 0.0, []
    for _ in range(7):
        made.refused(now)
        until = made.goes_on_at(1, now)
        assert until is not None
        waits.append((until - now) / STEP_S)
        now = until
        assert made.room(now) > 0
        made.in_flight = 1
        assert made.room(now) == 0
        made.in_flight = 0
    assert waits == [1, 2, 4, 8, 16, 16, 16]
    made.accepted(1, now)
    made.in_flight = 5
    assert made.room(now) == float("inf")


def test_what_others_had_sent_has_left_the_window_a_day_later() -> None:
    made = quota(100, sent=100)
    assert made.goes_on_at(1, 2 * MEMORY_S) == DAY_S
    assert made.room(DAY_S) == 100


def test_a_quota_of_nothing_is_waited_for_and_no_fault_of_the_settings() -> None:
    assert quota(0).may_ever(1)
    assert not quota(100, reserve=100).may_ever(1)
    assert not quota(100, share=0.1).may_ever(20)
