"""`mailsluice worker`, as a process: mailings in a folder, HTTP, signals."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mailsluice.emulator import AccountSettings, CallFault, Emulator, EntryFault
from tests.support.waiting import NEVER_S, PATIENCE_S
from tests.support.worker import UNANSWERED, WORKER, command, drop, worker


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=2_000, daily_max=-1))
def test_five_mailings_are_finished_side_by_side(ses_emulator: Emulator, tmp_path: Path) -> None:
    ses_emulator.change_account(rate_per_s=20)
    for n in range(5):
        drop(tmp_path, f"mailing{n}", 400)
    with worker(tmp_path, ses_emulator, WORKER + "[quota]\nrefresh_s = 1\n") as running:
        running.until(lambda: list(running.states().values()) == ["sending"] * 5)
        begun = len(ses_emulator.ledger)
        ses_emulator.change_account(rate_per_s=2_000)
        running.until(lambda: set(running.states().values()) == {"finished"})
        metrics = running.get("/metrics")
        assert 'mailsluice_recipients{mailing="mailing0",state="sent"} 400.0' in metrics
        assert running.get("/livez") == running.get("/readyz") == "ok\n"
        assert "<title>mailsluice</title>" in running.get("/")
    assert len(ses_emulator.ledger) == 2_000
    assert set(ses_emulator.ledger.by_address().values()) == {1}
    first = [each.addresses[0] for each in ses_emulator.ledger.entries()][begun:][:1_000]
    assert len({address[:8] for address in first}) == 5, "not one after the other"
    for n in range(5):
        report = json.loads((tmp_path / f"mail/done/mailing{n}/report.json").read_text())
        assert (report["state"], report["report"]["counts"]["sent"]) == ("finished", 400)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=5_000, daily_max=-1))
def test_calls_in_flight_are_those_of_each_mailing(ses_emulator: Emulator, tmp_path: Path) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=NEVER_S))
    drop(tmp_path, "one", 1)
    drop(tmp_path, "two", 120)
    with worker(tmp_path, ses_emulator, WORKER + UNANSWERED) as running:
        shown = re.compile(r'calls_in_flight\{mailing="one"\} 1\.0\n.*"two"\} [2-9]\.0')
        running.until(lambda: shown.search(running.get("/metrics")) is not None)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=10, daily_max=-1))
def test_why_it_is_not_faster_is_what_holds_for_all(ses_emulator: Emulator, tmp_path: Path) -> None:
    ses_emulator.faults.add(EntryFault(status="TRANSIENT_FAILURE", address="first*"))
    drop(tmp_path, "first", 1)
    drop(tmp_path, "second", 300)

    def seen() -> tuple[str, str | None]:
        status = running.get("/status")
        first = [each["why_not_faster"] for each in status["mailings"] if each["name"] == "first"]
        return status["why"] or "", first[0] if first else None

    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: seen() == ("the rate: 10 recipients/s are allowed", "back-off"))


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=200, daily_max=-1))
def test_a_worker_told_to_stop_is_carried_on_by_the_next(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "long", 300)
    with worker(tmp_path, ses_emulator) as running:
        assert ses_emulator.wait_for(accepted=60, timeout_s=PATIENCE_S)
    assert running.process.returncode == 0
    assert (tmp_path / "mail/working/long/mailing.journal").exists()
    ses_emulator.change_account(rate_per_s=5_000)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states().get("long") == "finished")
    assert len(ses_emulator.ledger) == 300
    assert set(ses_emulator.ledger.by_address().values()) == {1}


def test_what_cannot_be_sent_is_put_away_with_the_reason(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "bad", 3)
    (tmp_path / "mail/inbox/bad/mailing.toml").write_text("[mailing]\nfrom = 'nobody'\n")
    drop(tmp_path, "empty", 0)
    (tmp_path / "mail/inbox/empty/list.csv").unlink()
    drop(tmp_path, "good", 3)
    with worker(tmp_path, ses_emulator) as running:
        ended = {"bad": "failed", "empty": "failed", "good": "finished"}
        running.until(lambda: running.states() == ended)
    why = json.loads((tmp_path / "mail/failed/bad/report.json").read_text())["why"]
    assert "mailing.toml" in why
    assert "from" in why


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=100, daily_max=-1))
def test_a_mailing_is_paused_resumed_and_cancelled_over_http(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "one", 1_000)
    with worker(tmp_path, ses_emulator) as running:
        assert ses_emulator.wait_for(accepted=30, timeout_s=PATIENCE_S)
        running.get("/mailings/one/pause", "POST")
        running.until(lambda: running.get("/status")["mailings"][0]["in_flight"] == 0)
        before = len(ses_emulator.ledger)
        running.get("/mailings/one/resume", "POST")
        assert ses_emulator.wait_for(accepted=before + 30, timeout_s=PATIENCE_S)
        running.get("/mailings/one/cancel", "POST")
        running.until(lambda: running.states()["one"] == "cancelled")
        with pytest.raises(urllib.error.HTTPError) as refused:
            running.get("/mailings/one/pause", "POST")
        assert refused.value.code == 409
        refused.value.close()
    assert (tmp_path / "mail/failed/one/report.json").exists()


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=200, daily_max=-1))
def test_the_commands_pause_resume_and_cancel_with_the_token_of_the_settings(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "one", 2_000)
    token = "x" * 16
    with worker(tmp_path, ses_emulator, environment={"MAILSLUICE_HTTP__TOKEN": token}) as running:
        at = ["--set", f"http.port={running.url.rpartition(':')[2]}"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            running.get("/status")
        assert refused.value.code == 401
        refused.value.close()
        assert command(tmp_path, "pause", *at).code == 2, "without the token"
        running.query = f"?token={token}"
        running.until(lambda: running.states() == {"one": "sending"})

        def tell(*arguments: str) -> None:
            told = command(tmp_path, *arguments, *at, MAILSLUICE_HTTP__TOKEN=token)
            assert told.code == 0, told.err

        tell("pause")
        assert running.get("/status")["paused"]
        running.until(lambda: running.get("/status")["mailings"][0]["in_flight"] == 0)
        tell("resume")
        tell("pause", "one")
        assert running.states() == {"one": "paused"}
        tell("resume", "one")
        running.until(lambda: running.states() == {"one": "sending"})
        twice = command(tmp_path, "resume", "one", *at, MAILSLUICE_HTTP__TOKEN=token)
        assert (twice.code, "there is nothing to resume" in twice.err) == (2, True)
        tell("cancel", "one")
        running.until(lambda: running.states() == {"one": "cancelled"})
        again = command(tmp_path, "cancel", "one", *at, MAILSLUICE_HTTP__TOKEN=token)
        assert (again.code, "there is nothing to cancel" in again.err) == (2, True)
        gone = command(tmp_path, "pause", "two", *at, MAILSLUICE_HTTP__TOKEN=token)
        assert (gone.code, "there is no such mailing" in gone.err) == (2, True)
    nobody = command(tmp_path, "pause", *at)
    assert (nobody.code, "no worker answers at" in nobody.err) == (2, True)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=2_000, daily_max=-1))
def test_sighup_applies_what_can_change_and_refuses_a_broken_file(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "one", 1_500)
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
    drop(tmp_path, "one", 100)
    with worker(tmp_path, ses_emulator, WORKER + UNANSWERED) as running:
        assert ses_emulator.wait_for(accepted=100, timeout_s=PATIENCE_S)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0
    journal = tmp_path / "mail/working/one/mailing.journal"
    status = subprocess.run(
        [sys.executable, "-m", "mailsluice", "status", "--json", str(journal)],
        capture_output=True,
        check=False,
    )
    assert json.loads(status.stdout)["counts"]["in_doubt"] == 100


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=2_000, daily_max=-1))
def test_readiness_ends_with_the_signal_and_logs_are_json_lines(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "one", 10)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"one": "finished"})
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert {line["level"] for line in lines} == {"INFO"}
    assert all(line["timestamp"] and line["logger"].startswith("mailsluice") for line in lines)
    assert [line["message"] for line in lines if line["message"].startswith("one")] == [
        "one: sending",
        "one: finished",
    ]


def test_other_sites_pages_may_not_operate_it(ses_emulator: Emulator, tmp_path: Path) -> None:
    with worker(tmp_path, ses_emulator) as running:
        for name, value in (
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Host", "evil.example:8025"),
        ):
            request = urllib.request.Request(
                f"{running.url}/pause", method="POST", headers={name: value}
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=PATIENCE_S)
            assert refused.value.code == 403
            refused.value.close()
        assert not running.get("/status")["paused"]


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
