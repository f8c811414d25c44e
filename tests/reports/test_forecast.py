"""When a run sends, and when the daily quota interrupts it."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.dispatch.daily_quota import DailyQuota, Outlook
from mailsluice.model.rolling_window import DAY_S, RollingDay, Step
from mailsluice.reports import forecast
from mailsluice.reports.forecast import DAYS_MAX, Forecast, Stretch

NOW = 1_000_000.0
INFINITE = float("inf")
HOUR_S = 3600.0


def outlook(
    limit: float, limit_now: float | None = None, steps: tuple[Step, ...] = (), day_s: float = DAY_S
) -> Outlook:
    return Outlook(
        limit_now=limit if limit_now is None else limit_now, limit=limit, steps=steps, day_s=day_s
    )


def daily(made: Forecast) -> list[tuple[int, int]]:
    """Whole days since now, and what goes within each of them."""
    days: dict[int, int] = {}
    for begin, _, weight in made.stretches:
        day = int((begin - NOW) // DAY_S)
        days[day] = days.get(day, 0) + weight
    return list(days.items())


def in_window(stretches: tuple[Stretch, ...], begin: float, end: float) -> float:
    return sum(
        weight * max(0.0, min(end, until) - max(begin, since)) / (until - since)
        for since, until, weight in stretches
    )


@st.composite
def outlooks(draw: st.DrawFn) -> Outlook:
    day_s = draw(st.sampled_from([100.0, DAY_S]))
    ages = sorted(draw(st.lists(st.floats(0, 1), max_size=8)), reverse=True)
    steps = tuple(
        Step(NOW - age * day_s, NOW - age * day_s, draw(st.integers(1, 300))) for age in ages
    )
    limit = draw(st.integers(1, 2000))
    others = draw(st.integers(0, 2500))
    return outlook(limit, limit - others, steps, day_s)


@given(outlooks(), st.integers(0, 10_000), st.floats(0.001, 1000))
def test_no_window_holds_more_than_the_limit_and_the_sum_is_the_weight(
    given_outlook: Outlook, weight: int, rate: float
) -> None:
    made = forecast.build_forecast(weight, rate, given_outlook, NOW)
    total = sum(stretch.weight for stretch in made.stretches)
    assert total <= weight
    if made.done_at is not None:
        assert total == weight
    day_s, limit = given_outlook.day_s, given_outlook.limit
    old = [(step.last_at + day_s, step.weight) for step in given_outlook.steps]
    for begin, end, part in made.stretches:
        assert part / (end - begin) == pytest.approx(rate, rel=1e-4)
        for moment in (begin + day_s, end):
            still = sum(own for leaves_at, own in old if leaves_at > moment)
            if still < limit:  # what was sent before may be more than the limit has become
                sent = in_window(made.stretches, moment - day_s, moment)
                assert sent + still <= limit + 1e-3 * limit
    early = in_window(made.stretches, NOW, NOW + day_s)
    assert early <= max(0.0, given_outlook.limit_now) + 1e-3


@given(outlooks(), st.integers(1, 10_000), st.floats(0.001, 1000))
def test_nothing_goes_before_the_last_has_gone_and_all_of_it_by_then(
    given_outlook: Outlook, weight: int, rate: float
) -> None:
    made = forecast.build_forecast(weight, rate, given_outlook, NOW)
    ends = [NOW, *[stretch.end for stretch in made.stretches]]
    for (begin, end, _), before in zip(made.stretches, ends[:-1], strict=True):
        assert before <= begin < end
    if made.done_at is not None:
        assert made.done_at == ends[-1]
        assert made.done_at >= NOW + weight / rate - 1e-3


def test_without_a_limit_it_is_the_rate_alone() -> None:
    made = forecast.build_forecast(21_000, 14, outlook(INFINITE), NOW)
    assert made.stretches == (Stretch(NOW, NOW + 1500, 21_000),)
    assert (made.done_at, made.interrupted, made.never) == (NOW + 1500, False, False)


def test_within_the_limit_nothing_interrupts() -> None:
    made = forecast.build_forecast(50_000, 14, outlook(50_000), NOW)
    assert made.done_at == pytest.approx(NOW + 50_000 / 14)
    assert not made.interrupted


def test_more_than_the_day_has_room_for_goes_on_the_days_after() -> None:
    made = forecast.build_forecast(108_112, 14, outlook(50_000), NOW)
    assert daily(made) == [(0, 50_000), (1, 50_000), (2, 8_112)]
    assert made.done_at == pytest.approx(NOW + 2 * DAY_S + 8_112 / 14, abs=60)
    assert made.interrupted


def test_what_others_have_sent_leaves_the_window_a_day_from_now() -> None:
    made = forecast.build_forecast(60_000, 14, outlook(50_000, 25_000), NOW)
    assert daily(made) == [(0, 25_000), (1, 35_000)]
    assert made.stretches[-1].begin == pytest.approx(NOW + DAY_S)


def test_what_this_run_has_sent_leaves_it_when_it_is_a_day_old() -> None:
    steps = (Step(NOW - 20 * HOUR_S, NOW - 19 * HOUR_S, 600), Step(NOW - 60, NOW, 400))
    made = forecast.build_forecast(700, 10, outlook(1000, steps=steps), NOW)
    begin = NOW + 5 * HOUR_S
    assert made.stretches[0] == pytest.approx(Stretch(begin, begin + 60, 600))
    assert made.done_at == pytest.approx(NOW + DAY_S + 10)


def test_the_last_of_the_room_is_used_whatever_its_size() -> None:
    made = forecast.build_forecast(
        1_500, 10, outlook(1000, steps=(Step(NOW - 60, NOW - 60, 33),)), NOW
    )
    assert daily(made) == [(0, 967 + 33), (1, 500)]
    assert made.stretches[0] == pytest.approx(Stretch(NOW, NOW + 96.7, 967))


def in_few_calls(make: Callable[[], Forecast]) -> Forecast:
    """What it makes, in so few calls of functions that no machine is slow at it."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        made = make()
    finally:
        sys.setprofile(before)
    assert calls < 2_000_000, calls  # today up to a million
    return made


