"""How a run uses the account's quota, on virtual time: the cases of `benchmarks/quota_cases.py`."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import orjson

from benchmarks.quota_cases import Case, Measured, Sample
from mailsluice import DeliverySettings, Engine, Mailing, QuotaSettings
from mailsluice.emulator import AccountSettings, EmulatorOptions
from mailsluice.emulator.service import BULK
from mailsluice.emulator.windows import Peak
from mailsluice.journal.memory import MemoryJournal
from tests.sim.ses import EPOCH_S, Accepted, Ses, Wire
from tests.sim.virtual import Process, VirtualLoop

MAILING = Mailing(from_address="a@example.com", template="t")

OUT_S = (0.001, 0.01)
"""How long a call is on its way to SES."""

REFRESH_S = 1.0
"""Between two calls of GetAccount."""


def run(case: Case, seed: int) -> Measured:
    """One case, from its first second to its last."""
    return _Run(case, seed).run()


class _Run:
    def __init__(self, case: Case, seed: int) -> None:
        self._case = case
        self._random = Random(seed)
        self._loop = VirtualLoop(seed)
        self._ses = Ses(EmulatorOptions(account=AccountSettings(**case.account), credentials=None))
        self._accepted: list[Sample] = []
        self._throttled: list[Sample] = []
        self._others: list[Sample] = []
        self._journal = MemoryJournal()
        self._left = Peak()
        """Recipients as they leave the engine: the way to SES takes the one longer than the other,
        and what arrives within a second may have left in more."""

    def run(self) -> Measured:
        case, loop = self._case, self._loop
        for at, change in case.changes:
            loop.call_at(at, self._change, change)
        if case.tenant:
            loop.call_at(case.tenant.begins_s, self._other_tenant)
        for end in [*case.kill_times, case.seconds]:
            self._process(end)
        account = self._ses.service.statistics(loop.time()).account
        loop.close()
        return Measured(
            case=case,
            accepted=self._accepted,
            throttled=self._throttled,
            others=self._others,
            peak=self._left.most,
            daily_refused=account.daily_refused,
            left_over=(case.recipients or 0) and case.recipients - account.accepted,
        )

    def _process(self, end: float) -> None:
        """One process of the engine, killed at the end."""
        loop, case = self._loop, self._case
        engine = Engine(
            transport=_Wire(self._ses, self._random, case, self._left, self._note),
            journal=self._journal,
            quota=QuotaSettings(refresh_s=REFRESH_S),
            delivery=DeliverySettings(),
            wall=lambda: EPOCH_S + loop.time(),
            random=Random(self._random.random()),
            day_s=case.day_s,
        )
        recipients = case.recipients or round(case.seconds * case.account["rate_per_s"] * 1.1)
        addresses = (f"user{n}@example.com" for n in range(recipients))
        process = Process(loop, engine.run(MAILING, addresses))
        loop.call_at(end, process.kill)
        process.run(lambda _: None)
        self._journal = _Copy(self._journal)  # what the dead process still does is not durable
        process.clear_away()

    def _note(self, weight: int, accepted: int) -> None:
        now = self._loop.time()
        self._accepted.append(Sample(now, accepted))
        if accepted < weight:
            self._throttled.append(Sample(now, weight - accepted))

    def _change(self, change: dict[str, Any]) -> None:
        self._ses.service.account.change(self._loop.time(), **change)

    def _other_tenant(self) -> None:
        tenant, now = self._case.tenant, self._loop.time()
        assert tenant is not None
        if now >= tenant.ends_s:
            return
        entry = {
            "Destination": {"ToAddresses": ["x@example.com"]},
            "ReplacementTags": [{"Name": "mailsluice-id", "Value": "other-1"}],
        }
        request = {
            "FromEmailAddress": "b@example.com",
            "DefaultContent": {"Template": {"TemplateName": "t"}},
            "BulkEmailEntries": [entry] * round(tenant.rate_per_s * tenant.every_s),
        }
        _, accepted = self._ses.handle(BULK, orjson.dumps(request), now)
        self._others.append(Sample(now, len(accepted)))
        self._loop.call_later(tenant.every_s, self._other_tenant)


class _Copy(MemoryJournal):
    def __init__(self, other: MemoryJournal) -> None:
        super().__init__(other.replay(details=True))
        self._run = other.run


class _Wire(Wire):
    """Quick on the way out; the answer takes its time, and longer where the case says so."""

    def __init__(self, ses: Ses, random: Random, case: Case, left: Peak, note: Any) -> None:
        def submitted(_rows: list[int], weight: int) -> Accepted:
            left.add(weight, asyncio.get_running_loop().time())
            return lambda accepted: note(weight, len(accepted))

        super().__init__(
            ses,
            random,
            latency_s=case.latency_s,
            unreachable=0.0,
            timeout_s=30.0,
            submitted=submitted,
        )
        self._case = case

    def _out_s(self) -> float:
        return self._random.uniform(*OUT_S)

    def _back_s(self) -> float:
        began, ended, longer_s = self._case.slow or (0.0, 0.0, 0.0)
        slow = longer_s if began <= asyncio.get_running_loop().time() < ended else 0.0
        return self._random.uniform(*self._latency_s) + slow
