"""How a run shows itself: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from datetime import timedelta

import anyio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from mailsluice.cli import voice
from mailsluice.current import Statistics
from mailsluice.engine import Engine
from mailsluice.remedies import remedy
from mailsluice.report import Report

REFRESH_S = 0.25
"""Between two pictures on a terminal."""

LINE_S = 10.0
"""Between two lines where there is no terminal."""

PACE_S = 15.0
"""Seconds over which the displayed rate is taken."""

BAR_CHARACTERS = 30


class _Pace:
    """Recipients sent per second over the last seconds: the average hides what happens now."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, now: Statistics) -> float:
        """The present pace, `now` included."""
        self._seen.append((now.elapsed_s, now.counts.sent))
        while now.elapsed_s - self._seen[0][0] > PACE_S:
            self._seen.popleft()
        then_s, then_sent = self._seen[0]
        if then_s == now.elapsed_s:
            return now.rate_per_s
        return (now.counts.sent - then_sent) / (now.elapsed_s - then_s)


async def show(engine: Engine, console: Console) -> None:
    """Draw until cancelled."""
    with voice.unheard_is_fine():
        await (_show_live if console.is_terminal else _show_lines)(engine, console, _Pace())


async def _show_live(engine: Engine, console: Console, pace: _Pace) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            now = engine.statistics()
            if now is not None:
                live.update(_picture(now, pace.of(now)), refresh=True)
            await anyio.sleep(REFRESH_S)


async def _show_lines(engine: Engine, console: Console, pace: _Pace) -> None:
    while True:
        await anyio.sleep(LINE_S)
        now = engine.statistics()
        if now is not None:
            console.print(_line(now, pace.of(now)), highlight=False, soft_wrap=True)


def _line(now: Statistics, pace: float) -> str:
    counts = now.counts
    return (
        f"sent {counts.sent} ({pace:.1f}/s of {now.pacer.ceiling_per_s:g}/s), "
        f"deferred {now.dispatcher.deferred}, in doubt {counts.in_doubt}, "
        f"rejected {counts.rejected + counts.failed}, refused {counts.refused}, "
        f"ETA {_eta(now)}, waiting for {now.why}"
    )


def _picture(now: Statistics, pace: float) -> Table:
    counts, share = now.counts, _done_share(now)
    table = Table.grid(padding=(0, 2))
    if share is not None:
        full = round(share * BAR_CHARACTERS)
        table.add_row("progress", f"{'█' * full}{'░' * (BAR_CHARACTERS - full)} {share:.0%}")
    quota = now.pacer.ceiling_per_s
    table.add_row("sent", f"[bold green]{counts.sent:,}[/]")
    table.add_row("rate", f"{pace:,.1f}/s of {quota:,.6g}/s ({pace / quota:.0%})")
    table.add_row("deferred", f"{now.dispatcher.deferred:,}")
    table.add_row("in doubt", f"[yellow]{counts.in_doubt:,}[/]" if counts.in_doubt else "0")
    bad = counts.refused + counts.rejected + counts.failed
    table.add_row("not sent", f"{bad:,} refused or rejected, {counts.duplicate:,} duplicate")
    table.add_row("ETA", _eta(now))
    table.add_row("limited by", now.why)
    return table


def _done_share(now: Statistics) -> float | None:
    """Part of all recipients that is settled, judged by how much of the source has been read."""
    counts = now.counts
    if now.fraction_read is None or not counts.read:
        return None
    return now.fraction_read * (counts.read - counts.pending) / counts.read


def _eta(now: Statistics) -> str:
    counts = now.counts
    if not now.fraction_read or not now.rate_per_s:
        return "not known"
    left = counts.read / now.fraction_read - (counts.read - counts.pending)
    return str(timedelta(seconds=max(0, round(left / now.rate_per_s))))


def summarise(report: Report, console: Console) -> None:
    """The last word on a run."""
    counts = report.counts
    console.print(report.state, style="bold", end="")
    console.print(f": {report.hold}" if report.hold else "", markup=False, soft_wrap=True)
    if report.hold:
        console.print(f"next: {remedy(report.hold)}", markup=False, highlight=False, soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    for name in ("read", "refused", "duplicate", "suppressed"):
        table.add_row(name, f"{getattr(counts, name):>12,}")
    for name in ("sent", "rejected", "failed", "in_doubt", "pending"):
        table.add_row(name.replace("_", " "), f"{getattr(counts, name):>12,}")
    console.print(table)
    if report.state == "finished" and not report.calls and counts.read:
        console.print(
            "nothing was sent: this run had finished; for a new one name another --journal, for a "
            "part of it --only failed|rejected|in-doubt",
            soft_wrap=True,
        )
    if report.elapsed_s:
        console.print(
            f"{report.calls:,} calls in {report.elapsed_s:.1f} s, {report.rate_per_s:,.1f} "
            f"recipients/s of {report.quota_rate_per_s:,.6g}/s, {report.throttled:,} throttled",
            highlight=False,
            soft_wrap=True,
        )


def progress_console() -> Console:
    """Progress goes to standard error, so that standard output stays the command's result."""
    return Console(file=sys.stderr)