@pytest.mark.parametrize("weight", [1, 7, 60, 900])
def test_a_window_of_many_steps_is_simulated_in_no_time(weight: int) -> None:
    steps = tuple(Step(NOW - 60.0 * n, NOW - 60.0 * n, weight) for n in range(1439, 0, -1))
    made = in_few_calls(
        lambda: forecast.build_forecast(
            10**9, weight / 60, outlook(1440 * weight, steps=steps), NOW
        )
    )
    assert made.done_at is None


def test_a_day_that_the_rate_cannot_fill_interrupts_nothing() -> None:
    made = forecast.build_forecast(2_000_000, 10, outlook(900_000), NOW)
    assert made.done_at == pytest.approx(NOW + 200_000)
    assert len(made.stretches) == 1


@pytest.mark.parametrize("limit", [0, -500, 0.9])
def test_what_share_and_reserve_leave_nothing_for_is_never_done(limit: float) -> None:
    made = forecast.build_forecast(10, 14, outlook(limit), NOW)
    assert (made.stretches, made.done_at, made.never) == ((), None, True)


@pytest.mark.parametrize("limit", [200, 399, 50_000])
def test_what_takes_too_long_is_not_simulated_to_its_end(limit: int) -> None:
    made = in_few_calls(lambda: forecast.build_forecast(10_000_000, 14, outlook(limit), NOW))
    assert (made.done_at, made.never) == (None, False)
    assert sum(stretch.weight for stretch in made.stretches) == pytest.approx(
        limit * DAYS_MAX, rel=0.02
    )


def test_nothing_to_send_is_done_now() -> None:
    for limit in (0, 100, INFINITE):
        made = forecast.build_forecast(0, 14, outlook(limit), NOW)
        assert (made.stretches, made.done_at, made.interrupted) == ((), NOW, False)


@pytest.mark.parametrize(
    ("share", "reserve", "sent", "limit_now", "limit"),
    [
        (1.0, 0, 0, 1000, 1000),
        (1.0, 0, 400, 700, 1000),  # 300 by others
        (0.5, 0, 400, 500, 500),
        (1.0, 200, 400, 500, 800),
        (1.0, 2000, 100, -1000, -1000),
    ],
)
def test_the_outlook_minds_share_reserve_and_others(
    share: float, reserve: float, sent: float, limit_now: float, limit: float
) -> None:
    own = RollingDay()
    own.add(100, NOW - HOUR_S)
    quota = DailyQuota(own, share=share, reserve=reserve)
    assert quota.outlook(NOW).limit == INFINITE
    quota.learn(1000, sent, NOW)
    assert quota.outlook(NOW) == outlook(limit, limit_now, own.steps)
    assert quota.statistics(NOW).outlook == quota.outlook(NOW)
