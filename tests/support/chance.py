"""Seeds of tests that draw at random."""

from __future__ import annotations

from random import SystemRandom

from hypothesis import settings


def a_seed() -> int:
    """Another seed each time in `make prove`, always the same one in `make test`; printed."""
    seed = 0 if settings().derandomize else SystemRandom().randrange(2**32)
    print(f"{seed=}")
    return seed


def seeds(most: int) -> list[int]:
    """So many drawn seeds in `make prove`, as a median needs them; one in `make test`."""
    return [a_seed() for _ in range(1 if settings().derandomize else most)]
