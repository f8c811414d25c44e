"""`mailsluice worker`, as a process: mailings in a folder, HTTP, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
from functools import partial
from pathlib import Path

import pytest

from mailsluice.cli.worker import load
from mailsluice.emulator import AccountSettings, CallFault, Emulator
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.worker.worker import Worker
from tests.support import forked
from tests.support.sqs import FAST, MAILING, QueueFixture
from tests.support.waiting import NEVER_S, PATIENCE_S
from tests.support.worker import (
    FORKED,
    SLOW,
    UNANSWERED,
    WORKER,
    Running,
    command,
    drop_mailing,
    worker,
)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=200, daily_max=-1))
def test_a_worker_told_to_stop_is_carried_on_by_the_next(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "long", 300)
    with worker(tmp_path, ses_emulator) as running:
        assert ses_emulator.wait_for(accepted=60, timeout_s=PATIENCE_S)
    assert running.process.returncode == 0
    assert (tmp_path / "mail/working/long/mailing.journal").exists()
    ses_emulator.change_account(rate_per_s=5_000)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states().get("long") == "finished")
    assert len(ses_emulator.ledger) == 300
    assert set(ses_emulator.ledger.by_address().values()) == {1}


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=2_000, daily_max=-1))
def test_sighup_applies_what_can_change_and_refuses_a_broken_file(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "one", 1_500)
    slow = WORKER + "[quota]\nrate = 20\n"
    file = tmp_path / "worker.toml"
    with worker(tmp_path, ses_emulator, slow) as running:
        assert ses_emulator.wait_for(accepted=20, timeout_s=PATIENCE_S)
        assert running.get("/status")["allowed_per_s"] == 20

        def reload(text: str, until: str) -> None:
            file.write_text(text)
            running.process.send_signal(signal.SIGHUP)
            running.until(lambda: until in running.log.read_text())

        reload(slow.replace("20", '"quick"'), "the settings stay as they were")
        assert "[quota] rate" in running.log.read_text()
        assert running.get("/status")["allowed_per_s"] == 20
        changed = WORKER.replace('path = "mail"', 'path = "post"').replace("0.05", "0.06")
        reload(
            changed + "[quota]\nrate = 1000\n[lanes]\nbulk = 1\n[log]\nlevel = 'warning'\n",
            "these wait for a restart: folder.path",
        )
        assert running.get("/status")["quota_per_s"] == 1_000
        running.until(lambda: running.states() == {"one": "finished"})
    assert len(ses_emulator.ledger) == 1_500
    assert "folder.poll_s" not in running.log.read_text()
    assert "one: sending" in running.log.read_text()
    assert "one: finished" not in running.log.read_text(), "only warnings now"


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=2_000, daily_max=-1))
def test_a_worker_ends_within_its_time_whatever_ses_does(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=NEVER_S))
    drop_mailing(tmp_path, "one", 100)
    with worker(tmp_path, ses_emulator, WORKER + UNANSWERED) as running:
        assert ses_emulator.wait_for(accepted=100, timeout_s=PATIENCE_S)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0
    journal = tmp_path / "mail/working/one/mailing.journal"
    status = forked.run(FORKED, tmp_path, os.environ, ["status", "--json", str(journal)])
    assert json.loads(status.out)["counts"]["in_doubt"] == 100


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=2_000, daily_max=-1))
def test_readiness_ends_with_the_signal_and_logs_are_json_lines(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "one", 10)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"one": "finished"})
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert {line["level"] for line in lines} == {"INFO"}
    assert all(line["timestamp"] and line["logger"].startswith("mailsluice") for line in lines)
    assert [line["message"] for line in lines if line["message"].startswith("one")] == [
        "one: sending",
        "one: finished",
    ]


def test_what_a_worker_cannot_work_with_is_named(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text(WORKER.replace("port = 0", 'host = "0.0.0.0"'))
    ended = command(tmp_path, "worker")
    assert (ended.code, "a token is needed" in ended.err) == (2, True)
    (tmp_path / "worker.toml").write_text(WORKER + "[queue]\nurl = 'mail'\n")
    ended = command(tmp_path, "worker")
    assert (ended.code, "[queue] url" in ended.err) == (2, True)
    (tmp_path / "worker.toml").write_text(WORKER)
    nobody = {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_SESV2": "http://127.0.0.1:9",
    }
    ended = command(tmp_path, "worker", **nobody)
    assert (ended.code, "no AWS credentials" in ended.err) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = command(tmp_path, "worker", "--set", f"http.port={port}")
    assert (ended.code, f"[http] port: {port}" in ended.err) == (2, True)


@FAST
def test_it_ends_within_its_time_with_messages_in_flight(fed: QueueFixture) -> None:
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
    log = tmp_path / "log"
    environment = os.environ | ses_emulator.environment
    streams = forked.Streams(stderr=log)
    made = forked.Forked(FORKED, tmp_path, environment, ["worker", "worker.toml"], streams)
    running = Running(made, log)
    running.until(partial(_catches, f"/proc/{made.pid}/status", signal.SIGHUP))
    made.send_signal(signal.SIGHUP)
    running.until(lambda: running.url != "" and running.is_ready())
    made.send_signal(signal.SIGTERM)
    assert made.wait(PATIENCE_S) == 0


def _catches(status: str, number: int) -> bool:
    (mask,) = [
        line.split()[1] for line in Path(status).read_text().splitlines() if "SigCgt" in line
    ]
    return bool(int(mask, 16) >> (number - 1) & 1)


async def test_a_second_reading_still_names_what_waits_for_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(WORKER)
    made = Worker(load(file), SqliteJournal.open)
    file.write_text(WORKER.replace('"mail"', '"post"') + "[ses]\nregion = 'eu-west-1'\n")
    for _ in range(2):
        assert made.apply(load(file)) == ["ses.region", "folder.path"]
    assert made.settings.ses.region is None


@pytest.mark.parametrize(
    "broken",
    [f"x = {'[' * 5_000}", f"x = {'9' * 5_000}", '[folder]\npath = "ma\\u0000il"', "x = \x00"],
    ids=["nested", "number", "path", "byte"],
)
def test_no_file_ends_a_worker_that_reads_it_again(
    ses_emulator: Emulator, tmp_path: Path, broken: str
) -> None:
    with worker(tmp_path, ses_emulator) as running:
        (tmp_path / "worker.toml").write_text(broken)
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: "the settings stay as they were" in running.log.read_text())
