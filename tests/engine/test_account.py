"""What the settings and the account together allow."""

import pytest

from mailsluice import QuotaSettings
from mailsluice.emulator import Emulator
from mailsluice.engine.account import AccountGate, rate_per_s
from mailsluice.journal.standing import Standing
from mailsluice.model import Account
from mailsluice.ses.client import Client


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


@pytest.mark.parametrize(("calls", "at_once"), [(0, 50), (1, 1)])
async def test_only_a_journal_without_calls_begins_with_a_full_bucket(
    ses_emulator: Emulator, calls: int, at_once: int
) -> None:
    """Another process may have sent a batch just now."""
    ses_emulator.change_account(rate_per_s=100)
    standing = Standing(calls=calls)
    async with Client(
        region=None, profile=None, endpoint_url=None, in_flight_max=2, timeout_s=5
    ) as client:
        account = AccountGate(client, QuotaSettings(), 32, wall=lambda: 0.0, day_s=86_400)
        async with account.open("a.journal", standing) as gate:
            assert gate.pacer.size_now(0.0) == at_once
