"""A mailing that the daily quota stretches over days, on virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from mailsluice import DeliverySettings, Engine, Mailing, QuotaSettings
from mailsluice.emulator import AccountSettings, EmulatorOptions
from mailsluice.journal.memory import MemoryJournal
from tests.sim.ses import EPOCH_S, Ses, Wire
from tests.sim.virtual import Process, VirtualLoop

DAY_S = 86_400.0


class Stretched(NamedTuple):
    """What became of it."""

    accepted: int
    days: float
    accepted_in_a_day: int
    """Most in any 24 hours."""
    throttled: int


def send(*, recipients: int, daily_max: int, rate_per_s: float) -> Stretched:
    """Send to so many, under this quota, by the production engine."""
    loop = VirtualLoop(0)
    ses = Ses(
        EmulatorOptions(
            account=AccountSettings(rate_per_s=rate_per_s, daily_max=daily_max), credentials=None
        )
    )
    wire = Wire(
        ses,
        Random(0),
        latency_s=(0.05, 0.25),
        unreachable=0.0,
        timeout_s=30.0,
        submitted=lambda _rows, _weight: lambda _accepted: None,
    )
    engine = Engine(
        transport=wire,
        journal=MemoryJournal(),
        quota=QuotaSettings(),
        delivery=DeliverySettings(),
        wall=lambda: EPOCH_S + loop.time(),
        random=Random(0),
    )
    mailing = Mailing(from_address="a@example.com", template="t")
    process = Process(loop, engine.run(mailing, _addresses(recipients)))
    report = process.run(lambda _: None, stuck_s=30 * DAY_S)
    assert report is not None
    assert report.state == "finished"
    days = loop.time() / DAY_S
    process.clear_away()
    loop.close()
    ledger = ses.service.ledger
    return Stretched(len(ledger), days, _most_in_a_day(ses), report.throttled)


def _addresses(recipients: int) -> Iterator[str]:
    return (f"user{n}@example.com" for n in range(recipients))


def _most_in_a_day(ses: Ses) -> int:
    inside: deque[float] = deque()
    most = 0
    for accepted in ses.service.ledger.entries():
        inside.append(accepted.at)
        while inside[0] <= accepted.at - DAY_S:
            inside.popleft()
        most = max(most, len(inside))
    return most
