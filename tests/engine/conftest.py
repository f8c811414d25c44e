"""What the engine's tests share."""

from __future__ import annotations

import pytest

from mailsluice.emulator import Emulator


@pytest.fixture
def fast(ses_emulator: Emulator) -> Emulator:
    """An account that limits nothing."""
    ses_emulator.change_account(rate_per_s=1e6, daily_max=-1)
    return ses_emulator
