"""What has happened to others, and could happen here: each test names its incident."""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random

import pytest

from mailsluice import DeliverySettings, Engine, Mailing
from mailsluice.emulator import AccountSettings, EmulatorOptions
from mailsluice.journal.memory import MemoryJournal
from tests.sim.ses import EPOCH_S, Ses, Wire
from tests.sim.virtual import Process, VirtualLoop

STOPS = 300

MAILING = Mailing(from_address="a@example.com", template="t")


def stop_after(loop: VirtualLoop, engine: Engine, seconds: float, _: object) -> None:
    loop.call_later(seconds, engine.stop)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stopped_and_resumed_hundreds_of_times_everybody_is_mailed_once() -> None:
    """listmonk#2070, #2313: three to five copies after resuming. listmonk#2278: "finished" with a
    hundred unsent."""
    loop = VirtualLoop(0)
    ses = Ses(
        EmulatorOptions(account=AccountSettings(rate_per_s=0.5, daily_max=-1), credentials=None)
    )
    journal = MemoryJournal()
    count, draw, processes, state = 80, Random(2313), 0, ""
    while state != "finished":
        processes += 1
        wire = Wire(
            ses,
            draw,
            latency_s=(0.01, 0.1),
            unreachable=0.0,
            timeout_s=30.0,
            submitted=lambda _rows, _weight: lambda _accepted: None,
        )
        engine = Engine(
            transport=wire,
            journal=journal,
            delivery=DeliverySettings(in_flight=4),
            wall=lambda: EPOCH_S + loop.time(),
            random=Random(processes),
        )
        recipients = [f"u{n}@example.com" for n in range(count)]
        process = Process(loop, engine.run(MAILING, recipients))
        stop_s = draw.uniform(0, 0.75) if processes < STOPS else 1e9
        report = process.run(partial(stop_after, loop, engine, stop_s))
        assert report is not None
        state = report.state
        assert (state == "finished") == (report.counts.pending == 0)
        process.clear_away()
    loop.close()
    assert processes >= STOPS
    mails = Counter(each.to for each in ses.service.ledger.entries())
    assert len(mails) == count
    assert set(mails.values()) == {1}
