"""What a second review of the worker by attack found: each a test that failed."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mailsluice.emulator import AccountSettings, CallFault, Emulator, EntryFault
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports import overview
from tests.support.aws import Aws
from tests.support.sqs import FAST, MAILING, Fed, Lists
from tests.support.waiting import PATIENCE_S
from tests.support.worker import SLOWER, WORKER, Running, drop, mailing, sent_to, worker


@pytest.fixture
def fed(aws: Aws, ses_emulator: Emulator, tmp_path: Path) -> Fed:
    return Fed(aws, ses_emulator, tmp_path)


def test_a_file_whose_name_is_no_text_does_not_end_the_worker(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "bad", 1)
    place = tmp_path / "mail/inbox/bad"
    (place / "mailing.toml").unlink()
    with Path(os.fsdecode(os.fsencode(place) + b"/m\xe4rz.toml")).open("w") as file:
        file.write("[mailing]\nfrom = 'nobody'\n")
    drop(tmp_path, "good", 3)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"bad": "failed", "good": "finished"})


@SLOWER
def test_a_mailing_that_waits_for_its_turn_is_cancelled_at_once(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    with worker(tmp_path, ses_emulator, WORKER.replace("[http]", "at_once = 1\n[http]")) as running:
        drop(tmp_path, "first", 1_000)
        running.until(lambda: running.states() == {"first": "sending"})
        drop(tmp_path, "second", 10)
        drop(tmp_path, "third", 10)
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
def test_what_an_earlier_worker_sent_is_counted(ses_emulator: Emulator, tmp_path: Path) -> None:
    drop(tmp_path, "one", 400)
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
        drop(tmp_path, "busy", 200)
        other.until(lambda: other.states() == {"busy": "sending"})
        with worker(tmp_path, ses_emulator) as running:
            drop(tmp_path, "one", 2_000)
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


@FAST
def test_a_list_that_breaks_off_is_put_away_with_what_came_before_settled(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop(tmp_path, "one", 3_000)
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
    drop(tmp_path, "bad", 1)
    (tmp_path / "mail/inbox/bad/mailing.toml").unlink()
    os.mkfifo(tmp_path / "mail/inbox/bad/mailing.toml")
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"bad": "failed"})


@FAST
def test_a_mailing_of_which_nothing_was_sent_may_come_again(fed: Fed) -> None:
    lists = Lists(fed.aws)
    with fed.working() as running:
        fed.put(lists.message("late", "november"))
        running.until(lambda: fed.left() == 0)
        assert mailing(running, "queue-november")["state"] == "failed"
        lists.put("late", 20)
        fed.put(lists.message("late", "november"))
        running.until(lambda: fed.left() == 0)
        assert mailing(running, "queue-november")["state"] == "finished"
    assert sent_to(fed.emulator, "late") == 20
    assert list((fed.folder / "mail/failed").iterdir()) == []


@SLOWER
def test_one_that_failed_and_was_then_cancelled_is_not_begun_again(fed: Fed) -> None:
    lists = Lists(fed.aws)
    lists.put("list", 400)
    with fed.working() as running:
        fed.put(lists.message("list", "november", suffix="xls"))
        running.until(lambda: fed.left() == 0)
        for _ in range(2):
            fed.put(lists.message("list", "november"))
            if not len(fed.emulator.ledger):
                assert fed.emulator.wait_for(accepted=40, timeout_s=PATIENCE_S)
                running.get("/mailings/queue-november/cancel", "POST")
            running.until(lambda: fed.left() == 0)
        assert mailing(running, "queue-november")["state"] == "cancelled"
    assert set(fed.emulator.ledger.by_address().values()) == {1}
    assert 0 < len(fed.emulator.ledger) < 400
    assert [each.name for each in (fed.folder / "mail/failed").iterdir()] == ["queue-november"]


@SLOWER
def test_a_message_whose_mailing_another_worker_has_is_kept(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    dead = Fed(aws, ses_emulator, tmp_path)
    fed = Fed(aws, ses_emulator, tmp_path, dead_letters=dead)
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


def move_back(dead: Fed, fed: Fed) -> dict[str, Any]:
    """The one message there, as SQS moves it: body and attributes, under another id."""
    (found,) = dead.sqs.receive_message(QueueUrl=dead.url, MessageAttributeNames=["All"])[
        "Messages"
    ]
    attributes: dict[str, Any] = found["MessageAttributes"]
    fed.sqs.send_message(QueueUrl=fed.url, MessageBody=found["Body"], MessageAttributes=attributes)
    dead.sqs.delete_message(QueueUrl=dead.url, ReceiptHandle=found["ReceiptHandle"])
    return attributes


@FAST
def test_what_comes_back_from_the_dead_letter_queue_is_known(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    dead = Fed(aws, ses_emulator, tmp_path)
    fed = Fed(aws, ses_emulator, tmp_path, dead_letters=dead)
    ses_emulator.faults.add(EntryFault(status="TEMPLATE_NOT_FOUND", address="late*"))
    everybody = [f"{name}{n}@example.com" for name in ("soon", "late") for n in range(60)]
    fed.put({"mailing": MAILING, "recipients": [{"to": each} for each in everybody]})
    with fed.working() as running:
        running.until(lambda: dead.left() == 1)
        running.until(lambda: fed.left() == 0)
        assert len(ses_emulator.ledger) == 60
        ses_emulator.faults.clear()
        attributes = move_back(dead, fed)
        assert "TEMPLATE_NOT_FOUND" in attributes["mailsluice-reason"]["StringValue"]
        running.until(lambda: fed.left() == 0)
    assert ses_emulator.ledger.by_address() == dict.fromkeys(everybody, 1)


@SLOWER
def test_a_list_that_comes_back_from_the_dead_letter_queue_goes_on(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    dead = Fed(aws, ses_emulator, tmp_path)
    fed = Fed(aws, ses_emulator, tmp_path, dead_letters=dead)
    lists = Lists(aws)
    lists.put("list", 120)
    fed.put(lists.message("list", None))
    for stop in range(1, 4):
        with fed.working():
            assert ses_emulator.wait_for(accepted=25 * stop, timeout_s=PATIENCE_S)
    assert (dead.left(), fed.left()) == (1, 0)
    attributes = move_back(dead, fed)
    assert attributes["mailsluice-reason"]["StringValue"] == "the worker stopped"
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    assert ses_emulator.ledger.by_address() == {f"list{n}@example.com": 1 for n in range(120)}


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


@SLOWER
def test_what_an_operator_says_twice_is_refused_with_the_reason(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    def told(running: Running, path: str) -> str:
        with pytest.raises(urllib.error.HTTPError) as refused:
            running.get(path, "POST")
        with refused.value as error:
            return f"{error.code} {error.read().decode()}"

    drop(tmp_path, "n{b}", 400)
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


def test_an_open_page_does_not_keep_a_worker(ses_emulator: Emulator, tmp_path: Path) -> None:
    with worker(tmp_path, ses_emulator) as running:
        with urllib.request.urlopen(f"{running.url}/events", timeout=PATIENCE_S) as events:
            assert events.readline().startswith(b"data: ")
            running.process.send_signal(signal.SIGTERM)
            events.read()  # to its end, and not broken off
        assert running.process.wait(PATIENCE_S) == 0


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=5_000, daily_max=-1))
def test_the_limit_on_calls_that_is_named_is_the_mailings_own(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=0.3))
    drop(tmp_path, "one", 2_000)
    file = tmp_path / "mail/inbox/one/mailing.toml"
    file.write_text(f"{file.read_text()}[delivery]\nin_flight = 2\n")
    with worker(tmp_path, ses_emulator) as running:
        running.until(
            lambda: (mailing(running, "one").get("why_not_faster") or "").startswith(
                "the in-flight limit: 2 calls at once"
            )
        )


@FAST
def test_a_sender_who_is_not_allowed_does_not_hold_up_the_others(fed: Fed) -> None:
    denied = CallFault(fault="error", code="AccessDeniedException", address="poison*")
    fed.emulator.faults.add(denied)
    poison = {"mailing": MAILING | {"from": "no@example.com"}, "to": "poison@example.com"}
    fed.put(poison, poison)
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(60)))
    with fed.working() as running:
        running.until(lambda: sent_to(fed.emulator, "one") == 60)
        assert running.get("/status")["queue"]["hold"] is None
        running.until(lambda: fed.left() == 2)


@FAST
def test_one_message_tries_for_all_while_the_account_is_held(fed: Fed) -> None:
    paused = CallFault(fault="error", code="SendingPausedException")
    fed.emulator.faults.add(paused)
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(10)))
    with fed.working() as running:

        def calls() -> int:
            return int(running.get("/status")["calls"])

        running.until(lambda: running.get("/status")["queue"]["hold"] is not None)
        # Polls are under way, and bring them.
        fed.put(*({"mailing": MAILING, "to": f"late{n}@example.com"} for n in range(30)))
        running.until(lambda: running.get("/status")["queue"]["in_flight"] == 0)
        before = calls()
        running.until(lambda: calls() >= before + 3)
        fed.emulator.faults.clear()
        tries = calls()
        running.until(lambda: fed.left() == 0)
        counts = running.get("/status")["queue"]["counts"]
        assert (counts["sent"], counts["failed"]) == (40, 0)
    journal = SqliteJournal.read(fed.folder / "mail/messages/messages-000001.journal")
    rows = overview.of(journal, running=False).counts.read
    journal.close()
    assert rows <= 10 + 40 + tries + 1, "once each before the hold and after it, and a row per try"


@SLOWER
def test_messages_are_received_again_when_a_hold_has_ended(fed: Fed) -> None:
    fed.emulator.faults.add(CallFault(fault="error", code="SendingPausedException"))
    many = [{"to": f"many{n}@example.com"} for n in range(300)]
    fed.put({"mailing": MAILING, "recipients": many, "lane": "bulk"})
    with fed.working(visibility_s=600) as running:
        running.until(lambda: running.get("/status")["queue"]["hold"] is not None)
        before = running.get("/status")["calls"]
        # Polls that were under way have ended.
        running.until(lambda: running.get("/status")["calls"] >= before + 3)
        fed.put({"mailing": MAILING, "to": "one@example.com"})
        fed.emulator.faults.clear()
        running.until(lambda: sent_to(fed.emulator, "one") == 1)
        assert sent_to(fed.emulator, "many") < 300, "that message is still in hand"


@FAST
def test_a_killed_worker_has_not_forgotten_what_only_its_log_says(fed: Fed) -> None:
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


@SLOWER
def test_mailings_to_lists_take_no_place_of_single_messages(fed: Fed) -> None:
    lists = Lists(fed.aws)
    lists.put("list", 1_000)
    fed.put(*(lists.message("list", f"november{n}") for n in range(6)))
    with fed.working(MAILSLUICE_QUEUE__IN_HAND="5") as running:
        running.until(lambda: len(running.states()) == 6)
        fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(3)))
        running.until(lambda: sent_to(fed.emulator, "one") == 3)
        assert set(running.states().values()) <= {"sending", "waiting"}


@SLOWER
def test_the_lanes_hold_for_messages_to_many(fed: Fed) -> None:
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


@FAST
def test_a_journal_of_another_name_is_an_operators(fed: Fed) -> None:
    messages = fed.folder / "mail/messages"
    messages.mkdir(parents=True)
    (messages / "messages-old.journal").write_text("not one of ours")
    fed.put({"mailing": MAILING, "to": "one@example.com"})
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    assert sent_to(fed.emulator, "one") == 1


@FAST
def test_doubts_of_an_earlier_worker_are_shown(fed: Fed) -> None:
    fed.emulator.faults.add(CallFault(fault="late", delay_s=60))
    fed.put({"mailing": MAILING, "to": "one@example.com"})
    with fed.working(visibility_s=3) as running:
        assert fed.emulator.wait_for(calls=1, timeout_s=PATIENCE_S)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(PATIENCE_S)
    with fed.working(visibility_s=3) as running:
        assert running.get("/status")["in_doubt"] == 1
