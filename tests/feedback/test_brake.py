"""A mailing that goes wrong is stopped early; one that does not, is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.feedback import fate
from mailsluice.feedback.brake import Brake, carried, settle_s
from mailsluice.feedback.ramp import UNLIMITED, Limits
from mailsluice.model import Entry, codes
from tests.feedback.mailings import Lag, Lived, World, live

SEEDS = range(5)


def lives(world: World, limits: Limits | None = None) -> list[Lived]:
    return [live(world, limits or Limits(), seed) for seed in SEEDS]


def begun(
    sends: int = 100,
    *,
    limits: Limits | None = None,
    bit: int = fate.SENT,
    heard: Sequence[int] = (),
) -> Brake:
    """A brake after so many sends at 0 s; the bit has come for those rows."""
    brake = Brake(limits or Limits())
    for first in range(1, sends + 1, 50):
        brake.send(range(first, min(first + 50, sends + 1)), 0.0)
    for row in heard:
        brake.hear(row, bit, bit)
    return brake


def test_the_canary_is_all_until_something_is_heard() -> None:
    assert Brake(Limits()).room(0.0) == 100
    assert begun(60).room(0.0) == 40
    assert begun(100).room(119.0) == 0


def test_nothing_heard_of_the_canary_holds_the_mailing() -> None:
    brake = begun()
    assert brake.stop(119.9) is None
    stop = brake.stop(120.0)
    assert stop is not None
    assert stop.code == codes.FEEDBACK_BLIND
    assert "100 recipients in 120 s" in stop.text
    assert brake.room(121.0) == 0
    assert begun(99).stop(10_000.0) is None, "the canary is not out yet"
    assert begun(100, heard=[7]).stop(10_000.0) is None


def test_the_ramp_opens_when_the_canary_is_settled() -> None:
    brake = begun(100, heard=[1])
    assert brake.room(29.0) == 0
    assert brake.room(30.0) == UNLIMITED, "0 of 100 bounced: at most 2.6 %"


def test_the_ramp_opens_earlier_if_deliveries_are_heard() -> None:
    heard = [*range(1, 49), *range(51, 99)]
    assert begun(100, bit=fate.DELIVERED, heard=heard[:-2]).room(5.0) < UNLIMITED
    assert begun(100, bit=fate.DELIVERED, heard=heard).room(5.0) == UNLIMITED


def test_the_ramp_allows_as_many_as_could_bounce_a_hundred_times() -> None:
    brake = begun(100, bit=fate.HARD, heard=range(1, 5))
    highest = (5 + 1.645 * 5**0.5) / 100
    assert brake.room(30.0) == int(100 / highest)
    brake.send(range(101, 151), 30.0)
    assert brake.room(30.0) == int(100 / highest) - 50


def test_a_bucket_that_is_not_full_is_settled_as_well() -> None:
    limits = Limits(exposed=10)
    brake = begun(10, limits=limits, heard=[1])
    assert brake.room(29.0) == 0
    assert brake.room(31.0) >= 10
    brake.send(range(11, 21), 31.0)
    assert brake.room(31.0) == int(10 / (2.645 / 10)) - 10


def test_a_hold_says_how_many_and_what_the_limit_is() -> None:
    brake = begun(100, bit=fate.HARD, heard=range(1, 31))
    stop = brake.stop(3.0)
    assert stop is not None
    assert stop.code == codes.BOUNCES_TOO_MANY
    assert "30 of the first 50 bounced hard (60.00%, the limit is 4.00%)" in stop.text
    assert brake.gauges()[codes.BOUNCES_TOO_MANY].estimate.heard == 30
    assert brake.gauges()[codes.BOUNCES_TOO_MANY].evidence > 100
    assert brake.stop(10**6) == stop


@pytest.mark.parametrize(
    ("bit", "heard", "code"),
    [
        (fate.HARD, 12, codes.BOUNCES_TOO_MANY),
        (fate.HARD, 9, ""),
        (fate.COMPLAINED, 5, codes.COMPLAINTS_TOO_MANY),
        (fate.COMPLAINED, 4, ""),
        (fate.RENDER_FAILED, 6, codes.RENDERING_FAILS),
        (fate.REJECTED, 6, codes.RENDERING_FAILS),
        (fate.RENDER_FAILED, 3, ""),
        (fate.SOFT, 100, ""),
        (fate.SUPPRESSED_BY_SES, 100, ""),
        (fate.HARD | fate.EXEMPT, 100, ""),
        (fate.COMPLAINED | fate.EXEMPT, 100, ""),
    ],
)
def test_each_rate_has_a_limit_of_its_own(bit: int, heard: int, code: str) -> None:
    stop = begun(100, bit=bit, heard=range(1, heard + 1)).stop(1.0)
    assert (stop.code if stop else "") == code


def test_a_limit_of_0_is_not_watched() -> None:
    limits = Limits(bounces=0, complaints=0, rendering=0)
    brake = begun(100, limits=limits, bit=fate.HARD, heard=range(1, 100))
    assert brake.stop(0.0) is None
    assert brake.room(0.0) == UNLIMITED


def test_copies_of_events_do_not_count() -> None:
    brake = begun()
    for _ in range(50):
        brake.hear(7, 0, fate.HARD)
        brake.hear(7, fate.DELIVERED, fate.HARD | fate.DELIVERED)
    brake.hear(8, fate.REJECTED, fate.REJECTED | fate.RENDER_FAILED)
    assert brake.gauges()[codes.BOUNCES_TOO_MANY].estimate.heard == 0
    assert brake.gauges()[codes.RENDERING_FAILS].estimate.heard == 0


def test_events_of_rows_from_before_an_override_do_not_count() -> None:
    brake = Brake(Limits(), overridden=1)
    brake.send(range(1_001, 1_101), 0.0)
    for row in range(900, 1_000):
        brake.hear(row, fate.HARD, fate.HARD)
    brake.hear(2_000, fate.HARD, fate.HARD)
    assert brake.gauges()[codes.BOUNCES_TOO_MANY].estimate.heard == 0
    for row in range(1_001, 1_020):
        brake.hear(row, fate.HARD, fate.HARD)
    assert brake.stop(0.0) is None, "twice as many are wanted"
    brake.hear(1_020, fate.HARD, fate.HARD)
    assert brake.stop(1.0) is not None


def test_who_reports_no_complaints_is_not_in_their_denominator() -> None:
    brake = Brake(Limits())
    brake.send(range(1, 51), 0.0, deaf=20)
    assert brake.gauges()[codes.COMPLAINTS_TOO_MANY].estimate.sends == 30
    assert brake.gauges()[codes.BOUNCES_TOO_MANY].estimate.sends == 50


def starting(brake: Brake, rows: Sequence[int], domain: str = "example.com") -> None:
    brake.start([Entry(n, 1, (f"{n}@{domain}",), (), (), None, b"{}") for n in rows], 0.0)


def test_a_row_that_comes_after_a_higher_one_is_not_watched() -> None:
    brake = Brake(Limits())
    starting(brake, [3, 1, 5])
    starting(brake, [5, 2, 4, 6])
    for row in range(1, 8):
        brake.hear(row, fate.HARD, fate.HARD)
    bounces = brake.gauges()[codes.BOUNCES_TOO_MANY].estimate
    assert (bounces.sends, bounces.heard) == (4, 4), "3, 1 and 5, and then 6"


def test_who_is_not_heard_of_is_known_by_address() -> None:
    brake = Brake(Limits())
    starting(brake, range(1, 11), "gmail.com")
    starting(brake, range(11, 21), "simulator.amazonses.com")
    starting(brake, range(21, 31))
    gauges = brake.gauges()
    assert gauges[codes.BOUNCES_TOO_MANY].estimate.sends == 20
    assert gauges[codes.COMPLAINTS_TOO_MANY].estimate.sends == 10


PAST = {
    "good": [fate.DELIVERED] * 9_900 + [fate.HARD] * 100,
    "bad": ([fate.DELIVERED] * 9 + [fate.HARD]) * 1_000,
    "complained": ([fate.DELIVERED] * 199 + [fate.COMPLAINED]) * 50,
    "few": [fate.COMPLAINED] * 4,
    "long ago": [fate.HARD] * 1_000 + [fate.DELIVERED] * 10_000,
    "simulator": [fate.HARD | fate.EXEMPT] * 1_000,
    "deaf": [fate.DELIVERED | fate.UNHEARD_COMPLAINTS] * 5_000 + [fate.COMPLAINED] * 3,
    "none": [],
}


@pytest.mark.parametrize(
    ("past", "code"),
    [
        ("good", ""),
        ("bad", codes.BOUNCES_TOO_MANY),
        ("complained", codes.COMPLAINTS_TOO_MANY),
        ("few", ""),
        ("long ago", ""),
        ("simulator", ""),
        ("deaf", ""),
        ("none", ""),
    ],
)
def test_what_the_last_mailings_earned_holds_the_next_one(past: str, code: str) -> None:
    stop = carried(Limits(), PAST[past])
    assert (stop.code if stop else "") == code


@pytest.mark.parametrize(
    ("lags", "wanted"),
    [
        ([], 30.0),
        ([1_000.0] * 19, 30.0),
        ([1.0] * 100, 30.0),
        ([1.0] * 80 + [400.0] * 20, 400.0),
        ([10_000.0] * 50, 1_800.0),
    ],
)
def test_the_time_to_settle_is_learnt_within_bounds(lags: list[float], wanted: float) -> None:
    assert settle_s(lags) == wanted


@pytest.mark.parametrize("rate_per_s", [14.0, 500.0, 5_000.0])
@pytest.mark.parametrize(("share", "most"), [(0.1, 1_600), (0.2, 250), (0.4, 100)])
def test_a_bad_list_is_stopped_early_at_any_rate(
    rate_per_s: float, share: float, most: int
) -> None:
    world = World(rows=100_000, rate_per_s=rate_per_s, bounces=lambda _: share)
    for lived in lives(world):
        assert lived.code == codes.BOUNCES_TOO_MANY
        assert lived.sent <= most


def test_a_bad_list_is_stopped_if_a_third_of_the_events_is_lost() -> None:
    world = World(rows=100_000, rate_per_s=500.0, bounces=lambda _: 0.2, lost=0.3)
    assert all(lived.code and lived.sent < 1_000 for lived in lives(world))


def test_a_good_list_is_not_stopped_though_bounces_are_quicker_than_deliveries() -> None:
    world = World(rows=20_000, rate_per_s=500.0, bounces=lambda _: 0.02, deliveries_heard=True)
    assert [lived.code for lived in lives(world)] == [""] * len(SEEDS)


def test_a_bad_part_at_the_end_of_a_good_list_is_stopped() -> None:
    world = World(rows=50_000, rate_per_s=500.0, bounces=lambda row: 0.4 if row > 30_000 else 0.01)
    for lived in lives(world):
        assert lived.code == codes.BOUNCES_TOO_MANY
        assert 30_000 < lived.sent < 35_000


def test_a_template_that_is_broken_for_everybody_costs_the_canary() -> None:
    for lag in (1.0, 10.0):
        world = World(rows=10_000, rate_per_s=5_000.0, rendered=False, send_lag=Lag(lag, 0.5))
        for lived in lives(world):
            assert (lived.code, lived.sent) == (codes.RENDERING_FAILS, 100)


def test_a_mailing_without_an_event_stream_is_held_after_the_canary() -> None:
    world = World(rows=10_000, rate_per_s=500.0, sends_heard=False)
    for lived in lives(world):
        assert (lived.code, lived.sent) == (codes.FEEDBACK_BLIND, 100)
        assert lived.stopped_s <= 130.0


def test_complaints_stop_a_slow_mailing() -> None:
    world = World(rows=30_000, rate_per_s=14.0, complaints=0.01, complaint_lag=Lag(600.0, 0.5))
    assert all(lived.code == codes.COMPLAINTS_TOO_MANY for lived in lives(world))


@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.0, 0.5, 40.0])), max_size=30))
def test_the_brake_never_waits_for_ever(steps: list[tuple[int, float]]) -> None:
    """Whatever the batches and pauses: once all is settled, there is room or a reason."""
    brake, row, now = Brake(Limits(exposed=20)), 0, 0.0
    for size, pause_s in steps:
        now += pause_s
        if room := brake.room(now):
            sends = min(size, room)
            brake.send(range(row + 1, row + 1 + sends), now)
            row += sends
            brake.hear(row, fate.SENT, fate.SENT)
    assert brake.room(now + 30.0) > 0
