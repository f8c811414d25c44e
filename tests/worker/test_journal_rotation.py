"""The worker's journals of messages, one after the other."""

from __future__ import annotations

from tests.support.sqs import FAST, MAILING, SETTINGS, QueueFixture
from tests.support.worker import sent_to, worker

SMALL_SEGMENTS = """\
import sys
from mailsluice.worker.queue import journals as segments
segments.ROWS_MAX = 20
from mailsluice.cli import main
main()
"""


@FAST
def test_a_pause_holds_when_the_next_journal_of_messages_is_begun(fed: QueueFixture) -> None:
    text = SETTINGS.format(url=fed.url, visibility_s=30)
    with worker(fed.folder, fed.emulator, text, fed.aws.environment, SMALL_SEGMENTS) as running:
        running.get("/pause", "POST")
        fed.put(*({"mailing": MAILING, "to": f"one{n}@example.com"} for n in range(60)))
        journals = fed.folder / "mail" / "messages"
        running.until(lambda: len(list(journals.glob("*.journal"))) >= 2)
        running.until(lambda: running.get("/status")["queue"]["in_hand"] == 60)
        assert len(fed.emulator.ledger) == 0
        running.get("/resume", "POST")
        running.until(lambda: fed.left() == 0)
    assert fed.emulator.ledger.by_address() == {f"one{n}@example.com": 1 for n in range(60)}


@FAST
def test_a_journal_of_another_name_is_an_operators(fed: QueueFixture) -> None:
    messages = fed.folder / "mail/messages"
    messages.mkdir(parents=True)
    (messages / "messages-old.journal").write_text("not one of ours")
    fed.put({"mailing": MAILING, "to": "one@example.com"})
    with fed.working() as running:
        running.until(lambda: fed.left() == 0)
    assert sent_to(fed.emulator, "one") == 1
