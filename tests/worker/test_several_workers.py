"""Several workers on one folder or queue, at once or one after the other."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from mailsluice.emulator import CallFault, Emulator
from tests.support.aws import Aws
from tests.support.sqs import FAST, MAILING, Lists, QueueFixture
from tests.support.waiting import PATIENCE_S
from tests.support.worker import SLOWER, WORKER, command, drop_mailing, mailing, sent_to, worker


def test_a_second_worker_on_one_folder_is_refused(fed: QueueFixture) -> None:
    with fed.working():
        text = (fed.folder / "worker.toml").read_text()
        other = fed.folder / "other"
        other.mkdir()
        (other / "worker.toml").write_text(text.replace('"mail"', f'"{fed.folder}/mail"'))
        ended = command(other, "worker", **fed.aws.environment)
    assert ended.code == 5
    assert "another worker is at it; each needs a [folder] path of its own" in ended.err


@SLOWER
def test_what_an_earlier_worker_sent_is_counted(ses_emulator: Emulator, tmp_path: Path) -> None:
    drop_mailing(tmp_path, "one", 400)
    with worker(tmp_path, ses_emulator) as running:
        assert ses_emulator.wait_for(accepted=40, timeout_s=PATIENCE_S)
        running.get("/mailings/one/pause", "POST")
        running.until(lambda: mailing(running, "one")["in_flight"] == 0)
    sent = len(ses_emulator.ledger)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: mailing(running, "one")["state"] == "paused")
        assert mailing(running, "one")["counts"]["sent"] == sent
        assert f'{{mailing="one",state="sent"}} {sent:.1f}' in running.get("/metrics")
        running.get("/mailings/one/cancel", "POST")
        running.until(lambda: mailing(running, "one")["state"] == "cancelled")
        seen = mailing(running, "one")
        assert (seen["counts"]["sent"], seen["fraction_read"]) == (sent, None)
    report = json.loads((tmp_path / "mail/failed/one/report.json").read_text())
    assert report["counts"]["sent"] == sent


@SLOWER
def test_a_pause_holds_for_the_other_workers_of_a_folder(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    text = WORKER.replace('"mail"', f'"{tmp_path}/mail"\nat_once = 1')
    with worker(beside, ses_emulator, text) as other:
        drop_mailing(tmp_path, "busy", 200)
        other.until(lambda: other.states() == {"busy": "sending"})
        with worker(tmp_path, ses_emulator) as running:
            drop_mailing(tmp_path, "one", 2_000)
            other.until(lambda: other.states().get("one") == "waiting")
            running.until(lambda: running.states().get("one") == "sending")
            assert sent_to(ses_emulator, "one") < 2_000
            running.get("/mailings/one/pause", "POST")
            running.until(lambda: mailing(running, "one")["in_flight"] == 0)
            sent = sent_to(ses_emulator, "one")
            other.until(lambda: other.states().get("busy") == "finished")
            other.until(lambda: other.states().get("one") == "paused")
            assert sent_to(ses_emulator, "one") == sent
            # And so does what ends it.
            running.get("/mailings/one/cancel", "POST")
            # Whichever sees it first puts it away and shows it; the other shows it no more.
            running.until(lambda: running.states().get("one") in {"cancelled", None})
            other.until(lambda: other.states().get("one") in {"cancelled", None})
            running.until((tmp_path / "mail" / "failed" / "one" / "report.json").exists)
    assert sent_to(ses_emulator, "one") == sent


@SLOWER
def test_a_message_whose_mailing_another_worker_has_is_kept(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    dead = QueueFixture(aws, ses_emulator, tmp_path)
    fed = QueueFixture(aws, ses_emulator, tmp_path, dead_letters=dead)
    lists = Lists(aws)
    lists.put("list", 160)
    (fed.folder / "beside").mkdir()
    fed.put(lists.message("list", "november"))
    with fed.working(visibility_s=3) as running:
        assert fed.emulator.wait_for(accepted=40, timeout_s=PATIENCE_S)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(PATIENCE_S)
    text = WORKER.replace('"mail"', f'"{fed.folder}/mail"')
    with worker(fed.folder / "beside", fed.emulator, text, fed.aws.environment) as other:
        other.until(lambda: other.states() == {"queue-november": "sending"})
        with fed.working(visibility_s=3) as running:
            running.until(lambda: running.get("/status")["queue"]["in_hand"] == 1)
            other.until(lambda: mailing(other, "queue-november")["counts"]["sent"] > 110)
            assert running.get("/status")["queue"]["in_hand"] == 1
            running.until(lambda: fed.left() == 0)
    assert dead.left() == 0
    assert set(fed.emulator.ledger.by_address().values()) == {1}


@FAST
def test_doubts_of_an_earlier_worker_are_shown(fed: QueueFixture) -> None:
    fed.emulator.faults.add(CallFault(fault="late", delay_s=60))
    fed.put({"mailing": MAILING, "to": "one@example.com"})
    with fed.working(visibility_s=3) as running:
        assert fed.emulator.wait_for(calls=1, timeout_s=PATIENCE_S)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(PATIENCE_S)
    with fed.working(visibility_s=3) as running:
        assert running.get("/status")["in_doubt"] == 1
