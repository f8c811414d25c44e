"""What a review of the worker by attack has found, each a test that failed before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import pytest

from mailsluice.cli.worker import load
from mailsluice.emulator import CallFault, Emulator
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.worker.queue.acks import Teller, Told
from mailsluice.worker.queue.consumer import TELLERS
from mailsluice.worker.queue.sqs import Received
from mailsluice.worker.worker import Worker
from tests.support import aws
from tests.support.aws import Aws
from tests.support.sqs import FAST, MAILING, SETTINGS, Fed
from tests.support.waiting import NEVER_S, PATIENCE_S
from tests.support.worker import SLOW, WORKER, Running, drop, killed, worker

SMALL_SEGMENTS = """\
import sys
from mailsluice.worker.queue import journals as segments
segments.ROWS_MAX = 20
from mailsluice.cli import main
main()
"""


@pytest.fixture
def fed(aws: Aws, ses_emulator: Emulator, tmp_path: Path) -> Fed:
    return Fed(aws, ses_emulator, tmp_path)


@SLOW
def test_a_cancelled_mailing_stays_so_whatever_happens(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=60, nth=(3,)))
    drop(tmp_path, "one", 1_000)
    with worker(tmp_path, ses_emulator) as running:
        assert ses_emulator.wait_for(calls=3, timeout_s=PATIENCE_S)
        running.get("/mailings/one/cancel", "POST")
        killed(running)
    before = len(ses_emulator.ledger)
    failed = tmp_path / "mail" / "failed"
    failed.rmdir()
    failed.symlink_to("/proc")  # where nothing can be put away
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: "cannot be put away" in running.log.read_text())
        # Between two tries to put it away it waits; it is never sent.
        running.until(lambda: running.states() == {"one": "cancelled"})
        failed.unlink()
        failed.mkdir()
        running.until((failed / "one" / "report.json").exists)
    assert len(ses_emulator.ledger) == before


@SLOW
def test_a_pause_outlives_the_worker(ses_emulator: Emulator, tmp_path: Path) -> None:
    drop(tmp_path, "one", 200)
    drop(tmp_path, "two", 200)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: len(running.states()) == 2)
        running.get("/mailings/one/pause", "POST")
        running.get("/pause", "POST")
        killed(running)
    before = len(ses_emulator.ledger)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"one": "paused", "two": "paused"})
        assert running.get("/status")["paused"]
        drop(tmp_path, "three", 10)
        running.until(lambda: running.states().get("three") == "paused")
        assert len(ses_emulator.ledger) == before
        ses_emulator.change_account(rate_per_s=5_000)
        running.get("/resume", "POST")
        running.until(lambda: running.states()["two"] == running.states()["three"] == "finished")
        assert running.states()["one"] == "paused"
        running.get("/mailings/one/resume", "POST")
        running.until(lambda: running.states()["one"] == "finished")
    mails = ses_emulator.ledger.by_address()
    assert max(mails.values()) == 1


@SLOW
def test_a_paused_mailing_makes_room_for_others(ses_emulator: Emulator, tmp_path: Path) -> None:
    drop(tmp_path, "one", 1_000)
    with worker(tmp_path, ses_emulator, WORKER.replace("[http]", "at_once = 1\n[http]")) as running:
        running.until(lambda: running.states() == {"one": "sending"})
        drop(tmp_path, "two", 10)
        running.until(lambda: running.states().get("two") == "waiting")
        running.get("/mailings/one/pause", "POST")
        running.until(lambda: running.states() == {"one": "paused", "two": "finished"})


@FAST
def test_a_pause_holds_when_the_next_journal_of_messages_is_begun(fed: Fed) -> None:
    text = SETTINGS.format(url=fed.url, visibility_s=30)
    (fed.folder / "small.py").write_text(SMALL_SEGMENTS)
    with worker(
        fed.folder, fed.emulator, text, fed.aws.environment, [str(fed.folder / "small.py")]
    ) as running:
        running.get("/pause", "POST")
        fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(60)))
        journals = fed.folder / "mail" / "messages"
        running.until(lambda: len(list(journals.glob("*.journal"))) >= 2)
        running.until(lambda: running.get("/status")["queue"]["in_hand"] == 60)
        assert len(fed.emulator.ledger) == 0
        running.get("/resume", "POST")
        running.until(lambda: fed.left() == 0)
    assert fed.emulator.ledger.by_address() == {f"one{n}@example.com": 1 for n in range(60)}


@FAST
def test_poison_is_put_aside_and_the_rest_is_sent(fed: Fed) -> None:
    inbox = fed.folder / "mail" / "inbox"
    drop(fed.folder, "message", 3)
    (inbox / "message" / "message.json").write_text("{}")
    drop(fed.folder, "nul", 3)
    file = inbox / "nul" / "mailing.toml"
    file.write_text(file.read_text().replace("list.csv", "a\\u0000b.csv"))
    drop(fed.folder, "bytes", 3)
    (inbox / "bytes").rename(inbox / os.fsdecode(b"caf\xe9"))
    drop(fed.folder, "good", 3)
    (inbox / "mailing.toml").write_text("")
    nested: object = 1
    for _ in range(300):
        nested = [nested]
    fed.put({"mailing": MAILING | {"data": {"n": nested}}, "to": "one@example.com"})
    fed.put({"mailing": MAILING, "to": "two@example.com"})
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
        running.until(
            lambda: running.states() == {"message": "failed", "nul": "failed", "good": "finished"}
        )
        assert running.get("/metrics")
    assert len(fed.emulator.ledger) == 4
    for stray in ("mailing.toml", "caf?"):
        assert f"inbox/{stray} is not taken" in running.log.read_text()
    assert len(list((fed.folder / "mail" / "quarantine").iterdir())) == 1


@FAST
def test_a_key_of_a_mailing_that_was_dropped_is_not_that_of_a_message(fed: Fed) -> None:
    drop(fed.folder, "november", 3)
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
def test_a_list_out_of_reach_is_held_and_tried_again(fed: Fed) -> None:
    s3 = fed.aws.client("s3")
    s3.create_bucket(Bucket="late")
    s3.put_object(Bucket="late", Key="list.csv", Body=b"email\nann@example.com\n")
    elsewhere = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    fed.put({"mailing": MAILING, "recipients": {"path": "s3://late/list.csv"}, "key": "late"})
    reachable = dict(fed.aws.environment)
    fed.aws.environment.update(elsewhere)
    try:
        with fed.working(visibility_s=3) as running:
            running.until(lambda: running.states().get("queue-late") == "held")
            assert fed.left() == 1
    finally:
        fed.aws.environment.update(reachable)
    with fed.working(visibility_s=3) as running:
        running.until(lambda: fed.left() == 0)
    assert fed.emulator.ledger.by_address() == {"ann@example.com": 1}


@FAST
def test_a_queue_out_of_reach_at_the_start_is_waited_for(fed: Fed) -> None:
    url = fed.url.replace("://127.0.0.1", "://localhost")
    port = aws.free_port()
    text = SETTINGS.format(url=url, visibility_s=30).replace("port = 0", f"port = {port}")
    (fed.folder / "worker.toml").write_text(text)
    command = [sys.executable, "-m", "mailsluice", "worker", str(fed.folder / "worker.toml")]
    nobody = {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9"}
    environment = os.environ | fed.emulator.environment | nobody
    log = fed.folder / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, env=environment, stderr=stderr) as made,
    ):
        running = Running(made, log)
        running.until(lambda: "the queue cannot be reached" in log.read_text())
        assert not running.is_ready()
        assert running.get("/status")["why"].startswith("the queue cannot be reached")
        made.send_signal(signal.SIGTERM)
        assert made.wait(PATIENCE_S) == 0


@FAST
def test_it_ends_within_its_time_with_messages_in_flight(fed: Fed) -> None:
    fed.emulator.faults.add(CallFault(fault="late", delay_s=NEVER_S))
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(40)))
    never = str(NEVER_S)
    with fed.working(
        MAILSLUICE_MESSAGES__DRAIN_S="1", MAILSLUICE_DELIVERY__TIMEOUT_S=never
    ) as running:
        assert fed.emulator.wait_for(calls=1, timeout_s=PATIENCE_S)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0


@SLOW
def test_a_signal_before_it_has_begun_does_no_harm(ses_emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text(WORKER)
    command = [sys.executable, "-m", "mailsluice", "worker", str(tmp_path / "worker.toml")]
    environment = os.environ | ses_emulator.environment
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, env=environment, stderr=stderr) as made,
    ):
        running = Running(made, log)
        ignores = f"/proc/{made.pid}/status"
        running.until(partial(_catches, ignores, signal.SIGHUP))
        made.send_signal(signal.SIGHUP)
        running.until(lambda: running.url != "" and running.is_ready())
        made.send_signal(signal.SIGTERM)
        assert made.wait(PATIENCE_S) == 0


def _catches(status: str, number: int) -> bool:
    (mask,) = [
        line.split()[1] for line in Path(status).read_text().splitlines() if "SigCgt" in line
    ]
    return bool(int(mask, 16) >> (number - 1) & 1)


async def test_the_queue_is_told_by_several_at_once() -> None:
    at_once = most = 0

    async def tell(_: Sequence[Told]) -> list[Received]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0.01)
        at_once -= 1
        return []

    left = 400

    def told(_: Received) -> None:
        nonlocal left
        left -= 1
        if not left:
            tasks.cancel_scope.cancel()

    teller = Teller(tell, told)
    async with anyio.create_task_group() as tasks:
        for _ in range(TELLERS):
            tasks.start_soon(teller.run)
        await anyio.wait_all_tasks_blocked()
        for n in range(400):
            teller.add((Received(str(n), "handle", "body", {}), 0.0))
    assert (left, most) == (0, TELLERS)


async def test_a_second_reading_still_names_what_waits_for_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(WORKER)
    made = Worker(load(file), SqliteJournal.open)
    file.write_text(WORKER.replace('"mail"', '"post"') + "[ses]\nregion = 'eu-west-1'\n")
    for _ in range(2):
        assert made.apply(load(file)) == ["ses.region", "folder.path"]
    assert made.settings.ses.region is None
