"""What has happened to others, and could happen here: the command. Each test names its incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from mailsluice.emulator import CallFault

if TYPE_CHECKING:
    from tests.cli.conftest import Folder


@pytest.mark.ses_emulator(account={"rate_per_s": 50, "daily_max": -1})
def test_what_was_read_and_not_sent_when_a_process_was_killed_is_sent_by_the_next(
    folder: Folder,
) -> None:
    """listmonk#3022: the checkpoint moved when a batch was fetched, and not when it was sent."""
    folder.write_list(500)
    with folder.started() as process:
        folder.until(process, accepted=50)
        process.kill()
        process.wait()
    table = orjson.loads(folder.run("status", "mailing.journal", "--json").out)
    assert table["counts"]["read"] == 500, "everything was fetched"
    assert table["counts"]["pending"] >= 350, "and little was sent"
    folder.emulator.change_account(rate_per_s=5_000)
    assert folder.send().code in {0, 1}
    audit = folder.audit()
    assert audit.agree
    assert audit.sent + folder.counts().get("in_doubt", 0) == 500


def test_what_a_killed_process_had_begun_is_neither_deleted_nor_stuck(folder: Folder) -> None:
    """Postal's tidy task destroyed mail under a stale lock. procrastinate#307: interrupted jobs
    were lost for ever; #1518: they were invisible once their worker's row was gone."""
    folder.write_list(5)
    folder.emulator.faults.add(CallFault(fault="late", delay_s=60, times=1))
    with folder.started() as process:
        folder.until(process, accepted=5)
        process.kill()
        process.wait()
    # At once, without waiting for a lease, and whoever looks.
    table = orjson.loads(folder.run("status", "mailing.journal", "--json").out)
    assert (table["counts"]["in_doubt"], table["in_doubt_rows"]) == (5, [1, 2, 3, 4, 5])
    assert {line.state for line in folder.lines()} == {"in_doubt"}
    assert folder.run("resolve", "mailing.journal", "--in-doubt", "resend").code == 0
    assert folder.send().code == 0
    assert folder.counts() == {"read": 5, "sent": 5}
