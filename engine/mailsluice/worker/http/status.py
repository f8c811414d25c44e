"""The state of a worker at one moment, for `/status` and the page."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

from mailsluice.model import LANE_SHARES, Lane, State
from mailsluice.model.recent_rate import RecentRate
from mailsluice.model.wait_reason import Reason
from mailsluice.worker.counters import Counters
from mailsluice.worker.mailings.job import Job, JobState
from mailsluice.worker.queue.sender import COUNTED
from mailsluice.worker.worker import Worker

HISTORY_MAX = 300
"""Length of the page's chart, seconds."""

RATE_S = 30.0
"""Time over which a mailing's rate is averaged, seconds."""


@dataclass(frozen=True, slots=True)
class Point:
    """One second of the chart."""

    at: float
    """Seconds since the epoch."""
    sent_per_s: float
    allowed_per_s: float


class Watch:
    """Samples a worker once per second."""

    def __init__(self, worker: Worker, counters: Counters) -> None:
        self._worker = worker
        self._counters = counters
        self._history: deque[Point] = deque(maxlen=HISTORY_MAX)
        self._sent: Counter[Lane] = Counter()
        self._per_s: dict[Lane, float] = dict.fromkeys(LANE_SHARES, 0.0)
        self._rates: dict[str, RecentRate] = {}
        """Rates of mailings that are being sent, since they were last paused."""
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Add one second to the history."""
        now = time.monotonic()
        since_s = max(0.001, now - self._looked_at)
        for lane, states in self._counters.states.items():
            self._per_s[lane] = (states[State.SENT] - self._sent[lane]) / since_s
            self._sent[lane] = states[State.SENT]
        self._looked_at = now
        sent_per_s, allowed_per_s = sum(self._per_s.values()), self._worker.allowed_per_s
        self._history.append(Point(time.time(), sent_per_s, allowed_per_s))
        before, self._rates = self._rates, {}
        for name, job in self._worker.mailings.jobs.items():
            if not self._worker.paused and (moment := job.statistics) is not None:
                self._rates[name] = rate = before.get(name) or RecentRate(RATE_S)
                rate.add(now, moment.counts.sent)

    def status(self) -> dict[str, Any]:
        """Return the present state as JSON values."""
        worker, counters, pace = self._worker, self._counters, self._worker.pace
        return {
            "worker": worker.id,
            "ready": worker.ready,
            "paused": worker.paused,
            "why": _why(worker),
            "quota_per_s": pace.ceiling_per_s if pace else 0.0,
            "allowed_per_s": worker.allowed_per_s,
            "calls": counters.calls,
            "slow_downs": pace.throttles if pace else 0,
            "lanes": {
                lane: {"sent": states[State.SENT], "sent_per_s": round(self._per_s[lane], 2)}
                for lane, states in counters.states.items()
            },
            "in_doubt": _in_doubt(worker),
            "statuses": dict(counters.statuses.most_common()),
            "queue": _queue(worker),
            "feedback": _feedback(worker),
            "mailings": [
                _mailing(
                    job,
                    self._rates[name].per_s if name in self._rates else 0.0,
                    paused=worker.paused,
                )
                for name, job in worker.mailings.jobs.items()
            ],
            "history": [asdict(point) for point in self._history],
        }


def _why(worker: Worker) -> str | None:
    """Say in words why the worker is not faster at this moment."""
    if worker.paused:
        return "an operator has paused it"
    if (hold := worker.hold) is not None:
        return hold
    sending = [job for job in worker.mailings.jobs.values() if job.state is JobState.SENDING]
    reasons: list[tuple[Reason, str]] = [
        (now.pipeline.waiting_for, now.why) for job in sending if (now := job.statistics)
    ]
    messages = worker.segments.waiting_for if worker.segments is not None else None
    if messages is not None:
        reasons.append((messages, f"messages wait for {messages}"))
    if not reasons:
        held = (job for job in worker.mailings.jobs.values() if job.state is JobState.HELD)
        return next((f"{job.name} is held: {job.why}" for job in held), None)
    _, why = min(reasons, key=lambda each: each[0] in _ITS_OWN)
    return why


def _in_doubt(worker: Worker) -> int:
    """Count doubts of messages and of the mailings shown, including those of earlier processes."""
    of_messages = worker.segments.in_doubt if worker.segments else 0
    return of_messages + sum(job.known_counts.in_doubt for job in worker.mailings.jobs.values())


_ITS_OWN = {Reason.SOURCE, Reason.TURN, Reason.BACKOFF, Reason.ANSWERS, Reason.STOPPING}
"""Reasons that concern one mailing only: a reason for all of them says more."""


def _mailing(job: Job, rate_per_s: float, *, paused: bool) -> dict[str, Any]:
    now, counts = job.statistics, job.known_counts
    fraction = now.fraction_read if now else job.fraction_read
    if job.state is JobState.FINISHED:
        fraction = 1.0
    left_s = None
    if rate_per_s and fraction:
        rows = counts.read / fraction
        left_s = max(0.0, rows - counts.read + counts.pending) / rate_per_s
    return {
        "name": job.name,
        "state": job.state_shown(paused=paused).value,
        "why": job.why,
        "counts": asdict(counts),
        "rate_per_s": round(rate_per_s, 2),
        "fraction_read": fraction,
        "left_s": left_s,
        "why_not_faster": now.why if now and job.state is JobState.SENDING else None,
        "throttled": now.pipeline.throttled if now else job.report.throttled if job.report else 0,
        "in_flight": now.dispatcher.in_flight if now else 0,
    }


def _queue(worker: Worker) -> dict[str, Any] | None:
    consumer = worker.consumer
    if consumer is None:
        return None
    return {
        "in_hand": len(consumer.in_hand),
        "waiting": worker.segments.waiting if worker.segments else 0,
        "in_flight": worker.segments.in_flight if worker.segments else 0,
        "malformed": consumer.malformed,
        "hold": consumer.recipients.hold or consumer.unreachable,
        "counts": {state.value: consumer.recipients.counts[state] for state in COUNTED},
    }


def _feedback(worker: Worker) -> dict[str, Any] | None:
    feedback = worker.feedback
    if feedback is None:
        return None
    totals = feedback.ingest.totals
    return {
        "events": dict(totals.events),
        "unread": totals.unread,
        "trouble": feedback.trouble,
    }
