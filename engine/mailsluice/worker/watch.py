"""What can be seen of a worker: one frozen moment for the status, the page and the metrics."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mailsluice.gate import LANE_SHARES, Lane
from mailsluice.model import Counts, State
from mailsluice.reasons import Reason
from mailsluice.sending import BatchSettled
from mailsluice.worker.consumer import Consumer
from mailsluice.worker.job import Job, JobState
from mailsluice.worker.segments import Segments
from mailsluice.worker.worker import Worker

HISTORY_MAX = 300
"""Seconds that the page's chart shows."""

PACE_S = 30.0
"""Seconds over which the pace of a mailing is taken."""

_NOTHING = Counts()


class Totals:
    """What this process has done, call by call: `settled` is an engine's `on_event`."""

    def __init__(self) -> None:
        self.calls = 0
        self.states: dict[Lane, Counter[State]] = {lane: Counter() for lane in LANE_SHARES}
        """Recipients by what became of an attempt; pending: deferred."""
        self.statuses: Counter[str] = Counter()
        """Attempts that sent nothing, by SES's status."""

    def settled(self, event: BatchSettled) -> None:
        """One more call has its answer."""
        self.calls += 1
        self.states[event.lane].update(event.states)
        self.statuses.update(event.statuses)

    def of(self, state: State) -> int:
        """In both lanes."""
        return sum(each[state] for each in self.states.values())


@dataclass(frozen=True, slots=True)
class Point:
    """One second of the chart."""

    at: float
    """Seconds since the epoch."""
    sent_per_s: float
    allowed_per_s: float


class _Pace:
    """Of one mailing, in the last `PACE_S` in which nobody paused it."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, sent: int) -> None:
        self._seen.append((now, sent))
        while now - self._seen[0][0] > PACE_S:
            self._seen.popleft()

    @property
    def per_s(self) -> float:
        (began, before), (now, sent) = self._seen[0], self._seen[-1]
        return (sent - before) / (now - began) if now > began else 0.0


class Watch:
    """Looks at a worker once a second."""

    def __init__(self, worker: Worker, totals: Totals) -> None:
        self._worker = worker
        self._totals = totals
        self._history: deque[Point] = deque(maxlen=HISTORY_MAX)
        self._sent: Counter[Lane] = Counter()
        self._per_s: dict[Lane, float] = dict.fromkeys(LANE_SHARES, 0.0)
        self._paces: dict[str, _Pace] = {}
        """Of the mailings that are being sent."""
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Add one second to the history."""
        now = time.monotonic()
        since_s = max(0.001, now - self._looked_at)
        for lane, states in self._totals.states.items():
            self._per_s[lane] = (states[State.SENT] - self._sent[lane]) / since_s
            self._sent[lane] = states[State.SENT]
        self._looked_at = now
        sent_per_s, allowed_per_s = sum(self._per_s.values()), _allowed_per_s(self._worker)
        self._history.append(Point(time.time(), sent_per_s, allowed_per_s))
        sending = {
            name: job.statistics.counts.sent
            for name, job in self._worker.mailings.jobs.items()
            if job.statistics is not None and not self._worker.paused
        }
        self._paces = {name: self._paces.get(name) or _Pace() for name in sending}
        for name, sent in sending.items():
            self._paces[name].add(now, sent)

    def status(self) -> dict[str, Any]:
        """The present moment, as JSON has it."""
        worker, totals, pace = self._worker, self._totals, self._worker.pace
        return {
            "worker": worker.id,
            "ready": worker.ready,
            "paused": worker.paused,
            "why": _why(worker),
            "quota_per_s": pace.ceiling_per_s if pace else 0.0,
            "allowed_per_s": _allowed_per_s(worker),
            "calls": totals.calls,
            "slow_downs": pace.throttles if pace else 0,
            "lanes": {
                lane: {"sent": states[State.SENT], "sent_per_s": round(self._per_s[lane], 2)}
                for lane, states in totals.states.items()
            },
            "in_doubt": _in_doubt(worker),
            "statuses": dict(totals.statuses.most_common()),
            "queue": _queue(worker),
            "mailings": [
                _mailing(
                    job,
                    self._paces[name].per_s if name in self._paces else 0.0,
                    paused=worker.paused,
                )
                for name, job in worker.mailings.jobs.items()
            ],
            "history": [asdict(point) for point in self._history],
        }


def _why(worker: Worker) -> str | None:
    """Why it is not faster at this moment, for a person."""
    if worker.paused:
        return "an operator has paused it"
    consumer, engine = worker.consumer, worker.engine
    hold = (
        worker.hold
        or (consumer.hold or consumer.unreachable if consumer else None)
        or (engine.account_hold if engine else None)
    )
    if hold:
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


def _allowed_per_s(worker: Worker) -> float:
    pace, engine = worker.pace, worker.engine
    held = engine is None or engine.account_hold is not None
    return 0.0 if pace is None or held else pace.allowed_per_s


def _in_doubt(worker: Worker) -> int:
    """Of messages and of the mailings that are shown, whichever process sent them."""
    of_messages = worker.segments.in_doubt if worker.segments else 0
    return of_messages + sum(_counts(job).in_doubt for job in worker.mailings.jobs.values())


_ITS_OWN = {Reason.SOURCE, Reason.TURN, Reason.BACKOFF, Reason.ANSWERS, Reason.STOPPING}
"""What one mailing waits for while others go on: a reason that holds for all says more."""


