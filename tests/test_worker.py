"""`mailsluice worker`, as a process: mailings in a folder, HTTP, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mailsluice.emulator import AccountSettings, Emulator

MAILING = """\
[mailing]
from = "news@example.com"
template = "{template}"
[recipients]
path = "list.csv"
"""

WORKER = """\
[folder]
path = "mail"
poll_s = 0.05
hold_s = 0.2
[http]
port = 0
"""


def drop(folder: Path, name: str, recipients: int, template: str = "welcome") -> None:
    """Put a mailing together and rename it into the inbox."""
    inbox = folder / "mail" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    made = inbox / f".{name}"
    made.mkdir()
    (made / "mailing.toml").write_text(MAILING.format(template=template))
    rows = "".join(f"{name}{n}@example.com\n" for n in range(recipients))
    (made / "list.csv").write_text(f"email\n{rows}")
    made.rename(inbox / name)


class Running:
    """A worker's process."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def url(self) -> str:
        """Where it serves; empty before it does."""
        found = re.search(r'serving (http://[^"\s]+)', self.log.read_text())
        return found[1] if found else ""

    def get(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read().decode()
        return json.loads(body) if body.startswith("{") else body

    def is_ready(self) -> bool:
        """Whether it takes in anything."""
        try:
            return bool(self.get("/readyz") == "ok\n")
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.get("/status")["mailings"]}

    def until(self, condition: Callable[[], bool], within_s: float = 30.0) -> None:
        ends = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < ends, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)  # another process, which has no event to wait for


@contextmanager
def worker(
    folder: Path,
    emulator: Emulator,
    text: str = WORKER,
    environment: dict[str, str] | None = None,
) -> Iterator[Running]:
    (folder / "worker.toml").write_text(text)
    command = [sys.executable, "-m", "mailsluice", "worker", str(folder / "worker.toml")]
    environment = os.environ | emulator.environment | (environment or {})
    log = folder / "worker.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, env=environment, stderr=stderr, text=True) as process,
    ):
        running = Running(process, log)
        try:
            running.until(lambda: running.url != "", within_s=20)
            running.until(running.is_ready, within_s=20)
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=2_000, daily_max=-1))
def test_five_mailings_are_finished_side_by_side(ses_emulator: Emulator, tmp_path: Path) -> None:
    for n in range(5):
        drop(tmp_path, f"mailing{n}", 400)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: len(running.states()) == 5)
        running.until(lambda: set(running.states().values()) == {"finished"})
        metrics = running.get("/metrics")
        assert 'mailsluice_recipients{mailing="mailing0",state="sent"} 400.0' in metrics
        assert running.get("/livez") == running.get("/readyz") == "ok\n"
        assert "<title>mailsluice</title>" in running.get("/")
    assert len(ses_emulator.ledger) == 2_000
    assert set(ses_emulator.ledger.by_address().values()) == {1}
    first = [each.addresses[0] for each in ses_emulator.ledger.entries()][:1_000]
    assert len({address[:8] for address in first}) == 5, "not one after the other"
    for n in range(5):
        report = json.loads((tmp_path / f"mail/done/mailing{n}/report.json").read_text())
        assert (report["state"], report["report"]["counts"]["sent"]) == ("finished", 400)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=200, daily_max=-1))
def test_a_worker_told_to_stop_is_carried_on_by_the_next(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "long", 300)
    with worker(tmp_path, ses_emulator) as running:
        assert ses_emulator.wait_for(accepted=60, timeout_s=30)
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
        running.until(
            lambda: len(running.states()) == 3 and "sending" not in running.states().values()
        )
        assert running.states() == {"bad": "failed", "empty": "failed", "good": "finished"}
    why = json.loads((tmp_path / "mail/failed/bad/report.json").read_text())["why"]
    assert "mailing.toml" in why
    assert "from" in why


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=100, daily_max=-1))
def test_a_mailing_is_paused_resumed_and_cancelled_over_http(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "one", 1_000)
    with worker(tmp_path, ses_emulator) as running:
        assert ses_emulator.wait_for(accepted=30, timeout_s=30)
        running.get("/mailings/one/pause", "POST")
        running.until(lambda: running.get("/status")["mailings"][0]["in_flight"] == 0)
        before = len(ses_emulator.ledger)
        running.get("/mailings/one/resume", "POST")
        assert ses_emulator.wait_for(accepted=before + 30, timeout_s=30)
        running.get("/mailings/one/cancel", "POST")
        running.until(lambda: running.states()["one"] == "cancelled")
        with pytest.raises(urllib.error.HTTPError) as refused:
            running.get("/mailings/one/pause", "POST")
        assert refused.value.code == 409
        refused.value.close()
    assert (tmp_path / "mail/failed/one/report.json").exists()
