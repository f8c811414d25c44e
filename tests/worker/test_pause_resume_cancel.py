"""Pause, resume and cancel: by HTTP and by command, across restarts."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from mailsluice.emulator import AccountSettings, CallFault, Emulator
from tests.support.waiting import PATIENCE_S
from tests.support.worker import (
    SLOW,
    SLOWER,
    WORKER,
    Running,
    command,
    drop_mailing,
    kill,
    mailing,
    sent_to,
    worker,
)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=100, daily_max=-1))
def test_a_mailing_is_paused_resumed_and_cancelled_over_http(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "one", 1_000)
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
    drop_mailing(tmp_path, "one", 2_000)
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


@SLOW
def test_a_cancelled_mailing_stays_so_whatever_happens(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=60, nth=(3,)))
    drop_mailing(tmp_path, "one", 1_000)
    with worker(tmp_path, ses_emulator) as running:
        assert ses_emulator.wait_for(calls=3, timeout_s=PATIENCE_S)
        running.get("/mailings/one/cancel", "POST")
        kill(running)
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
    drop_mailing(tmp_path, "one", 200)
    drop_mailing(tmp_path, "two", 200)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: len(running.states()) == 2)
        running.get("/mailings/one/pause", "POST")
        running.get("/pause", "POST")
        kill(running)
    before = len(ses_emulator.ledger)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"one": "paused", "two": "paused"})
        assert running.get("/status")["paused"]
        drop_mailing(tmp_path, "three", 10)
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
    drop_mailing(tmp_path, "one", 1_000)
    with worker(tmp_path, ses_emulator, WORKER.replace("[http]", "at_once = 1\n[http]")) as running:
        running.until(lambda: running.states() == {"one": "sending"})
        drop_mailing(tmp_path, "two", 10)
        running.until(lambda: running.states().get("two") == "waiting")
        running.get("/mailings/one/pause", "POST")
        running.until(lambda: running.states() == {"one": "paused", "two": "finished"})


@SLOWER
def test_a_mailing_that_waits_for_its_turn_is_cancelled_at_once(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    with worker(tmp_path, ses_emulator, WORKER.replace("[http]", "at_once = 1\n[http]")) as running:
        drop_mailing(tmp_path, "first", 1_000)
        running.until(lambda: running.states() == {"first": "sending"})
        drop_mailing(tmp_path, "second", 10)
        drop_mailing(tmp_path, "third", 10)
        running.until(lambda: list(running.states().values()) == ["sending", "waiting", "waiting"])
        running.get("/mailings/second/cancel", "POST")
        running.get("/mailings/third/pause", "POST")
        running.until(lambda: running.states().get("second") == "cancelled")
        assert running.states() == {"first": "sending", "second": "cancelled", "third": "paused"}
        running.get("/mailings/third/resume", "POST")
        running.until(lambda: running.states()["third"] == "waiting")
        running.get("/mailings/first/cancel", "POST")
        running.until(lambda: running.states()["third"] == "finished")
    assert sent_to(ses_emulator, "second") == 0


@SLOWER
def test_what_an_operator_says_twice_is_refused_with_the_reason(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    def told(running: Running, path: str) -> str:
        with pytest.raises(urllib.error.HTTPError) as refused:
            running.get(path, "POST")
        with refused.value as error:
            return f"{error.code} {error.read().decode()}"

    drop_mailing(tmp_path, "n{b}", 400)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"n{b}": "sending"})
        running.until(lambda: mailing(running, "n{b}")["left_s"] is not None)
        running.get("/pause", "POST")
        running.until(lambda: mailing(running, "n{b}")["left_s"] is None)
        assert told(running, "/pause") == "409 the worker: there is nothing to pause\n"
        refused = told(running, "/mailings/n%7Bb%7D/resume")
        assert refused.startswith("409 n{b}: there is nothing to resume: all are paused")
        running.get("/mailings/n%7Bb%7D/cancel", "POST")
        running.until(lambda: running.states() == {"n{b}": "cancelled"})
        running.get("/resume", "POST")
        assert told(running, "/resume") == "409 the worker: there is nothing to resume\n"
