"""Shows a run's progress: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import anyio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from mailsluice.cli import forecast_text, output
from mailsluice.cli.remaining import Remaining
from mailsluice.engine.engine import Engine
from mailsluice.engine.run import Statistics
from mailsluice.model import State
from mailsluice.model.plain import plain
from mailsluice.model.recent_rate import RecentRate
from mailsluice.model.wait_reason import Reason
from mailsluice.reports import forecast
from mailsluice.reports.forecast import DAYS_MAX, Forecast
from mailsluice.reports.remedies import next_steps
from mailsluice.reports.report import Report

REFRESH_S = 0.25
"""Interval between two pictures on a terminal, seconds."""

LINE_S = 10.0
"""Interval between two lines without a terminal, seconds."""

RATE_S = 15.0
"""Time over which the displayed rate is averaged, seconds."""

ETA_S = 5.0
"""Interval between two forecasts, seconds; each takes milliseconds."""

BAR_CHARACTERS = 30


@contextmanager
def waiting(for_what: str, *, quiet: bool) -> Iterator[None]:
    """Show on a terminal what is going on; show nothing elsewhere, or if `quiet`."""
    console = progress_console()
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(for_what):
        yield


class _Eta:
    """The remaining time, including waits for the daily quota."""

    def __init__(self, remaining: Remaining) -> None:
        self.remaining = remaining
        self._forecast: Forecast | None = None

    def of(self, now: Statistics) -> str:
        """Return the remaining time in words; `now` is the present moment."""
        at = anyio.current_time()
        made = self._forecast
        if made is None or at >= made.made_at + ETA_S:
            made = self._forecast = self._made(now, at)
        if made is None:
            return "not known"
        if made.never:
            return forecast_text.NEVER
        if made.done_at is None:
            return f"more than {DAYS_MAX} days"
        return str(timedelta(seconds=max(0, round(made.done_at - at))))

    def _made(self, now: Statistics, at: float) -> Forecast | None:
        left = self.remaining.left(now)
        if left is None and now.fraction_read:
            # Standard input from a file: all that is known of its length.
            settled = now.counts.read - now.counts.pending
            left = max(0, round(now.counts.read / now.fraction_read) - settled)
        if left is None:
            return None
        weight = round(left * self.remaining.addresses_each)
        return forecast.build_forecast(
            weight, _rate_of_sending(now), now.dispatcher.daily.outlook, at
        )


def _rate_of_sending(now: Statistics) -> float:
    """Return the rate outside waits for the daily quota, recipients per second."""
    sending_s = now.elapsed_s - now.pipeline.waited_s.get(Reason.DAILY, 0.0)
    sent = now.rate_per_s * now.elapsed_s
    # The average says nothing yet.
    return sent / sending_s if sent and sending_s > RATE_S else now.pacer.allowed_per_s


async def show(engine: Engine, console: Console, remaining: Remaining) -> None:
    """Print the plan when the run begins, then draw until cancelled."""
    with output.ignore_broken_pipe():
        begun, rate = await _begun(engine, console), RecentRate(RATE_S)
        if plan := _plan(begun, remaining):
            console.print(plan, markup=False, highlight=False, soft_wrap=True)
        rate.add(begun.elapsed_s, begun.counts.sent)
        show = _show_live if console.is_terminal else _show_lines
        await show(engine, console, rate, _Eta(remaining))


async def _begun(engine: Engine, console: Console) -> Statistics:
    """Wait for the run's first moment. Until then GetAccount is called, which takes a while."""
    if not console.is_terminal:
        return await engine.begun()
    with console.status("asking SES what the account allows"):
        return await engine.begun()


def _plan(now: Statistics, remaining: Remaining) -> str | None:
    """Return a line with the run's plan; None if nothing is left to be sent."""
    rate = now.pacer.allowed_per_s
    left = remaining.left(now)
    if left is None:
        return f"plan: at {rate:,.6g}/s; the number of recipients is not known"
    if not left:
        return None
    weight = math.ceil(left * remaining.addresses_each)
    made = forecast.build_forecast(weight, rate, now.dispatcher.daily.outlook, anyio.current_time())
    recipients = f"{'' if remaining.exact else 'about '}{left:,} recipient{'s'[: left > 1]}"
    calls = math.ceil(weight / now.pacer.size_usual)
    return (
        f"plan: {recipients} at {rate:,.6g}/s in about {calls:,} call{'s'[: calls > 1]}, "
        f"{forecast_text.done(made, time.time())}"
    )


