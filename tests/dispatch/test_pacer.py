from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.dispatch import batching
from mailsluice.dispatch.adaptive_rate import Answered
from mailsluice.dispatch.pacer import CALLS_REFUSED_MAX, HAIR, NARROW_PER_S, Pacer
from mailsluice.model.wait_reason import Reason
from tests.support.rate import excess

Step = tuple[float, int]
"""How late the caller is, and how many recipients there are."""


def submit(pacer: Pacer, steps: list[Step]) -> list[tuple[float, int]]:
    """Batches as an eager but sometimes late caller starts them: (moment, weight)."""
    sent = []
    now = 0.0
    for late, there in steps:
        ready_at, _ = pacer.ready_at(min(there, pacer.size_usual(now)), now)
        now = max(now, ready_at) + late
        weight = min(there, pacer.size_now(now))
        pacer.spend(weight, now)
        sent.append((now, weight))
    return sent


@given(
    rate=st.floats(1, 5000),
    steps=st.lists(
        st.tuples(st.one_of(st.just(0.0), st.floats(0, 3)), st.integers(1, 50)),
        min_size=1,
        max_size=150,
    ),
)
def test_no_window_holds_more_permits_than_the_rate_and_one_batch(
    rate: float, steps: list[Step]
) -> None:
    sent = submit(Pacer(rate, 0.0), steps)
    assert excess(sent, rate, batching.size_for(rate)) <= 1e-6


@given(rate=st.floats(NARROW_PER_S, 5000))
def test_a_punctual_caller_gets_the_whole_rate(rate: float) -> None:
    sent = submit(Pacer(rate, 0.0), [(0.0, 50)] * 100)
    moved = sum(weight for _, weight in sent[1:])
    assert moved / sent[-1][0] == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("rate", [14, 200, 5000])
def test_a_late_wake_up_is_made_up_for_by_a_larger_batch(rate: float) -> None:
    late = 0.25 * batching.size_for(rate) / rate
    sent = submit(Pacer(rate, 0.0), [(late if n % 3 else 0.0, 50) for n in range(300)])
    moved = sum(weight for _, weight in sent[1:])
    assert moved / sent[-1][0] == pytest.approx(rate, rel=0.005)


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.2])
def test_where_ses_holds_one_recipient_they_never_come_too_close(rate: float) -> None:
    sent = submit(Pacer(rate, 0.0), [(0.0, 5)] * 20)
    gaps = [later - before for (before, _), (later, _) in pairwise(sent)]
    assert {weight for _, weight in sent} == {1}
    assert min(gaps) == pytest.approx(1 / rate / (1 - HAIR))
    assert max(gaps) == pytest.approx(1 / rate / (1 - HAIR))


@pytest.mark.parametrize(
    ("rate", "calls", "size"),
    [
        *((0.2, 0, 1), (1, 0, 1), (2, 0, 1), (14, 0, 7), (99, 0, 49), (200, 0, 50), (5000, 0, 50)),
        *((14, 1, 12), (14, 2, 7), (14, 4, 7), (200, 1, 50), (1, 1, 1)),
    ],
)
def test_a_batch_is_half_a_seconds_worth_and_more_only_where_calls_are_few(
    rate: float, calls: float, size: int
) -> None:
    assert batching.size_for(rate, calls) == size


def test_a_heavy_recipient_waits_for_a_full_bucket_and_is_paid_for_afterwards() -> None:
    pacer = Pacer(10.0, 0.0)
    assert pacer.ready_at(20, 0.0) == (0.0, Reason.RATE)
    pacer.spend(20, 0.0)
    assert pacer.ready_at(5, 0.0)[0] == 2.0


def test_a_change_of_the_ceiling_takes_effect_at_once() -> None:
    pacer = Pacer(100.0, 0.0)
    pacer.spend(50, 0.0)
    pacer.set_ceiling(50.0, 0.0)
    assert pacer.ready_at(25, 0.0)[0] == 0.5
    pacer.set_ceiling(200.0, 0.0)
    assert pacer.ready_at(50, 0.0)[0] == 0.25


def test_the_limit_on_calls_may_be_changed_and_lifted_while_it_runs() -> None:
    pacer = Pacer(1000.0, 0.0)
    for begun, calls_per_s, calls in ((0.0, 2.0, 20), (100.0, 5.0, 50), (200.0, 0.0, 1_000)):
        now, sent = begun, 0
        pacer.set_calls(calls_per_s, now)
        while (ready_at := pacer.ready_at(10, now)[0]) < begun + 10:
            now = ready_at
            pacer.spend(10, now)
            sent += 1
        assert sent == pytest.approx(calls, abs=6)


def test_calls_per_second_is_a_limit_of_its_own() -> None:
    pacer = Pacer(1000.0, 0.0, calls_per_s=2.0)
    pacer.spend(1, 0.0)
    assert pacer.ready_at(1, 0.0) == (0.5, Reason.CALLS)
    pacer.spend(1000, 0.5)
    assert pacer.ready_at(1, 0.5)[1] is Reason.RATE


def test_throttles_of_calls_are_answered_by_fewer_and_larger_calls() -> None:
    pacer = Pacer(20.0, 0.0)
    assert pacer.size_usual(0.0) == 6
    refuse_calls(pacer, CALLS_REFUSED_MAX - 1)
    assert pacer.rate(9.0) == 20.0
    assert pacer.size_usual(9.0) == 18


def refuse_calls(pacer: Pacer, times: int) -> None:
    """So many calls in a row are too many, one a second."""
    for number in range(1, times + 1):
        pacer.answered(Answered(number, 0, 6, number), of_calls=True, latest=number, now=number)


def test_where_fewer_calls_do_not_help_there_are_too_many_recipients_after_all() -> None:
    pacer = Pacer(20.0, 0.0)
    refuse_calls(pacer, CALLS_REFUSED_MAX + 2)
    assert pacer.rate(12.0) < 20.0 * 0.7
    assert pacer.size_usual(12.0) == 1


def test_a_limit_on_calls_that_was_learnt_is_forgotten_when_it_no_longer_binds() -> None:
    pacer = Pacer(20.0, 0.0)
    refuse_calls(pacer, 1)
    pacer.set_ceiling(200.0, 5.0)
    assert pacer.ready_at(50, 60.0)[1] is Reason.RATE
    assert pacer.size_usual(60.0) == 30


def test_a_half_batch_after_idleness_leaves_no_credit() -> None:
    pacer = Pacer(1000.0, 0.0)
    pacer.spend(25, 100.0)
    assert pacer.size_now(100.0) == 25


def test_a_resumed_run_does_not_begin_with_a_full_bucket() -> None:
    assert Pacer(100.0, 7.0, resumed=True).ready_at(50, 7.0)[0] == 7.5
    assert Pacer(1.0, 7.0, resumed=True).ready_at(1, 7.0)[0] > 8.0
    assert Pacer(100.0, 7.0).ready_at(50, 7.0)[0] == 7.0
