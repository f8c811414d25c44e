"""Messages that name a list in S3."""

from __future__ import annotations

import gzip
import json
import random

from tests.support.sqs import FAST, MAILING, Lists, QueueFixture
from tests.support.waiting import PATIENCE_S
from tests.support.worker import SLOWER, mailing, sent_to


@FAST
def test_a_list_out_of_reach_is_held_and_tried_again(fed: QueueFixture) -> None:
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
def test_a_list_in_s3_is_sent_once(fed: QueueFixture) -> None:
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
def test_a_mailing_of_which_nothing_was_sent_may_come_again(fed: QueueFixture) -> None:
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
def test_one_that_failed_and_was_then_cancelled_is_not_begun_again(fed: QueueFixture) -> None:
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
def test_mailings_to_lists_take_no_place_of_single_messages(fed: QueueFixture) -> None:
    lists = Lists(fed.aws)
    lists.put("list", 1_000)
    fed.put(*(lists.message("list", f"november{n}") for n in range(6)))
    with fed.working(MAILSLUICE_QUEUE__IN_HAND="5") as running:
        running.until(lambda: len(running.states()) == 6)
        fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(3)))
        running.until(lambda: sent_to(fed.emulator, "one") == 3)
        assert set(running.states().values()) <= {"sending", "waiting"}
