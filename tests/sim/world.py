"""A simulated SES around the emulator's own account, and one seeded life of a mailing in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import orjson
import virtual

from mailsluice import (
    DeliverySettings,
    Engine,
    Mailing,
    QuotaSettings,
    Recipient,
    Report,
    export,
    statuses,
)
from mailsluice import audit as audits
from mailsluice.dispatcher import InDoubt
from mailsluice.emulator import Account as SesAccount
from mailsluice.emulator import AccountSettings
from mailsluice.journal import Intent, Record, Settlement
from mailsluice.journal.memory import MemoryJournal
from mailsluice.journal.standing import Standing
from mailsluice.model import Account, Answer, EntryResult

MAILING = Mailing(from_address="a@example.com", template="t")

PROCESSES_MAX = 200
"""More restarts than that are a run that never ends."""


@dataclass
class Ses:
    """What lives on when the engine's process dies: the account and the ledger."""

    random: Random
    account: SesAccount
    latency_s: tuple[float, float]
    fault_rate: float
    bad: frozenset[str]
    ledger: list[tuple[str, str]] = field(default_factory=list)
    arriving: list[bytes] = field(default_factory=list)
    submitted: list[tuple[float, int]] = field(default_factory=list)

    def accept(self, body: bytes, now: float) -> Answer:
        """Judge one request that has arrived."""
        entries = orjson.loads(body)["BulkEmailEntries"]
        addresses = [entry["Destination"]["ToAddresses"][0] for entry in entries]
        if self.bad.intersection(addresses):
            return Answer(code="BadRequestException", http_status=400, error="bad entry")
        verdict = self.account.submit([1] * len(entries), now)
        if verdict.refusal is not None:
            status = 429 if verdict.refusal.code == "TooManyRequestsException" else 400
            return Answer(code=verdict.refusal.code, http_status=status, error=verdict.refusal.text)
        return Answer(
            results=tuple(self._result(i, e, verdict.refused) for i, e in enumerate(entries))
        )

    def _result(self, index: int, entry: dict, refused: dict) -> EntryResult:  # type: ignore[type-arg]
        if index in refused:
            return EntryResult(refused[index].code, None, refused[index].text)
        if self.random.random() < self.fault_rate:
            status = self.random.choice(["TRANSIENT_FAILURE", "FAILED", "MESSAGE_REJECTED", "NEW"])
            return EntryResult(status, None, "simulated")
        [tag] = [t["Value"] for t in entry["ReplacementTags"] if t["Name"] == "mailsluice-id"]
        message_id = f"m{len(self.ledger)}"
        self.ledger.append((tag, message_id))
        return EntryResult("SUCCESS", message_id)

    def settle_arriving(self, now: float) -> None:
        """The engine died; what was on the wire arrives, or not."""
        for body in self.arriving:
            if self.random.random() < 0.5:
                self.accept(body, now)
        self.arriving.clear()


class Transport:
    """The wire between one engine process and SES, with what goes wrong there."""

    def __init__(self, ses: Ses) -> None:
        self._ses = ses

    async def send_bulk_email(  # noqa: PLR0911  # one line a fault
        self, body: bytes, endpoint_id: str | None
    ) -> Answer:
        """One call: out, judged, back."""
        assert endpoint_id is None
        ses, random = self._ses, self._ses.random
        loop = asyncio.get_running_loop()
        ses.submitted.append((loop.time(), body.count(b'"Destination"')))
        fault = random.random() < ses.fault_rate and random.choice(
            ["refused", "lost before", "lost after", "broken", "503", "500", "500 after"]
        )
        if fault == "refused":
            return Answer(code=statuses.NOT_SENT, error="connection refused")
        ses.arriving.append(body)
        await asyncio.sleep(random.uniform(*ses.latency_s) / 2)
        ses.arriving.remove(body)
        if fault == "lost before":
            return Answer(code=statuses.NO_ANSWER, error="reset")
        if fault in {"503", "500"}:
            code = {"503": "ServiceUnavailable", "500": "InternalFailure"}[fault]
            return Answer(code=code, http_status=int(fault), error="simulated")
        answer = ses.accept(body, loop.time())
        await asyncio.sleep(random.uniform(*ses.latency_s) / 2)
        match fault:
            case "lost after":
                return Answer(code=statuses.NO_ANSWER, error="reset")
            case "500 after":
                return Answer(code="InternalFailure", http_status=500, error="simulated")
            case "broken":
                return Answer(results=answer.results[:-1], code=answer.code)
            case _:
                return answer

    async def get_account(self) -> Account:
        """Always answers: the engine's start is tested elsewhere."""
        settings = self._ses.account.settings
        now = asyncio.get_running_loop().time()
        return Account(
            rate_per_s=settings.rate_per_s,
            daily_max=settings.daily_max,
            daily_sent=self._ses.account.sent_last_day(now),
        )


