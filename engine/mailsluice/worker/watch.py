"""What can be seen of a worker: one frozen moment for the status, the page and the metrics."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailsluice.model import Counts
from mailsluice.worker.worker import ENDED, Job, JobState, Worker

HISTORY_MAX = 300
"""Seconds that the page's chart shows."""

_NOTHING = Counts()


@dataclass(frozen=True, slots=True)
class Point:
    """One second of the chart."""

    at: float
    """Seconds since the epoch."""
    sent_per_s: float
    allowed_per_s: float


class Watch:
    """Looks at a worker once a second."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._history: deque[Point] = deque(maxlen=HISTORY_MAX)
        self._sent = 0
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Add one second to the history."""
        sent = sum(_counts(job).sent for job in self._worker.jobs.values())
        now = time.monotonic()
        rate_per_s = max(0, sent - self._sent) / max(0.001, now - self._looked_at)
        self._sent, self._looked_at = sent, now
        allowed_per_s = max(map(_allowed_per_s, self._worker.jobs.values()), default=0.0)
        self._history.append(Point(time.time(), rate_per_s, allowed_per_s))

    def status(self) -> dict[str, Any]:
        """The present moment, as JSON has it."""
        return {
            "ready": self._worker.ready,
            "mailings": [_mailing(job) for job in self._worker.jobs.values()],
            "history": [asdict(point) for point in self._history],
        }


def _counts(job: Job) -> Counts:
    if (now := job.statistics) is not None:
        return now.counts
    return job.report.counts if job.report else _NOTHING


def _allowed_per_s(job: Job) -> float:
    return now.pacer.allowed_per_s if (now := job.statistics) is not None else 0.0


def _mailing(job: Job) -> dict[str, Any]:
    now, counts = job.statistics, _counts(job)
    fraction = now.fraction_read if now else 1.0 if job.state in ENDED else None
    left_s = None
    if now is not None and now.rate_per_s and fraction:
        rows = counts.read / fraction
        left_s = max(0.0, rows - counts.read + counts.pending) / now.rate_per_s
    return {
        "name": job.name,
        "state": job.state.value,
        "why": job.why,
        "counts": asdict(counts),
        "rate_per_s": round(now.rate_per_s, 2) if now else 0.0,
        "fraction_read": fraction,
        "left_s": left_s,
        "why_not_faster": now.why if now and job.state is JobState.SENDING else None,
        "throttled": now.pipeline.throttled if now else job.report.throttled if job.report else 0,
        "in_flight": now.dispatcher.in_flight if now else 0,
    }


class Metrics(Collector):
    """The same for Prometheus, read when it is scraped."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """Every family; counters begin anew with each process, as Prometheus expects."""
        jobs = list(self._worker.jobs.values())
        recipients = GaugeMetricFamily(
            "mailsluice_recipients",
            "Recipients of the mailings in the worker's hands, by state.",
            labels=["mailing", "state"],
        )
        throttled = CounterMetricFamily(
            "mailsluice_throttled", "Attempts that SES throttled.", labels=["mailing"]
        )
        in_flight = GaugeMetricFamily(
            "mailsluice_calls_in_flight", "SendBulkEmail calls under way.", labels=["mailing"]
        )
        for job in jobs:
            seen = _mailing(job)
            for state, number in seen["counts"].items():
                recipients.add_metric([job.name, state], number)
            throttled.add_metric([job.name], seen["throttled"])
            in_flight.add_metric([job.name], seen["in_flight"])
        mailings = GaugeMetricFamily("mailsluice_mailings", "Mailings by state.", labels=["state"])
        for state in JobState:
            mailings.add_metric([state.value], sum(job.state is state for job in jobs))
        rate = GaugeMetricFamily(
            "mailsluice_rate_allowed_recipients_per_second",
            "The paced rate at this moment.",
            value=max(map(_allowed_per_s, jobs), default=0.0),
        )
        yield from (recipients, throttled, in_flight, mailings, rate)
