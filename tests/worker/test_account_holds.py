"""The account or a mailing is held: messages stay in the queue, and are sent later."""

from __future__ import annotations

import pytest

from mailsluice.emulator import CallFault
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports import overview
from tests.support.sqs import FAST, FAST_ACCOUNT, MAILING, QueueFixture
from tests.support.worker import SLOWER, sent_to


@FAST
def test_while_the_account_is_paused_messages_are_kept_and_then_sent(fed: QueueFixture) -> None:
    with fed.working() as running:
        fed.emulator.change_account(sending_enabled=False)
        fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(30)))
        running.until(lambda: (running.get("/status")["queue"]["hold"] or "").startswith("ACCOUNT"))
        fed.emulator.change_account(sending_enabled=True)
        running.until(lambda: fed.left() == 0)
    assert fed.emulator.ledger.by_address() == {f"one{n}@example.com": 1 for n in range(30)}


@pytest.mark.ses_emulator(account=FAST_ACCOUNT, resources={"templates": ["welcome"]})
def test_a_missing_template_keeps_its_messages_in_the_queue_and_no_others(
    fed: QueueFixture,
) -> None:
    gone = MAILING | {"template": "gone"}
    fed.put(*({"mailing": gone, "to": f"gone{n}@example.com"} for n in range(3)))
    fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(30)))
    with fed.working() as running:
        running.until(lambda: len(fed.emulator.ledger) == 30)
        running.until(lambda: running.get("/status")["queue"]["in_hand"] == 0)
        assert fed.left() == 3
    assert "TEMPLATE_NOT_FOUND" in fed.folder.joinpath("worker.log").read_text()


@FAST
def test_a_sender_who_is_not_allowed_does_not_hold_up_the_others(fed: QueueFixture) -> None:
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
def test_one_message_tries_for_all_while_the_account_is_held(fed: QueueFixture) -> None:
    paused = CallFault(fault="error", code="SendingPausedException")
    with fed.working() as running:
        # Only now: a worker that is held is not ready.
        fed.emulator.faults.add(paused)
        fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(10)))

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
    rows = overview.read_overview(journal, running=False).counts.read
    journal.close()
    assert rows <= 10 + 40 + tries + 1, "once each before the hold and after it, and a row per try"


@SLOWER
def test_messages_are_received_again_when_a_hold_has_ended(fed: QueueFixture) -> None:
    many = [{"to": f"many{n}@example.com"} for n in range(300)]
    with fed.working(visibility_s=600) as running:
        fed.emulator.faults.add(CallFault(fault="error", code="SendingPausedException"))
        fed.put({"mailing": MAILING, "recipients": many, "lane": "bulk"})
        running.until(lambda: running.get("/status")["queue"]["hold"] is not None)
        before = running.get("/status")["calls"]
        # Polls that were under way have ended.
        running.until(lambda: running.get("/status")["calls"] >= before + 3)
        fed.put({"mailing": MAILING, "to": "one@example.com"})
        fed.emulator.faults.clear()
        running.until(lambda: sent_to(fed.emulator, "one") == 1)
        assert sent_to(fed.emulator, "many") < 300, "that message is still in hand"