def _counts(job: Job) -> Counts:
    now = job.statistics
    return now.counts if now else job.counts or _NOTHING


def _state(job: Job, *, paused: bool) -> JobState:
    return JobState.PAUSED if paused and job.state is JobState.SENDING else job.state


def _mailing(job: Job, rate_per_s: float, *, paused: bool) -> dict[str, Any]:
    now, counts = job.statistics, _counts(job)
    fraction = now.fraction_read if now else job.fraction_read
    if job.state is JobState.FINISHED:
        fraction = 1.0
    left_s = None
    if rate_per_s and fraction:
        rows = counts.read / fraction
        left_s = max(0.0, rows - counts.read + counts.pending) / rate_per_s
    return {
        "name": job.name,
        "state": _state(job, paused=paused).value,
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
        "hold": consumer.hold or consumer.unreachable,
        "counts": {state.value: consumer.counts[state] for state in _OF_QUEUE},
    }


_OF_QUEUE = (
    State.SENT,
    State.REFUSED,
    State.REJECTED,
    State.FAILED,
    State.IN_DOUBT,
    State.DUPLICATE,
)


class Metrics(Collector):
    """The same for Prometheus, read when it is scraped."""

    def __init__(self, worker: Worker, totals: Totals) -> None:
        self._worker = worker
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Every family; counters begin anew with each process, as Prometheus expects."""
        yield InfoMetricFamily(
            "mailsluice_worker", "Which worker this is.", value={"id": self._worker.id}
        )
        yield from self._of_calls()
        yield from self._of_pace()
        yield from self._of_mailings()
        segments = self._worker.segments
        if (consumer := self._worker.consumer) is not None and segments is not None:
            yield from _of_queue(consumer, segments)

    def _of_calls(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "mailsluice_calls", "SendBulkEmail calls that were answered.", value=self._totals.calls
        )
        attempts = CounterMetricFamily(
            "mailsluice_attempts",
            "Attempts, one a recipient and call, by what became of them; pending: deferred.",
            labels=["lane", "state"],
        )
        for lane, states in self._totals.states.items():
            for state in (State.SENT, State.PENDING, State.REJECTED, State.FAILED, State.IN_DOUBT):
                attempts.add_metric([lane, state.value], states[state])
        unsent = CounterMetricFamily(
            "mailsluice_unsent_attempts",
            "Attempts that sent nothing, by SES's status.",
            labels=["status"],
        )
        for status, number in self._totals.statuses.items():
            unsent.add_metric([status], number)
        yield from (attempts, unsent)

    def _of_pace(self) -> Iterator[Metric]:
        pace = self._worker.pace
        yield GaugeMetricFamily(
            "mailsluice_rate_allowed_recipients_per_second",
            "The paced rate at this moment.",
            value=_allowed_per_s(self._worker),
        )
        yield GaugeMetricFamily(
            "mailsluice_rate_quota_recipients_per_second",
            "What the account, or the configuration, allows.",
            value=pace.ceiling_per_s if pace else 0.0,
        )
        yield GaugeMetricFamily(
            "mailsluice_paused",
            "1 while an operator has paused the worker.",
            value=self._worker.paused,
        )

    def _of_mailings(self) -> Iterator[Metric]:
        jobs = list(self._worker.mailings.jobs.values())
        recipients = GaugeMetricFamily(
            "mailsluice_recipients",
            "Recipients of the mailings in the worker's hands, by state.",
            labels=["mailing", "state"],
        )
        in_flight = GaugeMetricFamily(
            "mailsluice_mailing_calls_in_flight",
            "SendBulkEmail calls of a mailing that are under way.",
            labels=["mailing"],
        )
        for job in jobs:
            for state, number in asdict(_counts(job)).items():
                if state != "read":  # their sum
                    recipients.add_metric([job.name, state], number)
            now = job.statistics
            in_flight.add_metric([job.name], now.dispatcher.in_flight if now else 0)
        mailings = GaugeMetricFamily("mailsluice_mailings", "Mailings by state.", labels=["state"])
        for state in JobState:
            alike = sum(_state(job, paused=self._worker.paused) is state for job in jobs)
            mailings.add_metric([state.value], alike)
        yield from (recipients, in_flight, mailings)


def _of_queue(consumer: Consumer, segments: Segments) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "mailsluice_queue_messages_in_hand",
        "Messages received and neither deleted nor given back.",
        value=len(consumer.in_hand),
    )
    yield GaugeMetricFamily(
        "mailsluice_queue_calls_in_flight",
        "SendBulkEmail calls of messages that are under way.",
        value=segments.in_flight,
    )
    yield GaugeMetricFamily(
        "mailsluice_queue_reachable",
        "0 while no message can be received.",
        value=consumer.unreachable is None,
    )
    yield CounterMetricFamily(
        "mailsluice_queue_malformed_messages",
        "Messages that went to the dead-letter queue or to quarantine.",
        value=consumer.malformed,
    )
    recipients = CounterMetricFamily(
        "mailsluice_queue_recipients",
        "Recipients of messages by what became of them; duplicate: known by key.",
        labels=["state"],
    )
    for state in _OF_QUEUE:
        recipients.add_metric([state.value], consumer.counts[state])
    yield recipients
