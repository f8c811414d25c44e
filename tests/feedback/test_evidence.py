"""The evidence keeps its promise under any delay, and finds what is above the limit."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.feedback import evidence
from mailsluice.feedback.evidence import Alarm, Evidence, estimate, upper


def told(buckets: list[tuple[int, int]], *, least: int = 10, limit: float = 0.04) -> Evidence:
    """Sends and bounces per bucket, each heard of at once."""
    found = Evidence(limit, 0.01, least)
    for number, (sends, heard) in enumerate(buckets):
        found.send(number, sends)
        for _ in range(heard):
            found.hear(number)
    return found


def test_all_weights_together_are_no_more_than_one() -> None:
    some = sum(evidence._restart_weight(bucket) for bucket in range(1, 100_000))
    rest = (1 - evidence.START_WEIGHT) / evidence.RESTARTS_SUM / math.log(100_000)
    assert 0.999 < evidence.START_WEIGHT + some + rest <= 1.0


@pytest.mark.parametrize(
    ("buckets", "alarm"),
    [
        ([(50, 2)] * 100, False),
        ([(50, 1)] * 1_000, False),
        ([(50, 10), (50, 12)], True),
        ([(50, 9)], False),  # strong, and fewer than `least`
        ([(50, 0)] * 4 + [(50, 40)], True),
        ([(50, 1)] * 200 + [(50, 20)] * 60, True),  # a bad part after a good start
        ([(50, 1)] * 200 + [(200, 200)] + [(50, 1)] * 200, False),  # a dead domain of 200
        ([(50, 1)] * 200 + [(350, 350)] + [(50, 1)] * 200, True),
        ([(50, 3)] * 400, True),
    ],
)
def test_a_rate_above_the_limit_gives_an_alarm(
    buckets: list[tuple[int, int]], *, alarm: bool
) -> None:
    assert (told(buckets).alarm() is not None) == alarm


def test_an_alarm_says_what_it_rests_on_and_stays() -> None:
    found = told([(50, 10), (50, 12)])
    first = found.alarm()
    assert first is not None
    assert first[:2] == (50, 10)
    assert first.value >= 100
    found.send(2, 1_000)
    assert found.alarm() == first


def test_by_hand_one_bucket() -> None:
    found = told([(4, 4)], least=4, limit=0.01)
    ratios = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0]
    expected = 0.5 * sum(each**4 for each in ratios) / 6
    alarm = found.alarm()
    assert alarm is not None
    assert alarm == Alarm(4, 4, alarm.value)
    assert alarm.value == pytest.approx(expected)


def test_nothing_overflows() -> None:
    found = told([(50, 50)] * 2_000, least=10**9)
    assert found.alarm() is None
    assert math.isfinite(found.value)
    assert told([(1_000, 0)] * 5_000).alarm() is None
    assert told([(50, 50)], limit=0.96).alarm() is None  # such a limit is none


BUCKETS = st.lists(
    st.integers(1, 60).flatmap(lambda sends: st.tuples(st.just(sends), st.integers(0, sends))),
    min_size=1,
    max_size=20,
)


@given(BUCKETS, st.randoms(use_true_random=False))
def test_whatever_is_late_or_lost_the_evidence_is_at_most_what_it_would_be_at_once(
    buckets: list[tuple[int, int]], random: Random
) -> None:
    at_once = told(buckets, least=10**9)
    at_once.alarm()
    late = Evidence(0.04, 0.01, 10**9)
    waiting: list[int] = []
    for number, (sends, heard) in enumerate(buckets):
        late.send(number, sends)
        waiting += [number] * heard
        random.shuffle(waiting)
        for _ in range(random.randint(0, len(waiting))):
            late.hear(waiting.pop())
        late.alarm()
        assert late.value <= at_once.value * (1 + 1e-9)
    for bucket in waiting[random.randint(0, len(waiting)) :]:
        late.hear(bucket)
    late.alarm()
    assert late.value <= at_once.value * (1 + 1e-9)


@given(BUCKETS, st.randoms(use_true_random=False))
def test_looking_often_gives_the_same_as_looking_once(
    buckets: list[tuple[int, int]], random: Random
) -> None:
    often, once = Evidence(0.04, 0.01, 10**9), told(buckets, least=10**9)
    once.alarm()
    hits = [number for number, (_, heard) in enumerate(buckets) for _ in range(heard)]
    random.shuffle(hits)
    for number, (sends, _) in enumerate(buckets):
        often.send(number, sends)
    for number in hits:
        often.hear(number)
        if random.random() < 0.3:
            often.alarm()
    often.alarm()
    assert often.value == pytest.approx(once.value)
    if hits:
        assert often._from_start[-1] == pytest.approx(once._from_start[-1])
        assert often._from_later[-1] == pytest.approx(once._from_later[-1])


def test_what_was_sent_since_and_not_heard_of_does_not_drown_the_evidence() -> None:
    found = Evidence(0.04, 0.01, 10)
    for number in range(100):
        found.send(number, 50)
    for _ in range(15):
        found.hear(0)
    alarm = found.alarm()
    assert alarm is not None
    assert alarm.sends == 50


def test_an_upper_bound_and_an_interval_are_told() -> None:
    assert upper(0, 0) == 1.0
    assert upper(100, 0) == pytest.approx(0.02645)
    found = estimate(1_000, 30)
    assert (found.rate, found.low < 0.03 < found.high) == (0.03, True)
    assert estimate(0, 0).rate == 0.0
