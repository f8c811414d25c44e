from hypothesis import given
from hypothesis import strategies as st

from mailsluice import batching
from mailsluice.pacing import RATE_FLOOR, THROTTLE_CUT, Pacer


def submit(rate: float, lateness: list[float], weights: list[int]) -> list[tuple[float, int]]:
    """Batches as an eager but sometimes late caller gets them: (moment, weight)."""
    pacer = Pacer(rate, 0.0)
    sent = []
    now = 0.0
    for late, weight in zip(lateness, weights, strict=True):
        now = max(now, pacer.ready_at) + late
        capped = min(weight, batching.size_for(rate))
        pacer.spend(capped, now)
        sent.append((now, capped))
    return sent


@given(
    rate=st.floats(1, 5000),
    steps=st.lists(
        st.tuples(st.one_of(st.just(0.0), st.floats(0, 3)), st.integers(1, 50)),
        min_size=1,
        max_size=150,
    ),
    window_s=st.sampled_from([0.1, 1.0, 5.0]),
)
def test_no_window_holds_more_than_the_rate_and_one_batch(
    rate: float, steps: list[tuple[float, int]], window_s: float
) -> None:
    sent = submit(rate, [late for late, _ in steps], [weight for _, weight in steps])
    for start, _ in sent:
        inside = sum(weight for moment, weight in sent if start <= moment < start + window_s)
        assert inside <= rate * window_s + batching.size_for(rate) + 1e-6


@given(rate=st.floats(1, 5000))
def test_a_punctual_caller_gets_the_whole_rate(rate: float) -> None:
    size = batching.size_for(rate)
    sent = submit(rate, [0.0] * 100, [size] * 100)
    elapsed = sent[-1][0]
    assert abs(elapsed - 99 * size / rate) < 1e-6 * elapsed + 1e-9


def test_throttles_of_calls_from_before_the_slow_down_count_once() -> None:
    pacer = Pacer(100.0, 0.0)
    pacer.throttled(number=3, share=1.0, latest=10, now=1.0)
    pacer.throttled(number=9, share=1.0, latest=10, now=1.0)
    assert pacer.rate(1.0) == 100 * (1 - THROTTLE_CUT)
    pacer.throttled(number=11, share=1.0, latest=12, now=1.0)
    assert abs(100 * (1 - THROTTLE_CUT) ** 2 - pacer.rate(1.0)) < 1e-9


def test_a_batch_throttled_in_part_slows_down_by_that_part() -> None:
    pacer = Pacer(100.0, 0.0)
    pacer.throttled(number=1, share=0.02, latest=1, now=0.0)
    assert pacer.rate(0.0) == 100 * (1 - THROTTLE_CUT * 0.02)


def test_the_rate_recovers_to_the_ceiling_and_no_further() -> None:
    pacer = Pacer(100.0, 0.0)
    pacer.throttled(1, 1.0, 1, 0.0)
    rates = [pacer.rate(t) for t in range(30)]
    assert rates == sorted(rates)
    assert rates[-1] == 100.0


def test_throttles_never_push_the_rate_below_the_floor() -> None:
    pacer = Pacer(100.0, 0.0)
    for number in range(1, 100):
        pacer.throttled(number, 1.0, number, 0.0)
    assert pacer.rate(0.0) == 100 * RATE_FLOOR


def test_a_cut_of_the_ceiling_stretches_what_is_already_booked() -> None:
    pacer = Pacer(100.0, 0.0)
    pacer.spend(50, 0.0)
    pacer.set_ceiling(50.0, 0.0)
    assert pacer.ready_at == 1.0
    assert pacer.rate(0.0) == 50.0
    pacer.set_ceiling(200.0, 0.0)
    assert pacer.ready_at == 0.25


def test_calls_per_second_is_a_limit_of_its_own() -> None:
    pacer = Pacer(1000.0, 0.0, calls_per_s=2.0)
    pacer.spend(1, 0.0)
    assert pacer.ready_at == 0.5
    pacer.spend(1000, 0.5)
    assert pacer.ready_at > 1.4


def test_a_half_batch_after_idleness_leaves_no_credit() -> None:
    pacer = Pacer(1000.0, 0.0)
    pacer.spend(25, 100.0)
    assert pacer.ready_at == 100.025


def test_a_resumed_run_does_not_begin_with_a_full_bucket() -> None:
    assert Pacer(100.0, 7.0, resumed=True).ready_at == 7.5
    assert Pacer(1.0, 7.0, resumed=True).ready_at == 8.0
    assert Pacer(100.0, 7.0).ready_at == 7.0
