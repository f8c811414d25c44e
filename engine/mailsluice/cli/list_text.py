"""A checked list in words: its rows and columns, the first row as SES gets it, time and cost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson

from mailsluice.checking.recipients import Impression
from mailsluice.checking.rows import Sample, Seen
from mailsluice.cli import forecast_text
from mailsluice.config.settings import QuotaSettings, RecipientsSettings
from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.engine import account as quotas
from mailsluice.model import Account
from mailsluice.model.rolling_window import RollingDay
from mailsluice.reports import forecast
from mailsluice.reports import plan as plans

COLUMNS_SHOWN_MAX = 20

DATA_SHOWN_CHARACTERS = 500


def lines(seen: Seen, settings: RecipientsSettings) -> Iterator[str]:
    """Return the lines about the list in `check`."""
    yield _line("rows", f"{seen.read:,} read, {seen.refused:,} refused, {seen.weight:,} addresses")
    if seen.impression is not None:
        yield columns_line(seen.impression, settings)
    if seen.first is not None:
        yield first_line(seen.first)


def columns_line(seen: Impression, settings: RecipientsSettings) -> str:
    """Say which column holds the address, and which become template data."""
    shown = list(seen.columns[:COLUMNS_SHOWN_MAX])
    if len(seen.columns) > len(shown):
        shown.append("...")
    data = ", ".join(shown) or "none"
    return _line("columns", f"address: {settings.address}; template data: {data}")


def first_line(first: Sample) -> str:
    """Show the data of the first row, merged with the mailing's."""
    data = orjson.dumps(first.data, default=str).decode()
    if len(data) > DATA_SHOWN_CHARACTERS:
        data = f"{data[:DATA_SHOWN_CHARACTERS]}..."
    return _line(f"row {first.row}", f"{', '.join(first.entry.to)}: {data}")


def cost_lines(account: Account, weight: int, settings: QuotaSettings) -> Iterator[str]:
    """Say what the account allows, and when so many addresses are done."""
    daily = "unlimited" if account.daily_max < 0 else f"{account.daily_max:,.0f} per 24 h"
    sandbox = "" if account.production else ", in the sandbox"
    yield _line(
        "account", f"{account.rate_per_s:,.6g}/s, {daily}, {account.daily_sent:,.0f} used{sandbox}"
    )
    if account.rate_per_s > 0 and weight:
        now = time.time()
        quota = DailyQuota(RollingDay(), share=settings.share, reserve=settings.reserve)
        quota.learn(account.daily_max, account.daily_sent, now)
        made = forecast.build_forecast(
            weight, quotas.rate_per_s(settings, account), quota.outlook(now), now
        )
        yield _line("time", forecast_text.done(made, now))
    price = weight / 1000 * plans.price_of_1000(settings.price_per_1000, account)
    yield _line("cost", f"${price:,.2f}")


def _line(name: str, text: str) -> str:
    return f"{name:<12}{text}"
