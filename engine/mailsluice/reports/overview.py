"""What a run is doing, or why it waits, read from its journal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice

from mailsluice.journal import STATE_CODES, Event, Journal, RunHeader, Settlement
from mailsluice.journal.standing import HELD, Standing
from mailsluice.model import Counts, State
from mailsluice.model.hold import Hold
from mailsluice.model.recent_rate import RecentRate

RATE_S = 60.0
"""Time before the last record over which the rate is averaged, seconds."""

ROWS_MAX = 20
"""Number of rows in doubt that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One moment of a run. Times are seconds since the epoch; None if there was none."""

    state: str
    """running, finished, held, stopped, interrupted, reopened or not begun."""
    hold: Hold | None
    waiting_for: str | None
    """What limits the run, or keeps it from sending; None if it waited for nothing for long."""
    waiting_since: float | None
    pace_per_s: float
    """The rate of late: recipients sent per second in the last `RATE_S` of the records."""
    run: RunHeader | None
    fraction_read: float | None
    """Part of the list's bytes, as it was when the run began, that has been read; None if the list
    has no size."""
    reopened: State | None
    """The recipients of the finished run that are being sent again."""
    last_at: float | None
    calls: int
    in_flight: int
    """Recipients in calls under way."""
    answers: dict[str, int]
    """Attempts by SES's status or error code, the most frequent first."""
    counts: Counts
    in_doubt: tuple[int, ...]
    """The first rows in doubt."""
    again: tuple[State, ...]
    """States (failed, rejected) with recipients that may be sent again."""


def read_overview(journal: Journal, *, running: bool) -> Overview:
    """Read the whole journal; set `running` if a process is writing it."""
    standing = Standing()
    answers: Counter[str] = Counter()
    rate, sent = RecentRate(RATE_S), 0
    for record in journal.replay(details=True):
        standing.apply(record)
        if isinstance(record, Settlement):
            answers.update(record.statuses)
            sent += record.states.count(STATE_CODES[State.SENT])
        if isinstance(record, Settlement | Event):
            rate.add(record.at, sent)
    if not running:
        standing.apply_all(_unanswered(standing))
    event = standing.last_event
    waiting = standing.last_waiting if running else None
    return Overview(
        state="running" if running else _state(standing),
        hold=Hold.recorded(event.text) if event and event.name == HELD else None,
        waiting_for=waiting.text if waiting else None,
        waiting_since=waiting.at if waiting else None,
        pace_per_s=rate.per_s,
        run=journal.run,
        fraction_read=_fraction_read(journal.run, standing),
        reopened=standing.reopened,
        last_at=standing.last_at if event else None,
        calls=standing.calls,
        in_flight=sum(map(len, standing.open.values())),
        answers=dict(answers.most_common()),
        counts=standing.counts,
        in_doubt=tuple(islice(standing.revisable[State.IN_DOUBT], ROWS_MAX)),
        again=tuple(
            state
            for state in (State.FAILED, State.REJECTED)
            if any(True for _ in standing.revisable[state])
        ),
    )


def _fraction_read(run: RunHeader | None, standing: Standing) -> float | None:
    source = run.source if run else None
    if source is None or not source.size:
        return None
    read = standing.head.size if standing.head else 0
    return min(1.0, read / source.size)


def _unanswered(standing: Standing) -> list[Settlement]:
    """Count open calls whose answers no process is left to record."""
    in_doubt = STATE_CODES[State.IN_DOUBT]
    return [
        Settlement(standing.last_at, number, in_doubt * len(seqs), (), (), ())
        for number, seqs in standing.open.items()
    ]


def _state(standing: Standing) -> str:
    """Return the state in which the last process left the run, or an operator since."""
    match standing.last_event:
        case None:
            return "not begun"
        case Event(_, "begun" | "resumed" | "reopened"):
            return "interrupted" if standing.counts.read else "not begun"
        case Event(_, "finished") if standing.counts.pending:
            return "reopened"
        case Event(_, name):
            return name
