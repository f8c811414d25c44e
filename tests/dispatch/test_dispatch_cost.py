"""What a decision costs does not grow with the calls in flight."""

from __future__ import annotations

import sys
from random import Random
from types import FrameType
from typing import Any

from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.dispatch.dispatcher import Dispatcher, Send
from mailsluice.dispatch.gate import Gate
from mailsluice.dispatch.pacer import Pacer
from mailsluice.model import Answer, Batch, Entry, EntryResult
from mailsluice.model.rolling_window import RollingDay
from mailsluice.ses.statuses import classify

BATCH = 5
"""Recipients: the fewer, the more of the work is the bookkeeping of calls."""


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
            dispatcher.backlog.offer([entry(BATCH * number + n + 1) for n in range(BATCH)], 0.0)
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
