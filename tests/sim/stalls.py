"""A mailing on virtual time, of which everything stalls now and then: disk, network, machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from mailsluice import DeliverySettings, Engine, Mailing, QuotaSettings, Report
from mailsluice.emulator import AccountSettings, EmulatorOptions
from mailsluice.journal import RunHeader
from mailsluice.journal.memory import MemoryJournal
from tests.sim.ses import EPOCH_S, Ses, Wire
from tests.sim.virtual import Process, VirtualLoop

MAILING = Mailing(from_address="a@example.com", template="t")

STALL_S = (0.2, 8.0)

STALLS_EVERY_S = 2.0
"""Between two stalls of a kind, on an average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """What stalls."""

    disk: bool = False
    """A commit takes seconds."""
    connect: bool = False
    """A call takes seconds to be connected."""
    machine: bool = False
    """Nothing runs for seconds, between any two callbacks of the event loop."""
    at_write: bool = False
    """The same, between a call's turn and its first byte."""


@dataclass(slots=True, kw_only=True)
class Stalled:
    """What became of it."""

    report: Report
    written: list[tuple[float, int]]
    """Moment and addresses of each call, in order."""
    elapsed_s: float
    stalled_s: float
    """Of all stalls together."""


class _Loop(VirtualLoop):
    """Can be stopped; what is given to a thread takes virtual time."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.stalled_s = 0.0
        self.disk_s: Callable[[], float] = lambda: 0.005

    def stall(self, seconds: float) -> None:
        """Time passes, and nothing runs."""
        self._virtual_now += seconds
        self.stalled_s += seconds

    def run_in_executor(self, _: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]  # as `Writer` calls it
        """The journal's thread: a disk that takes its time."""
        done = self.create_future()
        self.call_later(self.disk_s(), lambda: done.set_result(func(*args)))
        return done


class _Journal(MemoryJournal):
    """Is written in a thread, once it has been opened."""

    def begin(self, run: RunHeader) -> None:
        super().begin(run)
        self.blocks = True


class _Wire(Wire):
    def __init__(self, stalls: _Stalls, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._stalls = stalls

    def _connect_s(self) -> float:
        return self._stalls.connect_s()


class _Stalls:
    """When what stalls, and for how long."""

    def __init__(self, which: Stalls, loop: _Loop, random: Random) -> None:
        self._which = which
        self._loop = loop
        self._random = random
        self._next = {"disk": 0.0, "connect": 0.0, "write": 0.0}
        self.written: list[tuple[float, int]] = []
        loop.disk_s = self.disk_s

    def _due(self, kind: str) -> bool:
        now = self._loop.time()
        if now < self._next[kind]:
            return False
        self._next[kind] = now + self._random.expovariate(1 / STALLS_EVERY_S)
        return True

    def _long_s(self) -> float:
        return self._random.uniform(*STALL_S)

    def disk_s(self) -> float:
        if not (self._which.disk and self._due("disk")):
            return self._random.uniform(0.001, 0.02)
        self._loop.stalled_s += (stalled_s := self._long_s())
        return stalled_s

    def connect_s(self) -> float:
        if not self._which.connect or self._loop.time() % 20 > 8:
            return 0.0
        return 5.0

    def machine(self) -> None:
        """Stop it, and again after a while."""
        if self._which.machine:
            self._loop.stall(self._long_s())
            self._loop.call_later(self._random.expovariate(1 / STALLS_EVERY_S), self.machine)

    def submitted(self, _rows: list[int], weight: int) -> Callable[[object], object]:
        """A call has its turn, and is written."""
        if self._which.at_write and self._due("write"):
            self._loop.stall(self._long_s())
        self.written.append((self._loop.time(), weight))
        return lambda _: None


def live(seed: int, rate_per_s: float, recipients: int, which: Stalls) -> Stalled:
    """Send to so many at that rate."""
    random = Random(seed)
    loop = _Loop(seed)
    stalls = _Stalls(which, loop, random)
    account = AccountSettings(rate_per_s=rate_per_s, daily_max=-1)
    wire = _Wire(
        stalls,
        Ses(EmulatorOptions(account=account, credentials=None)),
        random,
        latency_s=(0.001, 0.1),
        unreachable=0.0,
        timeout_s=60.0,
        submitted=stalls.submitted,
    )
    engine = Engine(
        transport=wire,
        journal=_Journal(),
        quota=QuotaSettings(),
        delivery=DeliverySettings(),
        wall=lambda: EPOCH_S + loop.time(),
        random=Random(seed),
    )
    loop.call_later(random.expovariate(1 / STALLS_EVERY_S), stalls.machine)
    addresses = (f"user{n}@example.com" for n in range(recipients))
    process = Process(loop, engine.run(MAILING, addresses))
    report = process.run(lambda _: None)
    assert report is not None
    process.clear_away()
    elapsed_s = loop.time()
    loop.close()
    return Stalled(
        report=report, written=stalls.written, elapsed_s=elapsed_s, stalled_s=loop.stalled_s
    )
