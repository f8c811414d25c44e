"""The cases of `make bench-quota`, in seconds instead of minutes."""

from random import SystemRandom

import pytest

from benchmarks.quota_cases import Case, cases
from tests.sim import pace

FAST_S = 8.0
"""Of the fastest account: 5,000 recipients a second."""


@pytest.mark.parametrize("case", cases(fast_s=FAST_S), ids=lambda case: case.name)
def test_the_quota_is_used_and_never_exceeded(case: Case) -> None:
    seed = SystemRandom().randrange(2**32)
    measured = pace.run(case, seed)
    for goal in case.goals:
        value = goal.of(measured)
        told = f"{case.name}, seed {seed}: {goal.name} {goal.shown(value)}, wanted {goal.wanted}"
        print(told)
        assert goal.reached(value), told
