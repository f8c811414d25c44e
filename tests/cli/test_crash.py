"""SIGKILL in the middle: nobody is lost, and nobody is sent to twice without saying so.

Many kills of many lists: tests/prove/kill.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailsluice.emulator import CallFault
from tests.support.waiting import NEVER_S

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

COUNT = 20_000
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
def test_a_run_of_20_000_killed_in_the_middle_sends_to_nobody_twice(folder: Folder) -> None:
    folder.write_list(COUNT)
    # However late the kill comes, the run has not ended: from here on nobody is answered.
    unanswered = tuple(range(COUNT // 100, COUNT // 50))
    folder.emulator.faults.add(CallFault(fault="late", delay_s=NEVER_S, nth=unanswered))
    kill_when_accepted(folder, COUNT // 3)
    assert folder.accepted < COUNT
    folder.emulator.faults.clear()
    assert folder.send().code in {0, 1}
    audit = folder.audit()
    assert (audit.lost, audit.unexplained, audit.duplicated) == ((), (), ())
    counts = folder.counts()
    assert COUNT == counts["read"] == counts["sent"] + counts.get("in_doubt", 0)
    assert audit.accepted == counts["sent"] + audit.delivered_in_doubt
    # A crash costs no more than what was in flight.
    assert counts.get("in_doubt", 0) <= 32 * 50
