"""A worker's metrics for Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mailsluice.feedback.records import Kind
from mailsluice.feedback.schema import LAG_EDGES_S
from mailsluice.model import State
from mailsluice.worker.counters import Counters
from mailsluice.worker.feedback import Feedback
from mailsluice.worker.mailings.job import JobState
from mailsluice.worker.queue.consumer import Consumer
from mailsluice.worker.queue.journals import Segments
from mailsluice.worker.queue.sender import COUNTED
from mailsluice.worker.worker import Worker


class Metrics(Collector):
    """A worker's metric families: names and units follow Prometheus's conventions."""

    def __init__(self, worker: Worker, counters: Counters) -> None:
        self._worker = worker
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Yield every family. Counters start at 0 with each process, as Prometheus expects."""
        yield InfoMetricFamily(
            "mailsluice_worker", "Which worker this is.", value={"id": self._worker.id}
        )
        yield from self._of_calls()
        yield from self._of_pace()
        yield from self._of_mailings()
        segments = self._worker.segments
        if (consumer := self._worker.consumer) is not None and segments is not None:
            yield from _of_queue(consumer, segments)
        if (feedback := self._worker.feedback) is not None:
            yield from _of_feedback(feedback)

    def _of_calls(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "mailsluice_calls",
            "SendBulkEmail calls that were answered.",
            value=self._counters.calls,
        )
        attempts = CounterMetricFamily(
            "mailsluice_attempts",
            "Attempts, one a recipient and call, by what became of them; pending: deferred.",
            labels=["lane", "state"],
        )
        for lane, states in self._counters.states.items():
            for state in (State.SENT, State.PENDING, State.REJECTED, State.FAILED, State.IN_DOUBT):
                attempts.add_metric([lane, state.value], states[state])
        unsent = CounterMetricFamily(
            "mailsluice_unsent_attempts",
            "Attempts that sent nothing, by SES's status.",
            labels=["status"],
        )
        for status, number in self._counters.statuses.items():
            unsent.add_metric([status], number)
        yield from (attempts, unsent)

    def _of_pace(self) -> Iterator[Metric]:
        pace = self._worker.pace
        yield GaugeMetricFamily(
            "mailsluice_rate_allowed_recipients_per_second",
            "The paced rate at this moment.",
            value=self._worker.allowed_per_s,
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
            for state, number in asdict(job.known_counts).items():
                if state != "read":  # their sum
                    recipients.add_metric([job.name, state], number)
            now = job.statistics
            in_flight.add_metric([job.name], now.dispatcher.in_flight if now else 0)
        mailings = GaugeMetricFamily("mailsluice_mailings", "Mailings by state.", labels=["state"])
        for state in JobState:
            alike = sum(job.state_shown(paused=self._worker.paused) is state for job in jobs)
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
    for state in COUNTED:
        recipients.add_metric([state.value], consumer.recipients.counts[state])
    yield recipients


def _of_feedback(feedback: Feedback) -> Iterator[Metric]:
    totals = feedback.ingest.totals
    events = CounterMetricFamily(
        "mailsluice_feedback_events", "SES's events taken in, copies included.", labels=["kind"]
    )
    for kind in Kind:
        events.add_metric([kind.value], totals.events[kind.value])
    yield events
    buckets, so_far = [], 0
    for class_, edge in enumerate((*LAG_EDGES_S, math.inf)):
        so_far += totals.lags[class_]
        buckets.append(("+Inf" if edge == math.inf else f"{edge:.1f}", so_far))
    yield HistogramMetricFamily(
        "mailsluice_feedback_lag_seconds",
        "From what happened until its event was stored.",
        buckets=buckets,
        sum_value=totals.lag_s,
    )
    yield CounterMetricFamily(
        "mailsluice_feedback_unread",
        "Bodies and lines that could not be read, and were kept.",
        value=totals.unread,
    )
    yield GaugeMetricFamily(
        "mailsluice_feedback_reachable",
        "0 while no event can be taken in.",
        value=feedback.trouble is None,
    )
