"""The cases of `make bench-quota`, in seconds instead of minutes."""

from dataclasses import replace
from statistics import median
from typing import Any

import pytest
from hypothesis import settings

from benchmarks.quota_cases import Case, cases
from tests.sim import pace
from tests.support.chance import a_seed, seeds

pytestmark = pytest.mark.slow

FAST_S = 2.0
"""Of the fastest account: 5,000 recipients a second."""

SHORTER: dict[str, dict[str, Any]] = {
    "tenant": {"seconds": 50.0},
    "slow": {"seconds": 50.0},
    "killed": {"seconds": 21.0, "kills": 6},
}
"""What is cut off is like what is left: `make prove` runs all of it."""


def _cases() -> list[Case]:
    if not settings().derandomize:
        return cases()
    return [replace(case, **SHORTER.get(case.name, {})) for case in cases(fast_s=FAST_S)]


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case.name)
def test_the_quota_is_used_and_never_exceeded(case: Case) -> None:
    seed = a_seed()
    measured = pace.run(case, seed)
    for goal in case.goals:
        value = goal.of(measured)
        told = f"{case.name}, seed {seed}: {goal.name} {goal.shown(value)}, wanted {goal.wanted}"
        print(told)
        assert goal.reached(value), told


DAILY = next(case for case in cases() if case.name == "daily")


def test_a_process_restarted_while_it_waits_for_the_day_keeps_waiting() -> None:
    # GetAccount knows nothing of the day's sends for longer than the first two processes live.
    case = replace(DAILY, kills=4, account={**DAILY.account, "lag_s": 400.0})
    waits = [at for at in case.kill_times if 5000 / 200 < at < case.day_s]
    assert len(waits) == 4
    measured = pace.run(case, a_seed())
    assert (measured.most_in_a_day, measured.daily_refused, measured.left_over) == (5000, 0, 0)


def test_a_rise_and_a_cut_take_effect_within_one_interval() -> None:
    case = Case(
        name="changes",
        title="100/s, 300/s from 10 s, 50/s from 20 s",
        account={"rate_per_s": 100, "daily_max": -1},
        changes=[(10, {"rate_per_s": 300}), (20, {"rate_per_s": 50})],
        goals=[],
        recipients=6000,
        seconds=30,
    )
    after, cut = 1 + pace.REFRESH_S, []
    for seed in seeds(3):
        measured = pace.run(case, seed)
        for begin, end in ((0, 10), (10, 20)):
            assert measured.used(begin + after, end) == pytest.approx(1, abs=0.05)
        cut.append(measured.used(20 + after, 30))
    # Until the cut was known SES throttled, which takes some seconds to be forgotten: 0.84 and more
    # of sixty seeds, 0.65 of one among hundreds.
    assert median(cut) > 0.7
    assert min(cut) > 0.5
    assert max(cut) < 1.05


@pytest.mark.parametrize(
    ("account", "limit"),
    [({"calls_per_s": 1}, 50), ({"calls_per_s": 2}, 100), ({"calls_per_s": 0}, 200)],
)
def test_a_limit_on_calls_that_nobody_has_configured_is_learnt(
    account: dict[str, float], limit: int
) -> None:
    case = Case(
        name="calls",
        title="",
        account={"rate_per_s": 200, "daily_max": -1, **account},
        goals=[],
    )
    # How soon it is learnt hangs on when answers come: 0.6 to 0.7 of one call a second.
    taken = [pace.run(case, seed).taken(10, 60) / 50 for seed in seeds(3)]
    assert median(taken) > 0.6 * limit
    assert min(taken) > 0.5 * limit


def test_where_every_answer_is_slow_the_calls_are_full() -> None:
    case = Case(
        name="slow answers",
        title="",
        account={"rate_per_s": 5000, "daily_max": -1},
        latency_s=(0.25, 0.25),
        goals=[],
        seconds=4,
    )
    measured = pace.run(case, a_seed())
    assert measured.used(1, 4) > 0.98


def test_a_stray_word_about_calls_does_not_bind_for_ever() -> None:
    case = Case(
        name="lifted",
        title="",
        account={"rate_per_s": 14, "daily_max": -1, "calls_per_s": 1},
        changes=[(20, {"calls_per_s": 0, "rate_per_s": 500})],
        recipients=20_000,
        goals=[],
        seconds=50,
    )
    measured = pace.run(case, a_seed())
    assert measured.used(40, 50) > 0.95
