"""What the settings and the account together allow."""

import pytest

from mailsluice import QuotaSettings
from mailsluice.model import Account
from mailsluice.quota import rate_per_s


@pytest.mark.parametrize(
    ("settings", "account_rate", "rate"),
    [
        ({}, 14, 14),
        ({"share": 0.5}, 14, 7),
        ({"rate": 5}, 14, 5),
        ({"rate": 100}, 14, 14),
        ({"rate": 100, "share": 0.5}, 14, 7),
        ({"rate": 100, "share": 0.5}, None, 100),
    ],
)
def test_a_run_is_never_faster_than_settings_and_account_allow(
    settings: dict[str, float], account_rate: float | None, rate: float
) -> None:
    account = account_rate and Account(rate_per_s=account_rate, daily_max=-1, daily_sent=0)
    assert rate_per_s(QuotaSettings(**settings), account or None) == rate
