"""`mailsluice worker` fed by an SQS queue: moto's server, real processes, signals."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mailsluice.emulator import AccountSettings, CallFault, Emulator
from tests.support.aws import Aws
from tests.support.sqs import FAST, FAST_ACCOUNT, MAILING, SETTINGS, Fed
from tests.support.waiting import PATIENCE_S

NO_ROOM = """
import resource, signal, sys
from mailsluice.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096 * 8, 4096 * 8))
main()
"""


@pytest.fixture
def fed(aws: Aws, ses_emulator: Emulator, tmp_path: Path) -> Fed:
    return Fed(aws, ses_emulator, tmp_path)


@FAST
def test_messages_to_one_and_to_many_are_sent_and_deleted(fed: Fed) -> None:
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


@FAST
def test_what_is_malformed_is_put_aside_with_the_reason_and_never_blocks_the_rest(fed: Fed) -> None:
    one = {"mailing": MAILING, "to": "one@example.com"}
    bad = {
        "no JSON": "it is not JSON",
        json.dumps([1]): "it is not a JSON object",
        json.dumps({"to": "one@example.com"}): "mailing: it is missing",
        json.dumps(one | {"tpo": 1}): "tpo: unknown key",
        json.dumps(one | {"mailing": {"from": "nobody"}}): "mailing.from",
        json.dumps(one | {"lane": "fast"}): "lane",
        json.dumps({"mailing": MAILING, "recipients": []}): "recipients",
        json.dumps({"mailing": MAILING, "recipients": {"path": "/etc/passwd"}}): "recipients.path",
        json.dumps(one | {"mailing": MAILING | {"attachments": ["/etc/passwd"]}}): "attachments",
    }
    ids = fed.put(*bad)
    fed.put(one)
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
        assert running.get("/status")["queue"]["malformed"] == len(bad)
    quarantine = fed.folder / "mail" / "quarantine"
    assert sorted(each.stem for each in quarantine.iterdir()) == sorted(ids)
    for each, (body, reason) in zip(ids, bad.items(), strict=True):
        kept = json.loads((quarantine / f"{each}.json").read_text())
        assert kept["body"] == body
        assert reason in kept["reason"]
    assert fed.emulator.ledger.by_address() == {"one@example.com": 1}


@FAST
def test_the_dead_letter_queue_is_used_where_there_is_one(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    dead = Fed(aws, ses_emulator, tmp_path)
    fed = Fed(aws, ses_emulator, tmp_path, dead_letters=dead)
    fed.put("no JSON")
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    (found,) = fed.sqs.receive_message(QueueUrl=dead.url, MessageAttributeNames=["All"])["Messages"]
    assert found["Body"] == "no JSON"
    assert "not JSON" in found["MessageAttributes"]["mailsluice-reason"]["StringValue"]
    assert list((tmp_path / "mail" / "quarantine").iterdir()) == []


@FAST
def test_a_list_in_s3_is_sent_once(fed: Fed) -> None:
    s3 = fed.aws.client("s3")
    s3.create_bucket(Bucket="lists")
    rows = "".join(f"row{n}@example.com\n" for n in range(1_000))
    key = f"{random.getrandbits(48)}/november.csv.gz"
    s3.put_object(Bucket="lists", Key=key, Body=gzip.compress(f"mail\n{rows}".encode()))
    recipients = {"path": f"s3://lists/{key}", "address": "mail"}
    body = {"mailing": MAILING, "recipients": recipients, "key": "november"}
    fed.put(body, body)
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
        (mailing,) = running.get("/status")["mailings"]
        assert (mailing["name"], mailing["state"]) == ("queue-november", "finished")
        fed.put(body)
        running.until(lambda: fed.left() == 0)
    assert len(fed.emulator.ledger) == 1_000
    report = json.loads((fed.folder / "mail/done/queue-november/report.json").read_text())
    assert report["report"]["counts"]["sent"] == 1_000
    fed.put(body | {"recipients": recipients | {"path": "s3://lists/gone.csv"}, "key": "gone"})
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    report = json.loads((fed.folder / "mail/failed/queue-gone/report.json").read_text())
    assert "s3://lists/gone.csv: there is no such object" in report["why"]


@FAST
def test_one_key_is_sent_once_whatever_the_queue_and_its_senders_do(fed: Fed) -> None:
    one = {"mailing": MAILING, "to": "one@example.com", "key": "order-7"}
    fed.put(*[one] * 20)
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
        counts = running.get("/status")["queue"]["counts"]
        assert (counts["sent"], counts["duplicate"]) == (1, 19)
    fed.put(one)
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    assert fed.emulator.ledger.by_address() == {"one@example.com": 1}


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=20, daily_max=-1))
def test_a_message_in_hand_stays_hidden_and_is_given_back_at_the_end(fed: Fed) -> None:
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
    fed = Fed(aws, ses_emulator, tmp_path)
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(60)))
    with slow_to_hide(aws) as (fed.aws, asked), fed.working(visibility_s=4) as running:
        assert asked.wait(30)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0
    back = 0
    while some := fed.sqs.receive_message(QueueUrl=fed.url, MaxNumberOfMessages=10).get("Messages"):
        back += len(some)
    assert back == 60 - len(ses_emulator.ledger)


@FAST
def test_while_the_account_is_paused_messages_are_kept_and_then_sent(fed: Fed) -> None:
    with fed.working() as running:
        fed.emulator.change_account(sending_enabled=False)
        fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(30)))
        running.until(lambda: (running.get("/status")["queue"]["hold"] or "").startswith("ACCOUNT"))
        fed.emulator.change_account(sending_enabled=True)
        running.until(lambda: fed.left() == 0)
    assert fed.emulator.ledger.by_address() == {f"one{n}@example.com": 1 for n in range(30)}


@pytest.mark.ses_emulator(account=FAST_ACCOUNT, resources={"templates": ["welcome"]})
def test_a_missing_template_keeps_its_messages_in_the_queue_and_no_others(fed: Fed) -> None:
    gone = MAILING | {"template": "gone"}
    fed.put(*({"mailing": gone, "to": f"gone{n}@example.com"} for n in range(3)))
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(30)))
    with fed.working() as running:
        running.until(lambda: len(fed.emulator.ledger) == 30)
        running.until(lambda: running.get("/status")["queue"]["in_hand"] == 0)
        assert fed.left() == 3
    assert "TEMPLATE_NOT_FOUND" in fed.folder.joinpath("worker.log").read_text()


def test_a_second_worker_on_one_folder_is_refused(fed: Fed) -> None:
    with fed.working():
        text = (fed.folder / "worker.toml").read_text()
        other = fed.folder / "other"
        other.mkdir()
        (other / "worker.toml").write_text(text.replace('"mail"', f'"{fed.folder}/mail"'))
        ended = subprocess.run(
            [sys.executable, "-m", "mailsluice", "worker", str(other / "worker.toml")],
            env=os.environ | fed.emulator.environment | fed.aws.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 5
    assert "another worker is at it; each needs a [folder] path of its own" in ended.stderr


def test_a_queue_that_does_not_exist_is_named(fed: Fed) -> None:
    text = SETTINGS.format(url=fed.url + "x", visibility_s=30)
    (fed.folder / "worker.toml").write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "mailsluice", "worker", str(fed.folder / "worker.toml")],
        env=os.environ | fed.emulator.environment | fed.aws.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert f"[queue] url: {fed.url}x" in ended.stderr


@FAST
@pytest.mark.parametrize("in_doubt", ["hold", "resend"])
def test_what_a_killed_worker_had_in_flight_is_held_or_sent_again(fed: Fed, in_doubt: str) -> None:
    fed.emulator.faults.add(CallFault(fault="late", delay_s=60, times=1))
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(10)))
    choice = {"MAILSLUICE_DELIVERY__IN_DOUBT": in_doubt}
    with fed.working(visibility_s=3, **choice) as running:
        assert fed.emulator.wait_for(calls=1, timeout_s=PATIENCE_S)
        running.until(lambda: running.get("/status")["queue"]["in_flight"] == 1)
        assert "mailsluice_queue_calls_in_flight 1.0\n" in running.get("/metrics")
        running.process.kill()
        running.process.wait()
    with fed.working(visibility_s=3, **choice) as running:
        running.until(lambda: fed.left() == 0)
        counts = running.get("/status")["queue"]["counts"]
    mails = fed.emulator.ledger.by_address()
    twice = sum(times == 2 for times in mails.values())
    assert len(mails) == 10
    assert counts["sent"] + counts["duplicate"] == 10
    assert (twice > 0, counts["duplicate"] > 0) == (in_doubt == "resend", in_doubt == "hold")


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
    fed: Fed, program: str, recipients: int, code: int, said: str
) -> None:
    to = [{"to": f"one{n}@example.com"} for n in range(recipients)]
    fed.put({"mailing": MAILING} | (to[0] if recipients == 1 else {"recipients": to}))
    full = [sys.executable, "-c", program, "worker", str(fed.folder / "worker.toml")]
    text = SETTINGS.format(url=fed.url, visibility_s=3)
    (fed.folder / "worker.toml").write_text(text)
    ended = subprocess.run(
        full,
        env=os.environ | fed.emulator.environment | fed.aws.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    assert fed.left() == 1, "what has no outcome is not deleted"
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    assert set(fed.emulator.ledger.by_address().values()) <= {1}


TEN_DAYS_FAST = """
import os, sys, time
right, mark = time.time, sys.argv[-1] + ".fast"
time.time = lambda: right() + 864_000 * os.path.exists(mark)
from mailsluice.cli import main
main()
"""


@FAST
def test_a_clock_that_is_days_fast_at_the_start_makes_no_key_forgotten(fed: Fed) -> None:
    keyed = [{"mailing": MAILING, "to": f"one{n}@example.com", "key": f"k{n}"} for n in range(10)]
    with fed.working() as running:
        fed.put(*keyed)
        running.until(lambda: fed.left() == 0)
    fast = fed.folder / "worker.toml.fast"
    fast.touch()
    with fed.working(program=("-c", TEN_DAYS_FAST)) as running:
        fast.unlink()  # the clock has been set right
        fed.put({"mailing": MAILING, "to": "new@example.com", "key": "new"})
        running.until(lambda: fed.left() == 0)
        fed.put(*keyed)
        running.until(lambda: fed.left() == 0)
    with fed.working() as running:
        fed.put(*keyed)
        running.until(lambda: fed.left() == 0)
    assert set(fed.emulator.ledger.by_address().values()) == {1}
    assert len(fed.emulator.ledger) == 11
