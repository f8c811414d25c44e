"""The production engine, unchanged, on virtual time: seeded lives with faults and crashes.

A failing seed is repeated by `python -m pytest tests/sim --seed N`.
"""

import pytest
from world import live

# A crashed process leaves coroutines behind that nobody will ever run.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_every_recipient_is_accounted_for(seed: int) -> None:
    print(f"seed={seed}")
    life = live(seed)
    counts = life.report.counts
    assert counts.conserved
    assert counts.pending == 0
    assert life.audit.lost == ()
    assert life.audit.unexplained == ()
    assert life.peak <= 1e-6, "more than the rate and one batch in some second"
    for row in life.audit.duplicated:
        assert life.doubts[row] >= 1, f"row {row} was accepted twice and nothing says why"
    if life.in_doubt == "hold":
        assert life.audit.agree


def test_the_same_seed_gives_the_same_life() -> None:
    one, two = live(3), live(3)
    assert one.report.counts == two.report.counts
    assert one.processes == two.processes
