"""What is to be expected of a run, in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from mailsluice.cli import forecast_text
from mailsluice.dispatch.daily_quota import Outlook
from mailsluice.model.rolling_window import DAY_S
from mailsluice.reports import forecast

MONOTONIC = 777.0
"""The forecast's clock need not be the time of day."""


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


def told(weight: int, rate: float, limit: float, *, at: str = "2026-11-25 12:25") -> str:
    outlook = Outlook(limit_now=limit, limit=limit, steps=(), day_s=DAY_S)
    made = forecast.build_forecast(weight, rate, outlook, MONOTONIC)
    return forecast_text.done(made, datetime.fromisoformat(at).timestamp())


@pytest.mark.parametrize(
    ("weight", "rate", "limit", "text"),
    [
        (21_000, 14, float("inf"), "done in 25 min (about 12:50)"),
        (1, 14, float("inf"), "done in 1 s (about 12:25)"),
        (1_000_000, 14, float("inf"), "done in 19 h 50 min (about 2026-11-26 08:15)"),
        (50_000, 14, 50_000, "done in 1 h (about 13:24)"),
        (
            108_112,
            14,
            50_000,
            (
                "done in 2 d (about 2026-11-27 12:35): "
                "50,000 today, 50,000 tomorrow, 8,112 on Fri 27 Nov"
            ),
        ),
        (
            500,
            14,
            100,
            (
                "done in 4 d (about 2026-11-29 12:25): 100 today, 100 tomorrow, 100 on Fri 27 Nov, "
                "100 on Sat 28 Nov, 100 on Sun 29 Nov"
            ),
        ),
        (
            1_050,
            14,
            100,
            (
                "done in 10 d (about 2026-12-05 12:25): "
                "100 today, 100 tomorrow, 100 on Fri 27 Nov, …, 50 on Sat 5 Dec"
            ),
        ),
        (
            10_000_000,
            14,
            200,
            "done in more than 100 d: 200 today, 200 tomorrow, 200 on Fri 27 Nov, …",
        ),
        (10, 14, 0, forecast_text.NEVER),
    ],
)
def test_a_forecast_in_words(weight: int, rate: float, limit: float, text: str) -> None:
    assert told(weight, rate, limit) == text


def test_amounts_are_those_of_the_local_calendar() -> None:
    # An hour before midnight, with room for two hours a day; a chunk is 36 seconds.
    assert told(10_800, 1, 7_200, at="2026-11-25 23:00") == (
        "done in 1 d 1 h (about 2026-11-27 00:00): 3,600 today, 7,164 tomorrow, 36 on Fri 27 Nov"
    )


def test_a_day_of_25_hours_is_a_day_all_the_same() -> None:
    assert told(300, 1000, 100, at="2026-10-24 23:30") == (
        "done in 2 d (about 2026-10-26 22:30): 100 today, 100 tomorrow, 100 on Mon 26 Oct"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1 s"),
        (59.4, "59 s"),
        (59.9, "1 min"),
        (1500, "25 min"),
        (3599, "1 h"),
        (15_120, "4 h 12 min"),
        (86_399, "1 d"),
        (187_200, "2 d 4 h"),
        (99 * DAY_S, "99 d"),
    ],
)
def test_a_duration_for_a_person(seconds: float, text: str) -> None:
    assert forecast_text.duration(seconds) == text
