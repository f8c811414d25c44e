"""What has happened to others, and could happen here: each test names its incident."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest

from mailsluice import DeliverySettings, Engine, JournalError, Mailing
from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.dispatch.dispatcher import Dispatcher, Send
from mailsluice.dispatch.gate import Gate
from mailsluice.dispatch.pacer import Pacer
from mailsluice.emulator import AccountSettings, EmulatorOptions
from mailsluice.journal import Intent, Record, Settlement, Taken
from mailsluice.journal import recovery as resume
from mailsluice.journal.memory import MemoryJournal
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.journal.standing import Standing
from mailsluice.model import Answer, Batch, Entry, EntryResult, InDoubt
from mailsluice.model.rolling_window import RollingDay
from mailsluice.ses.statuses import classify
from tests.sim.ses import EPOCH_S, Ses, Wire
from tests.sim.virtual import Process, VirtualLoop

BATCH = 5
"""Recipients: the fewer, the more of the work is the bookkeeping of calls."""

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


def open_run(batches: int, *, open_last: bool) -> list[Record]:
    """A run of batches of one, all answered, or all but the last."""
    records: list[Record] = [Taken(0.0, 1, batches, [])]
    for number in range(1, batches + 1):
        records.append(Intent(0.0, number, [number]))
        if number < batches or not open_last:
            records.append(Settlement(0.0, number, "s", ["SUCCESS"], ["id"], [None]))
    return records


def test_recovery_finds_the_last_open_call_behind_any_number_of_settled_ones(
    tmp_path: Path,
) -> None:
    """River (changelog): the rescuer's pages were starved by rows that were not its business."""
    with closing(SqliteJournal.open(tmp_path / "run.journal")) as journal:
        journal.commit(open_run(3_000, open_last=True))
        standing = resume.standing_of(journal)
    [orphan] = resume.recovered(standing, "hold", 1.0)
    assert isinstance(orphan, Settlement)
    assert orphan.batch == 3_000


def test_a_late_settlement_never_overwrites_what_recovery_has_settled() -> None:
    """River#1302, PR#1373: the rescuer overwrote jobs that had been completed meanwhile."""
    policies: tuple[InDoubt, ...] = ("hold", "resend")
    answers = map("".join, product("srfip", repeat=3))
    for states, policy, late in product(answers, policies, (True, False)):
        standing = Standing().apply_all([Taken(0.0, 1, 3, []), Intent(0.0, 1, [1, 2, 3])])
        answer = Settlement(0.0, 1, states, [], [], [])
        [recovery] = resume.orphans(standing, policy, 1.0)
        first, second = (recovery, answer) if late else (answer, recovery)
        standing.apply(first)
        counts, settled = standing.counts, list(standing.settled)
        with pytest.raises(JournalError, match="settled but not open"):
            standing.apply(second)
        assert (counts, settled) == (standing.counts, list(standing.settled))


def entry(seq: int) -> Entry:
    return Entry(seq, 1, (f"u{seq}@example.com",), (), (), None, b"{}")


def steps_per_batch(in_flight: int) -> float:
    """Bytecode instructions that the dispatcher takes for a batch, with so many calls in flight."""
    gate = Gate(Pacer(1e9, 0.0), DailyQuota(RollingDay()), in_flight)
    attempts = Attempts(attempts_max=3, in_doubt="hold")
    dispatcher = Dispatcher(gate, attempts, random=Random(1))
    batches = 2 * in_flight
    answer = Answer(results=tuple(EntryResult("SUCCESS", "id") for _ in range(BATCH)))
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    def answered(batch: Batch) -> None:
        verdicts = classify(answer, BATCH)
        dispatcher.absorb(batch, verdicts, dispatcher.judge(batch, verdicts, 0.0), 0.0)

    under_way: list[Batch] = []
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for number in range(batches):
            dispatcher.offer([entry(BATCH * number + n + 1) for n in range(BATCH)], 0.0)
            if len(under_way) == in_flight:
                answered(under_way.pop(0))
            decision = dispatcher.decide(1.0 + number)
            assert isinstance(decision, Send)
            under_way.append(decision.batch)
        for batch in under_way:
            answered(batch)
    finally:
        sys.settrace(before)
    return steps / batches


def test_a_batch_costs_the_same_however_many_calls_are_in_flight() -> None:
    """httpcore#1035: bookkeeping that looked at everything for everything."""
    assert steps_per_batch(100) <= 1.05 * steps_per_batch(10)
