"""Seeds for the simulation."""

import pytest

from tests.sim import kept

SEEDS = 50


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", sorted({*range(SEEDS), *kept.seeds()}))
