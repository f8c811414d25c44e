"""Mailings in the worker's inbox: sent side by side, or put away with the reason."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from pathlib import Path

import pytest

from mailsluice.emulator import AccountSettings, CallFault, Emulator, EntryFault
from tests.support.sqs import FAST
from tests.support.waiting import NEVER_S
from tests.support.worker import UNANSWERED, WORKER, drop_mailing, mailing, worker


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=2_000, daily_max=-1))
def test_five_mailings_are_finished_side_by_side(ses_emulator: Emulator, tmp_path: Path) -> None:
    ses_emulator.change_account(rate_per_s=20)
    for n in range(5):
        drop_mailing(tmp_path, f"mailing{n}", 400)
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
    drop_mailing(tmp_path, "one", 1)
    drop_mailing(tmp_path, "two", 120)
    with worker(tmp_path, ses_emulator, WORKER + UNANSWERED) as running:
        shown = re.compile(r'calls_in_flight\{mailing="one"\} 1\.0\n.*"two"\} [2-9]\.0')
        running.until(lambda: shown.search(running.get("/metrics")) is not None)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=10, daily_max=-1))
def test_why_it_is_not_faster_is_what_holds_for_all(ses_emulator: Emulator, tmp_path: Path) -> None:
    ses_emulator.faults.add(EntryFault(status="TRANSIENT_FAILURE", address="first*"))
    drop_mailing(tmp_path, "first", 1)
    drop_mailing(tmp_path, "second", 300)

    def seen() -> tuple[str, str | None]:
        status = running.get("/status")
        first = [each["why_not_faster"] for each in status["mailings"] if each["name"] == "first"]
        return status["why"] or "", first[0] if first else None

    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: seen() == ("the rate: 10 recipients/s are allowed", "back-off"))


def test_what_cannot_be_sent_is_put_away_with_the_reason(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "bad", 3)
    (tmp_path / "mail/inbox/bad/mailing.toml").write_text("[mailing]\nfrom = 'nobody'\n")
    drop_mailing(tmp_path, "empty", 0)
    (tmp_path / "mail/inbox/empty/list.csv").unlink()
    drop_mailing(tmp_path, "good", 3)
    with worker(tmp_path, ses_emulator) as running:
        ended = {"bad": "failed", "empty": "failed", "good": "finished"}
        running.until(lambda: running.states() == ended)
    why = json.loads((tmp_path / "mail/failed/bad/report.json").read_text())["why"]
    assert "mailing.toml" in why
    assert "from" in why


def test_a_file_whose_name_is_no_text_does_not_end_the_worker(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "bad", 1)
    place = tmp_path / "mail/inbox/bad"
    (place / "mailing.toml").unlink()
    with Path(os.fsdecode(os.fsencode(place) + b"/m\xe4rz.toml")).open("w") as file:
        file.write("[mailing]\nfrom = 'nobody'\n")
    drop_mailing(tmp_path, "good", 3)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"bad": "failed", "good": "finished"})


@FAST
def test_a_list_that_breaks_off_is_put_away_with_what_came_before_settled(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "one", 3_000)
    place = tmp_path / "mail/inbox/one"
    mailing_file = place / "mailing.toml"
    mailing_file.write_text(mailing_file.read_text().replace("list.csv", "list.csv.gz"))
    draw = random.Random(1)
    rows = "".join(f"one{n}.{draw.getrandbits(100)}@example.com\n" for n in range(3_000))
    whole = gzip.compress(f"email\n{rows}".encode())
    (place / "list.csv.gz").write_bytes(whole[: len(whole) // 2])
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"one": "failed"})
    report = json.loads((tmp_path / "mail/failed/one/report.json").read_text())
    assert report["why"].startswith("SOURCE_BROKEN: ")
    assert 0 < report["counts"]["sent"] == len(ses_emulator.ledger) < 3_000
    assert report["counts"]["pending"] == 0


def test_a_pipe_in_place_of_a_mailing_file_does_not_stop_it(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "bad", 1)
    (tmp_path / "mail/inbox/bad/mailing.toml").unlink()
    os.mkfifo(tmp_path / "mail/inbox/bad/mailing.toml")
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"bad": "failed"})


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=5_000, daily_max=-1))
def test_the_limit_on_calls_that_is_named_is_the_mailings_own(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=0.3))
    drop_mailing(tmp_path, "one", 2_000)
    file = tmp_path / "mail/inbox/one/mailing.toml"
    file.write_text(f"{file.read_text()}[delivery]\nin_flight = 2\n")
    with worker(tmp_path, ses_emulator) as running:
        running.until(
            lambda: (mailing(running, "one").get("why_not_faster") or "").startswith(
                "the in-flight limit: 2 calls at once"
            )
        )
