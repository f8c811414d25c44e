"""A run's forecast in words, for `send --dry-run` and the first lines of `send`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import pairwise

from mailsluice.reports.forecast import DAYS_MAX, Forecast

NEVER = "never done: share and reserve of the daily quota leave nothing for this run"

YEARS_S = 2 * 365 * 86_400.0
"""Beyond this the hour is not shown."""

DAYS_SHOWN_MAX = 5
"""Number of days up to which each is shown."""

DAYS_FIRST = 3
"""With more days than that, so many are shown, and the last one."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def done(forecast: Forecast, wall: float) -> str:
    """Say how long it takes, when it ends, and what goes on which day if the quota interrupts.

    `wall` is the time of day (seconds since the epoch) at which the forecast was made; days are
    those of the local calendar. "done in 2 d 4 h (about 2026-11-27 13:05): 50,000 today, …".
    """
    if forecast.never:
        return NEVER
    to_wall = wall - forecast.made_at
    told = f"done in more than {DAYS_MAX} d"
    if forecast.done_at is not None and forecast.done_at - forecast.made_at > YEARS_S:
        return "done in years"
    if forecast.done_at is not None:
        at = _local(forecast.done_at + to_wall)
        shown = f"{at:%H:%M}" if at.date() == _local(wall).date() else f"{at:%Y-%m-%d %H:%M}"
        told = f"done in {duration(forecast.done_at - forecast.made_at)} (about {shown})"
    if not forecast.interrupted:
        return told
    days = [
        f"{weight:,} {_day(day, _local(wall).date())}"
        for day, weight in _by_day(forecast, to_wall).items()
    ]
    if len(days) > DAYS_SHOWN_MAX:
        days = [*days[:DAYS_FIRST], "…", days[-1]]
    if forecast.done_at is None:
        days = [*days[:DAYS_FIRST], "…"]
    return f"{told}: {', '.join(days)}"


def duration(seconds: float) -> str:
    """Write a duration in two units at most: "2 d 4 h", "25 min", "40 s"."""
    # 59.7 minutes are an hour: what is rounded decides upon the units.
    grain = 3_600 if seconds >= 86_400 else 60 if seconds >= 60 else 1  # noqa: PLR2004  # a day, a minute
    left = max(1, round(seconds / grain)) * grain
    parts = []
    for unit, name in _UNITS:
        if left >= unit:
            parts.append(f"{left // unit} {name}")
            left %= unit
    return " ".join(parts)


def _by_day(forecast: Forecast, to_wall: float) -> dict[date, int]:
    """Return how much goes on each day with any; the sum is that of the stretches."""
    sent, told = 0.0, 0
    days: dict[date, int] = {}
    for stretch in forecast.stretches:
        begin, end = stretch.begin + to_wall, stretch.end + to_wall
        for since, until in pairwise(_cut(begin, end)):
            sent += stretch.weight * ((until - since) / (end - begin) if end > begin else 1)
            day = _local(since).date()
            # Not each part is rounded but their sum: nothing gets lost.
            days[day] = days.get(day, 0) + round(sent) - told
            told = round(sent)
    return {day: weight for day, weight in days.items() if weight}


def _cut(begin: float, end: float) -> Iterator[float]:
    """Return `begin`, `end` and the local midnights between them."""
    yield begin
    day = _local(begin).date()
    while (midnight := _midnight_after(day)) < end:
        yield midnight
        day += timedelta(days=1)
    yield end


def _midnight_after(day: date) -> float:
    return datetime.combine(day + timedelta(days=1), time.min).astimezone().timestamp()


def _day(day: date, today: date) -> str:
    match (day - today).days:
        case 0:
            return "today"
        case 1:
            return "tomorrow"
        case _:
            return f"on {day:%a} {day.day} {day:%b}"


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at).astimezone()
