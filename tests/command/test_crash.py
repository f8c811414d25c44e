"""SIGKILL in the middle: nobody is lost, and nobody is sent to twice without saying so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mailsluice.journal import Intent, Settlement
from mailsluice.statuses import NO_ANSWER

if TYPE_CHECKING:
    from tests.command.conftest import Folder

FAST = {
    "account": {"rate_per_s": 50_000, "daily_max": -1},
    "latency": {"low_s": 0.005, "high_s": 0.03},
}


def kill_when_accepted(folder: Folder, recipients: int, *flags: str) -> None:
    """Run `send` until the emulated SES has accepted so many, then kill it."""
    with folder.started(*flags) as process:
        folder.until(process, accepted=recipients)
        process.kill()
        process.wait()


@pytest.mark.ses_emulator(**FAST)
def test_a_run_of_100_000_killed_in_the_middle_sends_to_nobody_twice(folder: Folder) -> None:
    folder.write_list(100_000)
    kill_when_accepted(folder, 40_000)
    assert folder.accepted < 100_000
    assert folder.send().code in {0, 1}
    audit = folder.audit()
    assert (audit.lost, audit.unexplained, audit.duplicated) == ((), (), ())
    counts = folder.counts()
    assert 100_000 == counts["read"] == counts["sent"] + counts.get("in_doubt", 0)
    assert audit.accepted == counts["sent"] + audit.delivered_in_doubt
    # A crash costs no more than what was in flight.
    assert counts.get("in_doubt", 0) <= 32 * 50


@pytest.mark.ses_emulator(**FAST)
def test_under_resend_every_duplicate_is_explained_by_an_attempt_without_an_answer(
    folder: Folder,
) -> None:
    folder.write_list(20_000)
    for recipients in (3_000, 8_000, 14_000):
        kill_when_accepted(folder, recipients, "--set", "delivery.in_doubt=resend")
    assert folder.send("--set", "delivery.in_doubt=resend").code == 0
    assert folder.counts() == {"read": 20_000, "sent": 20_000}
    audit = folder.audit()
    assert (audit.lost, audit.unexplained) == ((), ())
    deliveries = Counter(
        int(tag.rpartition("-")[2]) for tag in folder.emulator.ledger.by_tag().elements()
    )
    assert len(deliveries) == 20_000
    doubts = unanswered(folder)
    assert all(times <= 1 + doubts[seq] for seq, times in deliveries.items())


@pytest.mark.ses_emulator(**FAST)
def test_a_run_killed_again_and_again_is_finished_in_the_end(folder: Folder) -> None:
    folder.write_list(6_000)
    for recipients in (1, 1_500, 3_000, 4_500):
        kill_when_accepted(folder, recipients)
    assert folder.send().code in {0, 1}
    audit = folder.audit()
    assert audit.agree
    assert audit.sent + folder.counts().get("in_doubt", 0) == 6_000
    assert audit.accepted == audit.sent + audit.delivered_in_doubt


def unanswered(folder: Folder) -> Counter[int]:
    """How many of each row's attempts the journal lists as unanswered."""
    open_: dict[int, Intent] = {}
    doubts: Counter[int] = Counter()
    for record in folder.records():
        if isinstance(record, Intent):
            open_[record.batch] = record
        elif isinstance(record, Settlement):
            rows = zip(open_.pop(record.batch).seqs, record.statuses, strict=True)
            doubts.update(seq for seq, status in rows if status == NO_ANSWER)
    return doubts