class CheckedJournal(MemoryJournal):
    """A journal that checks, at every commit, that the transitions are legal and conserve."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        super().__init__()
        self._records = list(records)
        self._checked = Standing().apply_all(records)

    def commit(self, records: Sequence[Record]) -> None:
        """Append, and check what it adds up to."""
        for record in records:
            self._checked.apply(record)
            assert self._checked.counts.conserved, self._checked.counts
        super().commit(records)

    def survivor(self) -> CheckedJournal:
        """What another process finds after a crash."""
        found = CheckedJournal(self._records)
        found._run = self._run
        return found


@dataclass(frozen=True)
class Life:
    """What one seed came to."""

    report: Report
    audit: audits.Audit
    in_doubt: InDoubt
    processes: int
    trace: tuple[Record, ...]
    doubts: Counter[int]
    """In-doubt attempts of each row."""
    peak: float
    """Most recipients submitted in a second, over what rate and one batch allow; at most 0."""


def live(seed: int) -> Life:
    """One life of a mailing: list, quota, latencies, faults, crashes, all drawn from `seed`."""
    random = Random(seed)
    rate = random.choice([1.0, 5.0, 14.0, 60.0, 500.0])
    count = random.randint(0, int(min(40 * rate, 700)))
    crashes = random.choice([0.0, 0.3, 0.8])
    addresses = [f"u{n}@example.com" for n in range(count)]
    ses = Ses(
        random=random,
        account=SesAccount(
            AccountSettings(
                rate_per_s=rate,
                daily_max=random.choice([-1, -1, 3 * rate + 10]),
                day_s=60.0,
                throttles=random.choice(["call", "entry"]),
                daily_refuses=random.choice(["call", "entry"]),
            )
        ),
        latency_s=random.choice([(0.01, 0.05), (0.05, 0.3), (0.5, 5.0)]),
        fault_rate=random.choice([0.0, 0.0, 0.02, 0.2]),
        bad=frozenset(random.sample(addresses, min(count // 3, random.choice([0, 0, 1, 5])))),
    )
    in_doubt: InDoubt = random.choice(["hold", "resend"])
    loop = virtual.VirtualLoop(seed)
    try:
        return _live(loop, ses, crashes, addresses, in_doubt)
    finally:
        loop.close()


def _live(
    loop: virtual.VirtualLoop,
    ses: Ses,
    crashes: float,
    addresses: list[str],
    in_doubt: InDoubt,
) -> Life:
    random = ses.random
    recipients = [Recipient(to=address) for address in addresses]
    journal = CheckedJournal()
    for processes in range(1, PROCESSES_MAX):  # noqa: B007  # it is read after the loop
        engine = Engine(
            transport=Transport(ses),
            journal=journal,
            quota=QuotaSettings(refresh_s=7.0),
            delivery=DeliverySettings(in_flight=8, in_doubt=in_doubt, max_attempts=4),
        )
        crash = loop.time() + random.expovariate(0.2) if random.random() < crashes else None
        report = virtual.run_until(loop, engine.run(MAILING, recipients), crash)
        survivor = journal.survivor()
        virtual.clear_away(loop)
        if report is not None and report.state == "finished":
            break
        journal = survivor
        ses.settle_arriving(loop.time())
        loop.jump(random.uniform(0, 5))
    else:
        raise AssertionError(f"not finished after {PROCESSES_MAX} processes")
    records = tuple(survivor.replay(details=True))
    return Life(
        report=report,
        audit=audits.compare(export.lines(survivor), ses.ledger),
        in_doubt=in_doubt,
        processes=processes,
        trace=records,
        doubts=_doubts(records),
        peak=_peak(ses),
    )


def _doubts(records: Sequence[Record]) -> Counter[int]:
    doubts: Counter[int] = Counter()
    open_: dict[int, Sequence[int]] = {}
    for record in records:
        match record:
            case Settlement():
                seqs = open_.pop(record.batch)
                uncertain = {"NO_ANSWER", "BROKEN_ANSWER", "InternalFailure"}
                doubts.update(
                    seq
                    for seq, status in zip(seqs, record.statuses, strict=True)
                    if status in uncertain
                )
            case Intent():
                open_[record.batch] = record.seqs
    return doubts


def _peak(ses: Ses) -> float:
    rate = ses.account.settings.rate_per_s
    batch = max(1, min(50, int(rate)))
    most = 0.0
    for start, _ in ses.submitted:
        inside = sum(n for moment, n in ses.submitted if start <= moment < start + 1)
        most = max(most, inside - rate - batch)
    return most
