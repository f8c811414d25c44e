"""Messages that are put aside, and what comes back from the dead-letter queue."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mailsluice.emulator import Emulator, EntryFault
from tests.support.aws import Aws
from tests.support.sqs import FAST, MAILING, Lists, QueueFixture
from tests.support.waiting import PATIENCE_S
from tests.support.worker import SLOWER, drop_mailing


@FAST
def test_poison_is_put_aside_and_the_rest_is_sent(fed: QueueFixture) -> None:
    inbox = fed.folder / "mail" / "inbox"
    drop_mailing(fed.folder, "message", 3)
    (inbox / "message" / "message.json").write_text("{}")
    drop_mailing(fed.folder, "nul", 3)
    file = inbox / "nul" / "mailing.toml"
    file.write_text(file.read_text().replace("list.csv", "a\\u0000b.csv"))
    drop_mailing(fed.folder, "bytes", 3)
    (inbox / "bytes").rename(inbox / os.fsdecode(b"caf\xe9"))
    drop_mailing(fed.folder, "good", 3)
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
def test_what_is_malformed_is_put_aside_with_the_reason_and_never_blocks_the_rest(
    fed: QueueFixture,
) -> None:
    one = {"mailing": MAILING, "to": "one@example.com"}
    bad = {
        "no JSON": "it is not JSON",
        json.dumps([1]): "it is not a JSON object",
        json.dumps({"to": "one@example.com"}): "mailing: it is missing",
        json.dumps(one | {"tpo": 1}): "tpo: unknown key",
        json.dumps(one | {"mailing": {"from": "nobody"}}): "mailing.from",
        json.dumps(one | {"lane": "fast"}): "lane",
        json.dumps({"mailing": MAILING, "recipients": []}): "recipients",
        json.dumps({"mailing": MAILING, "recipients": {"path": "/etc/passwd"}}): "recipients.path",
        json.dumps(one | {"mailing": MAILING | {"attachments": ["/etc/passwd"]}}): "attachments",
    }
    ids = fed.put(*bad)
    fed.put(one)
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
        assert running.get("/status")["queue"]["malformed"] == len(bad)
    quarantine = fed.folder / "mail" / "quarantine"
    assert sorted(each.stem for each in quarantine.iterdir()) == sorted(ids)
    for each, (body, reason) in zip(ids, bad.items(), strict=True):
        kept = json.loads((quarantine / f"{each}.json").read_text())
        assert kept["body"] == body
        assert reason in kept["reason"]
    assert fed.emulator.ledger.by_address() == {"one@example.com": 1}


@FAST
def test_the_dead_letter_queue_is_used_where_there_is_one(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    dead = QueueFixture(aws, ses_emulator, tmp_path)
    fed = QueueFixture(aws, ses_emulator, tmp_path, dead_letters=dead)
    fed.put("no JSON")
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    (found,) = fed.sqs.receive_message(QueueUrl=dead.url, MessageAttributeNames=["All"])["Messages"]
    assert found["Body"] == "no JSON"
    assert "not JSON" in found["MessageAttributes"]["mailsluice-reason"]["StringValue"]
    assert list((tmp_path / "mail" / "quarantine").iterdir()) == []


def move_back(dead: QueueFixture, fed: QueueFixture) -> dict[str, Any]:
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
    dead = QueueFixture(aws, ses_emulator, tmp_path)
    fed = QueueFixture(aws, ses_emulator, tmp_path, dead_letters=dead)
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
    dead = QueueFixture(aws, ses_emulator, tmp_path)
    fed = QueueFixture(aws, ses_emulator, tmp_path, dead_letters=dead)
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
