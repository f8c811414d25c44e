"""The production engine, unchanged, on virtual time: seeded lives with faults and crashes.

A failing seed is told by `python -m tests.sim SEED`, and kept in seeds.txt.
"""

import os
import subprocess
import sys

import pytest

from tests.sim import world

# A killed process leaves coroutines behind that nobody will ever run.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_every_recipient_is_accounted_for(seed: int) -> None:
    print(f"seed={seed}: python -m tests.sim {seed}")
    world.live(seed)


@pytest.mark.process
def test_the_same_seed_gives_the_same_life_in_every_process() -> None:
    traces = {told(hash_seed) for hash_seed in ("1", "2")}
    assert len(traces) == 1
    assert world.live(4).trace != world.live(3).trace


def told(hash_seed: str) -> str:
    """The trace of seed 3, as another process tells it."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.sim", "3"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.split()[-1]
