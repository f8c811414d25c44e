"""How a run uses the account's quota, on virtual time: the cases of `benchmarks/quota_cases.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import orjson

from benchmarks.quota_cases import Case, Measured, Sample
from mailsluice import DeliverySettings, Engine, Mailing, QuotaSettings, Recipient
from mailsluice.emulator import AccountSettings, EmulatorOptions
from mailsluice.emulator.service import BULK
from mailsluice.journal.memory import MemoryJournal
from tests.sim.ses import EPOCH_S, Ses, Wire
from tests.sim.virtual import Process, VirtualLoop

MAILING = Mailing(from_address="a@example.com", template="t")


def run(case: Case, seed: int = 0) -> Measured:
    """One case, from its first second to its last."""
    return _Run(case, seed).run()


class _Run:
    def __init__(self, case: Case, seed: int) -> None:
        self._case = case
        self._random = Random(seed)
        self._loop = VirtualLoop(seed)
        self._ses = Ses(EmulatorOptions(account=AccountSettings(**case.account), credentials=None))
        self._samples: list[Sample] = []
        self._latency_s = case.latency_s
        self._journal = MemoryJournal()
        self._sent = 0

    def run(self) -> Measured:
        case, loop = self._case, self._loop
        for at, change in case.changes:
            loop.call_at(at, self._change, change)
        for at, latency_s in case.latencies:
            loop.call_at(at, self._set_latency, latency_s)
        if case.tenant:
            loop.call_at(case.tenant.begins_s, self._tenant)
        loop.call_at(case.seconds, lambda: None)
        ends = [*case.kills_s, case.seconds]
        for end in ends:
            self._process(end)
        self._loop.close()
        return Measured(case, self._samples)

    def _process(self, end: float) -> None:
        loop = self._loop
        wire = _Wire(self, self._ses, Random(self._random.random()))
        engine = Engine(
            transport=wire,
            journal=self._journal,
            quota=QuotaSettings(**self._case.quota),
            delivery=DeliverySettings(),
            wall=lambda: EPOCH_S + loop.time(),
            random=Random(self._random.random()),
            day_s=self._case.account.get("day_s", 86_400.0),
        )
        process = Process(loop, engine.run(MAILING, self._recipients()))
        last = end >= self._case.seconds
        loop.call_at(end, process.kill)
        process.run(lambda _: None)
        if not last:
            self._journal = _Copy(self._journal)  # what the dead process does is not durable
        process.clear_away()

    async def _recipients(self) -> AsyncIterator[Recipient]:
        n = 0
        while True:
            n += 1
            yield Recipient(to=f"user{n}@example.com")

    def _change(self, change: dict[str, Any]) -> None:
        self._ses.service.account.change(self._loop.time(), **change)

    def _set_latency(self, latency_s: tuple[float, float]) -> None:
        self._latency_s = latency_s

    def _tenant(self) -> None:
        """Another program, which sends at its pace whatever SES says."""
        tenant, now = self._case.tenant, self._loop.time()
        assert tenant is not None
        if now >= tenant.ends_s:
            return
        weight = max(1, round(tenant.rate_per_s * tenant.every_s))
        entry = {
            "Destination": {"ToAddresses": ["x@example.com"]},
            "ReplacementTags": [{"Name": "mailsluice-id", "Value": "other-1"}],
        }
        body = orjson.dumps(
            {
                "FromEmailAddress": "b@example.com",
                "DefaultContent": {"Template": {"TemplateName": "t"}},
                "BulkEmailEntries": [entry] * weight,
            }
        )
        _, accepted = self._ses.handle(BULK, body, now)
        self._samples.append(Sample(now, weight, len(accepted), mine=False))
        self._loop.call_later(tenant.every_s, self._tenant)


class _Copy(MemoryJournal):
    def __init__(self, other: MemoryJournal) -> None:
        super().__init__(other.replay(details=True))
        self._run = other.run


class _Wire(Wire):
    """Notes what became of each call, when it arrived."""

    def __init__(self, run: _Run, ses: Ses, random: Random) -> None:
        self._run = run
        super().__init__(
            ses,
            random,
            latency_s=(0.0, 0.0),
            unreachable=0.0,
            timeout_s=30.0,
            submitted=lambda _rows, weight: (
                lambda accepted: run._samples.append(
                    Sample(run._loop.time(), weight, len(accepted), mine=True)
                )
            ),
        )

    def _out_s(self) -> float:
        return self._random.uniform(0.001, 0.01)

    def _back_s(self) -> float:
        return self._random.uniform(*self._run._latency_s)


__all__ = ["run"]
