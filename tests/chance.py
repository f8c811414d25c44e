"""Seeds of tests that draw at random."""

from __future__ import annotations

from random import SystemRandom

from hypothesis import settings


def a_seed() -> int:
    """Another seed each time in `make prove`, always the same one in `make test`; printed."""
    seed = 0 if settings().derandomize else SystemRandom().randrange(2**32)
    print(f"{seed=}")
    return seed
