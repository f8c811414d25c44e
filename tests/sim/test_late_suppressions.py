"""S1: an address that was suppressed is in no later intent, whatever goes wrong meanwhile."""

import pytest

from tests.sim import suppressing

SEEDS = range(40)

# As in test_simulation.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_s1_what_was_suppressed_is_in_no_later_intent() -> None:
    lived = [suppressing.live(seed) for seed in SEEDS]
    assert [each for proof in lived for each in proof.violations] == []
    assert sum(each.kept_back for each in lived) > len(SEEDS), "the lives must have had cause"
