"""`mailsluice worker` fed by an SQS queue: moto's server, real processes, signals."""

from __future__ import annotations

import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mailsluice.emulator import AccountSettings, Emulator
from tests.support import aws
from tests.support.aws import Aws
from tests.support.sqs import FAST, MAILING, SETTINGS, QueueFixture
from tests.support.waiting import PATIENCE_S
from tests.support.worker import SLOWER, command, sent_to, worker

NO_ROOM = """
import resource, signal, sys
from mailsluice.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096 * 8, 4096 * 8))
main()
"""


@FAST
def test_messages_to_one_and_to_many_are_sent_and_deleted(fed: QueueFixture) -> None:
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(40)))
    many = [{"to": f"many{n}@example.com", "data": {"n": n}} for n in range(120)]
    fed.put({"mailing": MAILING, "recipients": many, "lane": "bulk"})
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
        assert running.get("/status")["queue"]["counts"]["sent"] == 160
    assert fed.emulator.ledger.by_address() == {
        **{f"one{n}@example.com": 1 for n in range(40)},
        **{f"many{n}@example.com": 1 for n in range(120)},
    }


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=20, daily_max=-1))
def test_a_message_in_hand_stays_hidden_and_is_given_back_at_the_end(fed: QueueFixture) -> None:
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(150)))
    with fed.working(visibility_s=4) as running:
        assert fed.emulator.wait_for(accepted=110, timeout_s=PATIENCE_S)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0
    sent = len(fed.emulator.ledger)
    assert sent < 150
    # At once, and not when they would have come back by themselves.
    times = []
    while some := fed.sqs.receive_message(
        QueueUrl=fed.url, MaxNumberOfMessages=10, AttributeNames=["ApproximateReceiveCount"]
    ).get("Messages"):
        times += [each["Attributes"]["ApproximateReceiveCount"] for each in some]
    assert times == ["2"] * (150 - sent), "given to the worker once, and now to us"
    assert set(fed.emulator.ledger.by_address().values()) == {1}


HIDE = "AmazonSQS.ChangeMessageVisibilityBatch"


@contextmanager
def slow_to_hide(aws: Aws) -> Iterator[tuple[Aws, threading.Event]]:
    """The same queues, where a call that hides messages longer is overtaken by one that gives them
    back, if that comes within a second; set when the first of them is asked.
    """
    asked, given_back = threading.Event(), threading.Event()

    class Peer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hides = self.headers["X-Amz-Target"] == HIDE
            longer = hides and b'"VisibilityTimeout": 4' in body
            if longer:
                asked.set()
                given_back.wait(1.0)
            request = urllib.request.Request(
                aws.environment["AWS_ENDPOINT_URL_SQS"], body, dict(self.headers.items())
            )
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                found = answer.read()
                if hides and not longer:
                    given_back.set()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            with suppress(ConnectionError):  # who asked may have ended
                self.wfile.write(found)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Peer) as server:
        server.daemon_threads = False  # leaving waits for them
        threading.Thread(target=server.serve_forever).start()
        try:
            yield Aws(f"http://127.0.0.1:{server.server_port}"), asked
        finally:
            server.shutdown()


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=5, daily_max=-1))
def test_what_is_given_back_is_not_hidden_by_an_earlier_call_that_comes_later(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    fed = QueueFixture(aws, ses_emulator, tmp_path)
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(60)))
    with slow_to_hide(aws) as (fed.aws, asked), fed.working(visibility_s=4) as running:
        assert asked.wait(30)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0
    back = 0
    while some := fed.sqs.receive_message(QueueUrl=fed.url, MaxNumberOfMessages=10).get("Messages"):
        back += len(some)
    assert back == 60 - len(ses_emulator.ledger)


def test_a_queue_that_does_not_exist_is_named(fed: QueueFixture) -> None:
    text = SETTINGS.format(url=fed.url + "x", visibility_s=30)
    (fed.folder / "worker.toml").write_text(text)
    ended = command(fed.folder, "worker", **fed.aws.environment)
    assert ended.code == 2
    assert f"[queue] url: {fed.url}x" in ended.err


DEFECT = """
import sys
from mailsluice.dispatch.dispatcher import Dispatcher
def broken(*_): raise ZeroDivisionError("a defect")
Dispatcher.judge = broken
from mailsluice.cli import main
main()
"""


@FAST
@pytest.mark.parametrize(
    ("program", "recipients", "code", "said"),
    [
        (NO_ROOM, 1, 5, "messages-000001.journal"),
        (NO_ROOM, 3, 5, "messages-000001.journal"),
        (DEFECT, 1, 70, "ZeroDivisionError: a defect"),
        (DEFECT, 3, 70, "ZeroDivisionError: a defect"),
    ],
)
def test_what_cannot_be_recorded_ends_it_and_deletes_nothing(
    fed: QueueFixture, program: str, recipients: int, code: int, said: str
) -> None:
    to = [{"to": f"one{n}@example.com"} for n in range(recipients)]
    fed.put({"mailing": MAILING} | (to[0] if recipients == 1 else {"recipients": to}))
    text = SETTINGS.format(url=fed.url, visibility_s=3)
    (fed.folder / "worker.toml").write_text(text)
    ended = command(fed.folder, "worker", program=program, **fed.aws.environment)
    assert ended.code == code, ended.err
    assert said in ended.err
    assert fed.left() == 1, "what has no outcome is not deleted"
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    assert set(fed.emulator.ledger.by_address().values()) <= {1}


@FAST
def test_a_queue_out_of_reach_at_the_start_is_waited_for(fed: QueueFixture) -> None:
    url = fed.url.replace("://127.0.0.1", "://localhost")
    port = aws.free_port()
    text = SETTINGS.format(url=url, visibility_s=30).replace("port = 0", f"port = {port}")
    (fed.folder / "worker.toml").write_text(text)
    nobody = {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9"}
    with worker(fed.folder, fed.emulator, text, nobody, becomes_ready=False) as running:
        running.until(lambda: "the queue cannot be reached" in running.log.read_text())
        assert not running.is_ready()
        assert running.get("/status")["why"].startswith("the queue cannot be reached")


@SLOWER
def test_the_lanes_hold_for_messages_to_many(fed: QueueFixture) -> None:
    def many(name: str, recipients: int, lane: str) -> dict[str, Any]:
        to = [{"to": f"{name}{n}@example.com"} for n in range(recipients)]
        return {"mailing": MAILING, "recipients": to, "lane": lane}

    fed.put(*(many(f"bulk{n}.", 100, "bulk") for n in range(10)))
    with fed.working(MAILSLUICE_QUEUE__IN_HAND="20") as running:
        running.until(lambda: sent_to(fed.emulator, "bulk") > 0)
        before = sent_to(fed.emulator, "bulk")
        fed.put(many("urgent", 40, "transactional"))
        running.until(lambda: sent_to(fed.emulator, "urgent") == 40)
        assert sent_to(fed.emulator, "bulk") - before < 100
