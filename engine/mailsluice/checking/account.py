"""What GetAccount says about a mailing that is to be sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mailsluice.checking.findings import Finding, finding
from mailsluice.model import Account


def judge(account: Account) -> Iterator[Finding]:
    """Judge if the account sends, and to which recipients."""
    if account.enforcement == "SHUTDOWN":
        yield finding("ACCOUNT_SUSPENDED", "SES has shut the account's sending down")
    elif not account.sending_enabled:
        yield finding("ACCOUNT_SENDING_PAUSED", "sending is disabled for the account")
    elif not account.rate_per_s > 0:
        yield finding("ACCOUNT_SENDING_PAUSED", "the account's sending rate is 0")
    if account.enforcement == "PROBATION":
        yield finding(
            "ACCOUNT_ON_PROBATION", "SES has put the account under review, and may stop all sending"
        )
    if not account.production:
        yield finding(
            "SANDBOX",
            f"the account is in the sandbox: {account.daily_max:,.0f} recipients a day, and only "
            "verified ones or the mailbox simulator's",
        )


def judge_quota(account: Account, weight: int, *, share: float, reserve: int) -> Iterator[Finding]:
    """Whether the daily quota ever has room for a recipient of this mailing."""
    if not weight or account.daily_max < 0:
        return
    room = account.daily_max * share - reserve
    if room < 1:
        yield finding(
            "QUOTA_TOO_SMALL",
            f"of the {account.daily_max:,.0f} recipients a day, [quota] share and reserve leave "
            "none for this mailing",
        )


def judge_sandbox(unverified: int, first_row: int) -> Iterator[Finding]:
    """Find recipients that are not verified, for an account in the sandbox."""
    if unverified:
        yield finding(
            "SANDBOX_RECIPIENTS",
            f"the account is in the sandbox, and {unverified:,} of the recipients that were looked "
            f"up are not verified, the first in row {first_row:,}",
        )
