"""One seeded life of a mailing, from its first process to its last, and what must hold of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from mailsluice import (
    ConfigurationError,
    DeliverySettings,
    Engine,
    JournalError,
    Mailing,
    QuotaSettings,
    Recipient,
    RecipientsSettings,
    Report,
    SourceError,
    State,
)
from mailsluice.emulator import EmulatorOptions
from mailsluice.engine.screening import Screening
from mailsluice.journal import Intent, Record, Settlement, recovery
from mailsluice.journal.recovery import Only
from mailsluice.model import InDoubt
from mailsluice.model.codes import SOURCE_SHORTER
from mailsluice.reports import audit as audits
from mailsluice.reports import export
from mailsluice.sources.iterable import Recipients
from tests.sim import scenarios
from tests.sim.ledgers import CheckedJournal, Ledgers
from tests.sim.ses import EPOCH_S, Accepted, Ses, Wire
from tests.sim.virtual import Process, VirtualLoop

MAILING = Mailing(from_address="a@example.com", template="t")

TIMEOUT_S = 30.0
"""As `delivery.timeout_s`."""

TROUBLED_PROCESSES_MAX = 25
"""After so many processes nothing more goes wrong, so that every life has an end."""

PROCESSES_MAX = 60
"""More restarts than that are a run that never ends."""

ROUNDING = 1e-6
"""Of an address, that adding up fractions may cost."""


@dataclass(slots=True, kw_only=True)
class Life:
    """What one seed came to."""

    scenario: scenarios.Scenario
    report: Report
    audit: audits.Audit
    ledgers: Ledgers
    processes: int
    records: tuple[Record, ...]
    submitted: list[tuple[float, int]]
    """Moment and recipients of every call."""
    ended_s: float

    @property
    def excess(self) -> float:
        """Most addresses submitted in a second, over what rate and one batch allow."""
        rate = self.scenario.account.rate_per_s
        batch = max(2, min(50, int(rate)))  # no recipient has more than two addresses
        begun, inside, most = 0, 0, 0
        for at, weight in self.submitted:
            inside += weight
            while self.submitted[begun][0] <= at - 1:
                inside -= self.submitted[begun][1]
                begun += 1
            most = max(most, inside)
        return most - rate - batch

    @property
    def trace(self) -> str:
        """A digest of everything that happened, in order; MessageIds by their serial number."""
        digest = hashlib.sha256()
        for record in self.records:
            if isinstance(record, Settlement):
                ids = [each and each[-19:] for each in record.message_ids]
                record = record._replace(message_ids=ids)  # noqa: PLW2901  # as it is traced
            digest.update(repr(record).encode())
        digest.update(repr((self.submitted, self.processes, self.ended_s)).encode())
        return digest.hexdigest()


def live(seed: int) -> Life:
    """One life of the mailing that this seed draws. AssertionError: a promise broke."""
    life = run(scenarios.draw(seed))
    check(life)
    return life


def check(life: Life) -> None:
    """What must hold in the end; `Ledgers` has checked every commit and arrival before."""
    counts, ledgers = life.report.counts, life.ledgers
    assert counts.conserved
    assert counts.pending == 0
    assert counts.read == len(life.scenario.recipients)
    keys = {
        pair
        for record in life.records
        if isinstance(record, Intent)
        for pair in zip(record.seqs, record.addresses.key, strict=False)
    }
    rows, names = {row for row, _ in keys}, {key for _, key in keys}
    assert len(rows) == len(names) == len(keys), "a row is always the same key, and no other is"
    assert life.audit.lost == ()
    assert life.audit.unexplained == ()
    for row, times in ledgers.deliveries.items():
        assert times <= 1 + ledgers.doubts[row], (
            f"row {row}: {times} mails, {ledgers.doubts[row]} doubts"
        )
    trouble = life.scenario.trouble
    if life.scenario.in_doubt == "hold" and not (trouble.mode or trouble.only or trouble.resolve):
        assert life.audit.agree
    if not life.scenario.changes:
        assert life.excess <= ROUNDING, "more than the rate and one batch in some second"


class Suppressing(Protocol):
    """Other processes, which suppress addresses while the mailing is being sent."""

    def begin(self, loop: VirtualLoop) -> None:
        """Plan what they do."""

    def screening(self, wall: Callable[[], float]) -> Screening:
        """Open the store for another process of the engine, which sees this time of day."""


def run(scenario: scenarios.Scenario, suppressing: Suppressing | None = None) -> Life:
    """One life of this mailing."""
    loop = VirtualLoop(scenario.seed)
    if suppressing is not None:
        suppressing.begin(loop)
    try:
        return _Life(scenario, loop, suppressing).run()
    finally:
        loop.close()


class _Life:
    """The state of the world between processes."""

    def __init__(
        self, scenario: scenarios.Scenario, loop: VirtualLoop, suppressing: Suppressing | None
    ) -> None:
        self._scenario = scenario
        self._suppressing = suppressing
        self._loop = loop
        self._random = Random(scenario.seed + 1)
        self._ses = Ses(
            EmulatorOptions(account=scenario.account, faults=scenario.faults, credentials=None)
        )
        self._ledgers = Ledgers()
        self._in_doubt: InDoubt = scenario.in_doubt
        self._journal: CheckedJournal | None = None
        self._submitted: list[tuple[float, int]] = []
        self._only: Only | None = None
        self._only_left = 3
        self._trouble: scenarios.Trouble | None = scenario.trouble

    def run(self) -> Life:
        for at, change in self._scenario.changes:
            self._loop.call_at(at, self._change, change)
        for processes in range(1, PROCESSES_MAX):
            if processes > TROUBLED_PROCESSES_MAX:
                self._mend()
            report = self._process()
            if report is not None and report.state == "finished" and not self._reopen():
                return self._ended(report, processes)
            self._between(report)
        raise AssertionError(f"not finished after {PROCESSES_MAX} processes")

    def _process(self) -> Report | None:
        """One process of the engine, to its end; None where it has no report to give."""
        scenario, random, loop = self._scenario, self._random, self._loop
        journal = self._open_journal()
        wire = Wire(
            self._ses,
            random,
            latency_s=scenario.latency_s,
            unreachable=scenario.unreachable if self._trouble else 0.0,
            timeout_s=TIMEOUT_S,
            submitted=self._note_submitted,
        )

        def wall() -> float:
            return EPOCH_S + loop.time()

        engine = Engine(
            transport=wire,
            journal=journal,
            quota=QuotaSettings(refresh_s=7.0),
            delivery=DeliverySettings(
                in_flight=scenario.in_flight,
                in_doubt=self._in_doubt,
                max_attempts=4,
                timeout_s=TIMEOUT_S,
            ),
            wall=wall,
            screening=None if self._suppressing is None else self._suppressing.screening(wall),
            random=Random(random.random()),
            day_s=scenario.account.day_s,
            recipients=RecipientsSettings(dedupe="key" if scenario.keyed else "address"),
        )
        process = Process(loop, engine.run(MAILING, self._source(), only=self._only))
        journal.kill = process.kill
        planned: list[asyncio.TimerHandle] = []
        try:
            return process.run(lambda task: planned.extend(self._plan(process, engine, task)))
        except JournalError as error:
            if not journal.failed:
                raise AssertionError("the journal has not failed") from error
        except ConfigurationError:
            self._only = None  # a part of a run that an operator has reopened meanwhile
        except (asyncio.CancelledError, SourceError):
            pass
        finally:
            for handle in planned:
                handle.cancel()
            journal.dead = True
            if process.killed:
                wire.cut()
            process.clear_away()
            self._journal = journal
            assert journal.violation is None, journal.violation
        return None

    def _open_journal(self) -> CheckedJournal:
        random, trouble = self._random, self._trouble
        journal = CheckedJournal(self._ledgers, self._in_doubt, self._journal)
        if trouble and random.random() < trouble.journal:
            journal.fails_at, journal.fails_after = random.randint(0, 12), random.random() < 0.5
        if trouble and random.random() < trouble.crash_at_commit:
            journal.dies_at, journal.dies_after = random.randint(0, 12), random.random() < 0.5
        return journal

    def _plan(
        self, process: Process[Report], engine: Engine, task: asyncio.Task[Report]
    ) -> Iterator[asyncio.TimerHandle]:
        """What becomes of a process, whose list may take a minute."""
        trouble, random = self._trouble, self._random
        if trouble is None:
            return
        for likely, happens in (
            (trouble.crash, process.kill),
            (trouble.stop, engine.stop),
            (trouble.cancel, task.cancel),
        ):
            if random.random() < likely:
                yield self._loop.call_later(random.expovariate(1 / trouble.crash_after_s), happens)

    def _source(self) -> Recipients:
        recipients, random = list(self._scenario.recipients), self._random
        if self._scenario.keyed:
            recipients = [each._replace(key=f"k{n}") for n, each in enumerate(recipients)]
            random.shuffle(recipients)
        breaks = self._trouble is not None and random.random() < self._trouble.source
        breaks_at = random.randint(0, len(recipients)) if breaks else len(recipients)

        # Asynchronous: what a list gives at once is cut by real time, which is not in the seed.
        async def given() -> AsyncIterator[Recipient]:
            for recipient in recipients[:breaks_at]:
                yield recipient
            if breaks:
                raise SourceError("the source breaks off")

        return given()

    def _note_submitted(self, rows: list[int], weight: int) -> Accepted:
        self._submitted.append((self._loop.time(), weight))
        batches = self._ledgers.submitted(rows)
        return lambda accepted: self._ledgers.arrived(batches, accepted)

    def _change(self, change: dict[str, Any]) -> None:
        self._ses.service.account.change(self._loop.time(), **change)

    def _between(self, report: Report | None) -> None:
        """Time passes, and operators act, while no process runs."""
        random = self._random
        hold = report.hold if report else None
        assert hold is None or hold.code != SOURCE_SHORTER, report
        soon = random.choice([0.0, 0.01, random.uniform(0, 5)])
        self._loop.jump(25.0 if report and report.state == "held" else soon)
        if self._trouble is None:
            return
        if self._only and random.random() < 0.3:
            self._only = None  # the plain command carries on as well
        if random.random() < self._trouble.mode:
            self._in_doubt = random.choice(["hold", "resend"])
        if random.random() < self._trouble.resolve:
            self._resolve()

    def _resolve(self) -> None:
        """An operator answers some of the doubts, without knowing more than anybody."""
        journal = CheckedJournal(self._ledgers, self._in_doubt, self._journal)
        doubts = sorted(self._ledgers.standing.revisable[State.IN_DOUBT])
        rows = doubts[: self._random.randint(0, len(doubts))]
        becomes = self._random.choice([State.SENT, State.PENDING, State.FAILED])
        at = EPOCH_S + self._loop.time()
        _, records = recovery.resolved(recovery.standing_of(journal), becomes, rows, "operator", at)
        if records:
            journal.commit(records)
        self._journal = journal

    def _reopen(self) -> bool:
        """Whether an operator has a part of the finished run sent once more."""
        self._only = None
        if self._trouble and self._only_left and self._random.random() < self._trouble.only:
            self._only_left -= 1
            self._only = self._random.choice(["failed", "rejected", "in_doubt"])
        return self._only is not None

    def _mend(self) -> None:
        """Nothing goes wrong any more."""
        self._trouble = None
        self._ses.service.faults.clear()
        self._change({"sending_enabled": True})

    def _ended(self, report: Report, processes: int) -> Life:
        assert self._journal is not None
        ledger = self._ses.service.ledger.entries()
        accepted = [(each.tags["mailsluice-id"], each.message_id) for each in ledger]
        return Life(
            scenario=self._scenario,
            report=report,
            audit=audits.compare(export.lines(self._journal), accepted),
            ledgers=self._ledgers,
            processes=processes,
            records=tuple(self._journal.replay(details=True)),
            submitted=self._submitted,
            ended_s=self._loop.time(),
        )
