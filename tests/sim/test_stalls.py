"""Whatever stalls: in no window of t seconds more than the rate and one batch, and no time lost."""

from random import SystemRandom

import pytest

from mailsluice.dispatch import batching
from tests.sim import stalls
from tests.sim.stalls import Stalls
from tests.sim.world import ROUNDING
from tests.support.rate import excess

LIVES = [
    Stalls(),
    Stalls(disk=True),
    Stalls(connect=True),
    Stalls(machine=True),
    Stalls(at_write=True),
    Stalls(disk=True, connect=True, machine=True, at_write=True),
]

RATES = (14, 200)

SECONDS = 12
"""What the mailing takes if nothing stalls."""


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("which", LIVES, ids=str)
def test_no_window_holds_more_than_the_rate_and_one_batch(which: Stalls, rate: int) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"{seed=}")
    life = stalls.live(seed, rate, rate * SECONDS, which)
    assert life.report.counts.sent == rate * SECONDS
    assert excess(life.written, rate, batching.size_for(rate)) <= ROUNDING
    if not which.connect:  # with 32 calls that take 5 s to connect, the rate cannot be had
        assert life.elapsed_s - life.stalled_s < SECONDS + 3
