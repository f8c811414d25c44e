"""Part of proof 11: events from an SQS queue (moto's server), by a process that SIGKILL ends.

The process is the listener as the worker has it. It kills itself when a batch is stored, before it
deletes the batch. In the end every event that was put into the queue must be in the store.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from mailsluice.feedback import queue
from mailsluice.feedback.ingest import Ingest
from mailsluice.feedback.listener import Listener
from mailsluice.feedback.records import Parsed
from mailsluice.feedback.store import FeedbackStore
from tests.prove.figures import Figure, Size, exactly
from tests.support import aws

EVENTS = {"short": 1_000, "full": 100_000}
KILLS = {"short": 3, "full": 10}

WAITING_MAX = 500
"""Events in the queue at once: moto looks at each of them with every call."""

VISIBILITY_S = 2

PATIENCE_S = {"short": 120.0, "full": 1_800.0}

RUN = "events"


def body(row: int) -> str:
    """A Send event of this row."""
    mail = {
        "timestamp": "2026-11-27T09:00:00.000Z",
        "messageId": f"id-{row}",
        "source": "news@example.org",
        "destination": [f"a{row}@example.com"],
        "tags": {"mailsluice-id": [f"{RUN}-{row}"]},
    }
    return orjson.dumps({"eventType": "Send", "mail": mail, "send": {}}).decode()


def prove(size: Size) -> list[Figure]:
    """Feed the queue, and kill what empties it."""
    events, kills = EVENTS[size], 0
    ends = time.monotonic() + PATIENCE_S[size]
    with aws.running() as server, tempfile.TemporaryDirectory(prefix="mailsluice-events-") as name:
        sqs = server.client("sqs")
        url = sqs.create_queue(QueueName="events")["QueueUrl"]
        path = Path(name) / "feedback.db"
        fed = 0
        chance = random.Random(21)
        child = _child(server, path, url, chance.randint(1, 20))
        try:
            while fed < events or aws.left(sqs, url):
                assert time.monotonic() < ends, "the queue is not emptied"
                if fed < events and aws.left(sqs, url) < WAITING_MAX:
                    fed = _feed(sqs, url, fed, min(events, fed + WAITING_MAX))
                if child.poll() is not None:
                    kills += child.returncode == -signal.SIGKILL
                    child = _child(server, path, url, _die_in(chance, size, kills))
                time.sleep(0.01)
        finally:
            child.kill()
            child.wait()
        store = FeedbackStore.open(path)
        heard = set(store.rows(RUN))
        store.close()
    lost = events - len(heard & set(range(1, events + 1)))
    return [
        exactly("kills of the listener between store and delete", KILLS[size], kills),
        exactly("  events from the queue that are not stored", 0, lost),
    ]


def _die_in(chance: random.Random, size: Size, kills: int) -> int:
    """Return the batch after which the next process dies; 0: it lives."""
    if kills >= KILLS[size]:
        return 0
    return chance.randint(1, 20 if size == "short" else 200)


def _feed(sqs: Any, url: str, begin: int, end: int) -> int:
    for first in range(begin + 1, end + 1, 10):
        rows = range(first, min(first + 10, end + 1))
        entries = [{"Id": str(row), "MessageBody": body(row)} for row in rows]
        answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
        assert len(answer["Successful"]) == len(entries)
    return end


def _child(server: aws.Aws, path: Path, url: str, die_in: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.prove.events", str(path), url, str(die_in)]
    return subprocess.Popen(command, env=os.environ | server.environment | aws.ACCESS)


def main(arguments: Sequence[str]) -> None:
    """The process that is killed."""
    path, url, die_in = arguments
    queue.VISIBILITY_S = VISIBILITY_S
    left = int(die_in)

    def die(_: Sequence[Parsed]) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async def listen() -> None:
        stream = queue.QueueStream(url, region="us-east-1", profile=None, wait_s=1)
        ingest = Ingest(FeedbackStore.open(Path(path)), acts=[die])
        await Listener(stream, ingest).run()

    asyncio.run(listen())


if __name__ == "__main__":
    main(sys.argv[1:])
