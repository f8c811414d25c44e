"""What the account accepts, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailsluice.emulator import Account, AccountSettings


def account(**settings: Any) -> Account:
    return Account(AccountSettings(**({"daily_max": -1.0} | settings)))


def accepted(ses: Account, weights: list[int], now: float, daily: list[int] | None = None) -> int:
    verdict = ses.submit(weights, now, daily)
    if verdict.refusal is not None:
        return 0
    return sum(weight for n, weight in enumerate(weights) if n not in verdict.refused)


def codes(ses: Account, weights: list[int], now: float) -> list[str]:
    verdict = ses.submit(weights, now)
    if verdict.refusal is not None:
        return [verdict.refusal.code]
    return [verdict.refused[n].code if n in verdict.refused else "" for n in range(len(weights))]


@pytest.mark.parametrize(
    ("rate", "calls"),
    [
        # Each call: when, recipients, how many of them are accepted.
        (10, [(0, 10, 10), (0, 1, 0), (0.1, 1, 1), (0.15, 1, 0), (5, 11, 0), (5, 10, 10)]),
        (1, [(0, 1, 1), (0.5, 1, 0), (1, 1, 1), (1.99, 1, 0), (2, 1, 1)]),
        (0.5, [(0, 1, 1), (1, 1, 0), (2, 1, 1)]),
        (14, [(0, 7, 7), (0, 7, 7), (0.5, 7, 7), (1, 7, 7)]),
    ],
)
def test_strict_bucket_holds_one_second_of_the_rate(
    rate: float, calls: list[tuple[float, int, int]]
) -> None:
    ses = account(rate_per_s=rate)
    assert [accepted(ses, [1] * n, now) for now, n, _ in calls] == [most for _, _, most in calls]


def test_debt_model_takes_a_call_of_any_size_and_then_none_until_it_is_repaid() -> None:
    """The case quoted in django-ses#59: at 1/s, five at once, then errors for five seconds."""
    ses = account(rate_per_s=1, model="debt")
    assert accepted(ses, [1] * 5, 0) == 5
    assert [accepted(ses, [1], now) for now in (1, 2, 3, 4, 4.9)] == [0] * 5
    assert accepted(ses, [1], 5) == 1


def test_a_throttled_call_costs_nothing_of_the_rate() -> None:
    ses = account(rate_per_s=10)
    assert [accepted(ses, [1] * 11, 0) for _ in range(3)] == [0, 0, 0]
    assert accepted(ses, [1] * 10, 0) == 10


def test_throttling_by_entry_accepts_what_fits_in_order() -> None:
    ses = account(rate_per_s=5, throttles="entry")
    throttled = "ACCOUNT_THROTTLED"
    assert codes(ses, [3, 3, 2, 1], 0) == ["", throttled, "", throttled]


def test_daily_quota_by_entry_accepts_what_is_left() -> None:
    ses = account(rate_per_s=100, daily_max=5)
    assert codes(ses, [2, 2, 2, 1], 0) == ["", "", "ACCOUNT_DAILY_QUOTA_EXCEEDED", ""]


def test_daily_quota_by_call_refuses_all_with_its_own_text() -> None:
    ses = account(rate_per_s=100, daily_max=5, daily_refuses="call")
    refusal = ses.submit([1] * 6, 0).refusal
    assert refusal is not None
    assert refusal == ("TooManyRequestsException", "Daily message quota exceeded.")
    assert accepted(ses, [1] * 5, 0) == 5


def test_what_the_day_refuses_is_not_taken_from_the_rate() -> None:
    ses = account(rate_per_s=4, daily_max=3)
    assert accepted(ses, [1] * 6, 0) == 3
    ses.change(0, daily_max=-1)
    assert [accepted(ses, [1], 0), accepted(ses, [1], 0)] == [1, 0]


def test_day_rolls_over_recipient_by_recipient() -> None:
    ses = account(rate_per_s=100, daily_max=10)
    assert accepted(ses, [1] * 6, 0) == 6
    assert accepted(ses, [1] * 4, 40_000) == 4
    assert accepted(ses, [1], 86_399) == 0
    assert accepted(ses, [1] * 10, 86_400) == 6
    assert accepted(ses, [1] * 10, 126_400) == 4


def test_day_can_be_shortened() -> None:
    ses = account(rate_per_s=100, daily_max=10, day_s=2)
    assert [accepted(ses, [1] * 10, now) for now in (0, 1.9, 2)] == [10, 0, 10]


def test_sent_last_24_hours_lags_but_the_quota_does_not() -> None:
    ses = account(rate_per_s=100, daily_max=10, lag_s=30)
    assert accepted(ses, [1] * 10, 100) == 10
    assert ses.sent_last_day(100) == 0
    assert accepted(ses, [1], 110) == 0
    assert [ses.sent_last_day(now) for now in (129, 130, 86_499, 86_500)] == [0, 10, 10, 0]


def test_recipients_of_the_simulator_count_to_the_rate_and_not_to_the_day() -> None:
    ses = account(rate_per_s=10, daily_max=2)
    assert accepted(ses, [1] * 8, 0, daily=[0] * 8) == 8
    assert ses.sent_last_day(0) == 0
    assert accepted(ses, [1] * 3, 0, daily=[0] * 3) == 0