async def _show_live(engine: Engine, console: Console, rate: RecentRate, eta: _Eta) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            now = engine.statistics()
            if now is not None:
                rate.add(now.elapsed_s, now.counts.sent)
                share = eta.remaining.done_share(now)
                live.update(_picture(now, share, rate.per_s, eta.of(now)), refresh=True)
            await anyio.sleep(REFRESH_S)


async def _show_lines(engine: Engine, console: Console, rate: RecentRate, eta: _Eta) -> None:
    while True:
        await anyio.sleep(LINE_S)
        now = engine.statistics()
        if now is not None:
            rate.add(now.elapsed_s, now.counts.sent)
            line = _line(now, rate.per_s, eta.of(now))
            console.print(line, highlight=False, soft_wrap=True)


def _line(now: Statistics, per_s: float, eta: str) -> str:
    counts = now.counts
    return (
        f"sent {counts.sent} ({per_s:.1f}/s of {now.pacer.ceiling_per_s:g}/s), "
        f"deferred {now.dispatcher.deferred}, in doubt {counts.in_doubt}, "
        f"rejected {counts.rejected + counts.failed}, refused {counts.refused}, "
        f"ETA {eta}, waiting for {now.why}"
    )


def _picture(now: Statistics, share: float | None, per_s: float, eta: str) -> Table:
    counts = now.counts
    table = Table.grid(padding=(0, 2))
    if share is not None:
        full = round(share * BAR_CHARACTERS)
        table.add_row("progress", f"{'█' * full}{'░' * (BAR_CHARACTERS - full)} {share:.0%}")
    quota = now.pacer.ceiling_per_s
    table.add_row("sent", f"[bold green]{counts.sent:,}[/]")
    table.add_row("rate", f"{per_s:,.1f}/s of {quota:,.6g}/s ({per_s / quota:.0%})")
    table.add_row("deferred", f"{now.dispatcher.deferred:,}")
    table.add_row("in doubt", f"[yellow]{counts.in_doubt:,}[/]" if counts.in_doubt else "0")
    bad = counts.refused + counts.rejected + counts.failed
    table.add_row("not sent", f"{bad:,} refused or rejected, {counts.duplicate:,} duplicate")
    table.add_row("ETA", eta)
    table.add_row("limited by", now.why)
    return table


def summarise(report: Report, journal: str, console: Console) -> None:
    """Print the summary of a run. `journal` is its journal's name as a shell takes it."""
    counts = report.counts
    console.print(report.state, style="bold", end="")
    console.print(
        f": {plain(str(report.hold))}" if report.hold else "", markup=False, soft_wrap=True
    )
    table = Table.grid(padding=(0, 2))
    for name in ("read", "refused", "duplicate", "suppressed"):
        table.add_row(name, f"{getattr(counts, name):>12,}")
    for name in ("sent", "rejected", "failed", "in_doubt", "pending"):
        table.add_row(name.replace("_", " "), f"{getattr(counts, name):>12,}")
    console.print(table)
    if report.elapsed_s:
        console.print(
            f"{report.calls:,} call{'s'[: report.calls != 1]} in {report.elapsed_s:.1f} s, "
            f"{report.rate_per_s:,.1f} recipients/s of {report.quota_rate_per_s:,.6g}/s, "
            f"{report.throttled:,} throttled",
            highlight=False,
            soft_wrap=True,
        )
    again = [
        state
        for state, count in ((State.FAILED, counts.failed), (State.REJECTED, counts.rejected))
        if count
    ]
    for step in next_steps(report.state, report.hold, counts, journal, again):
        console.print(f"next: {plain(step)}", markup=False, highlight=False, soft_wrap=True)


def progress_console() -> Console:
    """Return a console on standard error: standard output is for the command's result."""
    return Console(file=sys.stderr)
