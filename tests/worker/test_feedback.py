"""A worker with a [feedback] table: it takes SES's events in, and no broken queue ends it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailsluice.emulator import Emulator
from mailsluice.feedback.store import FeedbackStore
from tests.feedback import shapes
from tests.feedback.test_listener import event
from tests.support import forked
from tests.support.aws import Aws, left
from tests.support.worker import WORKER, Running, worker

RETRIES_SOON = """\
from mailsluice.ses.aws import sqs
sqs._BACK_OFF_S = (0.1,)
from mailsluice.feedback import queue
queue.VISIBILITY_S = 1
queue.WAIT_S = 1
"""

DIES = f"""\
{RETRIES_SOON}
import os, signal
from mailsluice.feedback.ingest import Ingest
commit = Ingest._commit
def dies(self, group):
    heard = commit(self, group)
    if self.totals.events.total() >= 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return heard
Ingest._commit = dies
"""
"""Is killed when a batch has been stored, and before it is deleted."""


class Events:
    """A queue with events, and a worker that takes them in."""

    def __init__(self, aws: Aws, emulator: Emulator, folder: Path) -> None:
        self.sqs = aws.client("sqs")
        self.name = f"events{random.getrandbits(48)}"
        self.folder = folder
        self.url = ""
        self._aws = aws
        self._emulator = emulator
        self.create()

    def create(self) -> None:
        self.url = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]

    def put(self, *bodies: bytes) -> None:
        for begin in range(0, len(bodies), 10):
            entries = [
                {"Id": str(n), "MessageBody": body.decode()}
                for n, body in enumerate(bodies[begin : begin + 10])
            ]
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def heard(self) -> list[int]:
        store = FeedbackStore.open(self.folder / "feedback.db")
        try:
            return sorted(store.rows(shapes.RUN))
        finally:
            store.close()

    @contextmanager
    def working(self, program: str = RETRIES_SOON, text: str = "") -> Iterator[Running]:
        text = text or f'{WORKER}[feedback]\nqueue = "{self.url}"\n'
        program += forked.COMMAND
        environment = dict(self._aws.environment)
        with worker(self.folder, self._emulator, text, environment, program) as running:
            yield running


@pytest.fixture
def events(aws: Aws, ses_emulator: Emulator, tmp_path: Path) -> Events:
    return Events(aws, ses_emulator, tmp_path)


def test_events_are_taken_in_and_measured(events: Events) -> None:
    events.put(*(shapes.sns(event(row)) for row in range(1, 31)), b"no JSON")
    with events.working() as running:
        running.until(lambda: left(events.sqs, events.url) == 0)
        status = running.get("/status")["feedback"]
        metrics = running.get("/metrics")
    assert status == {"events": {"Send": 30}, "unread": 1, "trouble": None}
    assert events.heard() == list(range(1, 31))
    assert 'mailsluice_feedback_events_total{kind="Send"} 30.0' in metrics
    assert 'mailsluice_feedback_events_total{kind="Rendering Failure"} 0.0' in metrics
    assert "mailsluice_feedback_unread_total 1.0" in metrics
    assert "mailsluice_feedback_lag_seconds_count 30.0" in metrics
    assert "mailsluice_feedback_reachable 1.0" in metrics
    log = running.log.read_text()
    assert not re.search(r"[\w.]+@[\w.]+", log), "no address is logged"
    assert (events.folder / "feedback.db").stat().st_mode & 0o777 == 0o600


def test_a_queue_that_is_broken_is_tried_again_and_ends_nothing(events: Events) -> None:
    events.sqs.delete_queue(QueueUrl=events.url)
    with events.working() as running:
        running.until(lambda: running.get("/status")["feedback"]["trouble"] is not None)
        assert running.is_ready(), "mail is sent all the same"
        assert "mailsluice_feedback_reachable 0.0" in running.get("/metrics")
        events.create()
        events.put(shapes.raw(event(1)))
        running.until(lambda: events.heard() == [1])
        running.until(lambda: running.get("/status")["feedback"]["trouble"] is None)
    log = running.log.read_text()
    assert log.count("no events can be taken in") == 1
    assert log.count("events are taken in again") == 1


def test_nothing_is_lost_if_it_is_killed_between_the_store_and_the_delete(events: Events) -> None:
    expected = list(range(1, 101))
    events.put(*(shapes.sns(event(row)) for row in expected))
    deaths = 0
    while left(events.sqs, events.url):
        last = deaths == 3
        with events.working(RETRIES_SOON if last else DIES) as running:
            if last:
                running.until(lambda: left(events.sqs, events.url) == 0)
                break
            running.process.wait()
            deaths += 1
        assert left(events.sqs, events.url) > 0, "what it had stored is still in the queue"
    assert deaths == 3
    assert events.heard() == expected


def test_a_store_that_is_none_is_said_at_once(events: Events) -> None:
    (events.folder / "feedback.db").write_text("something else, and not a database at all")
    ended = forked.run(
        forked.context(),
        events.folder,
        {"PATH": ""},
        ("worker", _written(events)),
    )
    assert ended.code == 5
    assert "feedback.db: file is not a database" in ended.err


def _written(events: Events) -> str:
    file = events.folder / "worker.toml"
    file.write_text(f'{WORKER}[feedback]\nqueue = "{events.url}"\n')
    return str(file)