@pytest.mark.parametrize(
    ("change", "call", "entry"),
    [
        ({"sending_enabled": False}, "SendingPausedException", "ACCOUNT_SENDING_PAUSED"),
        ({"enforcement": "SHUTDOWN"}, "AccountSuspendedException", "ACCOUNT_SUSPENDED"),
    ],
)
def test_a_stopped_account_refuses_by_call_or_by_entry(
    change: dict[str, Any], call: str, entry: str
) -> None:
    ses = account(rate_per_s=100)
    ses.change(0, **change)
    assert codes(ses, [1, 1], 0) == [entry, entry]
    ses.change(0, conditions_refuse="call")
    assert codes(ses, [1, 1], 0) == [call]


def test_rate_may_change_and_what_is_left_stays() -> None:
    ses = account(rate_per_s=100)
    assert accepted(ses, [1] * 40, 0) == 40
    ses.change(0, rate_per_s=10)
    assert [accepted(ses, [1] * 10, 0), accepted(ses, [1], 0)] == [10, 0]
    ses.change(1, rate_per_s=100)
    assert [accepted(ses, [1] * 10, 1), accepted(ses, [1], 1), accepted(ses, [1] * 100, 2)] == [
        10,
        0,
        100,
    ]


def test_an_impossible_setting_is_refused_and_changes_nothing() -> None:
    ses = account(rate_per_s=100)
    with pytest.raises(ValidationError, match="greater than 0"):
        ses.change(0, rate_per_s=-1)
    assert ses.settings.rate_per_s == 100


def test_api_rates_are_counted_in_calls() -> None:
    ses = account(rate_per_s=100, get_account_per_s=1, calls_per_s=2)
    assert [ses.get_account_refusal(now) is None for now in (0, 0.5, 1)] == [True, False, True]
    assert [ses.call_refusal(now) is None for now in (0, 0, 0, 0.5)] == [True, True, False, True]


def test_statistics_tell_the_most_of_any_second() -> None:
    ses = account(rate_per_s=10)
    for now in (0, 0.1, 0.6, 0.9, 9):
        ses.arrive(6, now)
        ses.submit([1] * 6, now)
    found = ses.statistics(9)
    assert (found.calls, found.submitted, found.submitted_peak) == (5, 30, 24)
    assert (found.accepted, found.throttled, found.accepted_peak) == (24, 6, 18)


calls = st.lists(
    st.tuples(st.floats(0, 3), st.lists(st.integers(1, 20), min_size=1, max_size=8)), max_size=40
)


@given(
    rate=st.floats(0.2, 60),
    burst_s=st.floats(0.1, 3),
    throttles=st.sampled_from(["call", "entry"]),
    calls=calls,
)
def test_strict_bucket_never_accepts_more_than_its_capacity_and_the_rate_in_any_window(
    rate: float, burst_s: float, throttles: str, calls: list[tuple[float, list[int]]]
) -> None:
    ses = account(rate_per_s=rate, burst_s=burst_s, throttles=throttles)
    taken = run(ses, calls)
    capacity = max(1.0, rate * burst_s)
    for first, (begin, _) in enumerate(taken):
        for last, (end, _) in enumerate(taken[first:], first):
            inside = sum(weight for _, weight in taken[first : last + 1])
            assert inside <= capacity + rate * (end - begin) + 1e-3


@given(rate=st.floats(0.2, 60), calls=calls)
def test_debt_model_never_owes_more_than_one_call(
    rate: float, calls: list[tuple[float, list[int]]]
) -> None:
    taken = [each for each in run(account(rate_per_s=rate, model="debt"), calls) if each[1]]
    capacity = max(1.0, rate)
    for first, (begin, _) in enumerate(taken):
        for last, (end, _) in enumerate(taken[first:], first):
            before = sum(weight for _, weight in taken[first:last])
            assert before + 1 <= capacity + rate * (end - begin) + 1e-3


@given(daily_max=st.integers(0, 60), refuses=st.sampled_from(["call", "entry"]), calls=calls)
def test_rolling_day_never_holds_more_than_the_quota(
    daily_max: int, refuses: str, calls: list[tuple[float, list[int]]]
) -> None:
    day_s = 7.0
    taken = run(
        account(rate_per_s=1e6, daily_max=daily_max, daily_refuses=refuses, day_s=day_s), calls
    )
    for now, _ in taken:
        assert sum(weight for at, weight in taken if now - day_s < at <= now) <= daily_max


@given(calls=calls, throttles=st.sampled_from(["call", "entry"]))
def test_every_recipient_submitted_is_accepted_throttled_or_over_the_day(
    calls: list[tuple[float, list[int]]], throttles: str
) -> None:
    ses = account(rate_per_s=20, daily_max=100, day_s=10, throttles=throttles)
    now = 0.0
    for pause, weights in calls:
        now += pause
        ses.arrive(sum(weights), now)
        ses.submit(weights, now)
    found = ses.statistics(now)
    lost = found.submitted - found.accepted - found.throttled - found.daily_refused
    # A call refused for the rate as a whole may hold entries that the day had refused already.
    assert lost == 0 if throttles == "entry" else lost >= 0


def run(ses: Account, calls: list[tuple[float, list[int]]]) -> list[tuple[float, int]]:
    """Moments, and the weight that was accepted in each."""
    taken, now = [], 0.0
    for pause, weights in calls:
        now += pause
        taken.append((now, accepted(ses, weights, now)))
    return taken
