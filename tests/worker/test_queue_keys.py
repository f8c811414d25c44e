"""A key is sent once, whatever the queue, its senders and the worker's process do."""

from __future__ import annotations

import os
import signal
import time

import pytest

from mailsluice.emulator import CallFault
from tests.support.sqs import FAST, MAILING, QueueFixture
from tests.support.waiting import PATIENCE_S
from tests.support.worker import drop_mailing


@FAST
def test_a_key_of_a_mailing_that_was_dropped_is_not_that_of_a_message(fed: QueueFixture) -> None:
    drop_mailing(fed.folder, "november", 3)
    s3 = fed.aws.client("s3")
    s3.create_bucket(Bucket="others")
    s3.put_object(Bucket="others", Key="list.csv", Body=b"email\nann@example.com\n")
    body = {"mailing": MAILING, "recipients": {"path": "s3://others/list.csv"}, "key": "november"}
    with fed.working() as running:
        running.until(lambda: running.states().get("november") == "finished")
        fed.put(body)
        running.until(lambda: fed.left() == 0)
        assert fed.emulator.ledger.by_address()["ann@example.com"] == 1
        fed.put(body)
        running.until(lambda: fed.left() == 0)
        assert "has been sent, or tried, before" in running.log.read_text()
    assert len(fed.emulator.ledger) == 4


@FAST
def test_one_key_is_sent_once_whatever_the_queue_and_its_senders_do(fed: QueueFixture) -> None:
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


@FAST
@pytest.mark.parametrize("in_doubt", ["hold", "resend"])
def test_what_a_killed_worker_had_in_flight_is_held_or_sent_again(
    fed: QueueFixture, in_doubt: str
) -> None:
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


TEN_DAYS_FAST = """
import os, sys, time
right, mark = time.time, sys.argv[-1] + ".fast"
time.time = lambda: right() + 864_000 * os.path.exists(mark)
from mailsluice.cli import main
main()
"""


@FAST
def test_a_clock_that_is_days_fast_at_the_start_makes_no_key_forgotten(fed: QueueFixture) -> None:
    keyed = [{"mailing": MAILING, "to": f"one{n}@example.com", "key": f"k{n}"} for n in range(10)]
    with fed.working() as running:
        fed.put(*keyed)
        running.until(lambda: fed.left() == 0)
    fast = fed.folder / "worker.toml.fast"
    fast.touch()
    with fed.working(program=TEN_DAYS_FAST) as running:
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


@FAST
def test_a_killed_worker_has_not_forgotten_what_only_its_log_says(fed: QueueFixture) -> None:
    fed.sqs.set_queue_attributes(QueueUrl=fed.url, Attributes={"MessageRetentionPeriod": "60"})
    ann = {"mailing": MAILING, "to": "ann@example.com", "key": "signup-7"}
    with fed.working(visibility_s=3) as running:
        fed.put(ann)
        running.until(lambda: fed.left() == 0)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(PATIENCE_S)
    (journal,) = (fed.folder / "mail/messages").glob("*.journal")
    os.utime(journal, (time.time() - 100,) * 2)  # as if it had been begun so long before
    with fed.working(visibility_s=3) as running:
        fed.put({"mailing": MAILING, "to": "bob@example.com"})
        running.until(lambda: fed.left() == 0)
        fed.put(ann)
        running.until(lambda: fed.left() == 0)
    assert fed.emulator.ledger.by_address() == {"ann@example.com": 1, "bob@example.com": 1}
