"""Faults, deadlines, cancellations and pauses at random."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mailsluice import Engine, Expired, Failed, Held, InDoubt, Receipt, Rejected, SendError
from mailsluice.emulator import CallFault, Emulator, EntryFault
from tests.support.chance import a_seed
from tests.support.messages import ended, message, resending, settings, states


@pytest.mark.parametrize("in_doubt", ["hold", "resend"])
async def test_whatever_callers_and_ses_do_nothing_is_left_unsaid(
    fast: Emulator, tmp_path: Path, in_doubt: str
) -> None:
    """Faults, deadlines, cancellations and pauses at random; then both ledgers and every caller."""
    chance = random.Random(a_seed())
    for fault in (
        EntryFault(status="TRANSIENT_FAILURE", rate=0.05),
        EntryFault(status="MESSAGE_REJECTED", rate=0.02),
        CallFault(fault="error", code="BadRequestException", rate=0.05),
        CallFault(fault="error", http_status=500, accepted=True, rate=0.01),
        CallFault(fault="late", delay_s=0.01, rate=0.3),
    ):
        fast.faults.add(fault)
    path = tmp_path / "messages.journal"
    made = resending(fast) if in_doubt == "resend" else settings(fast)
    made = made.model_copy(update={"messages": settings(fast, drain_s=1.0).messages})

    async def one(engine: Engine, n: int) -> Any:
        await asyncio.sleep(chance.uniform(0, 0.8))
        deadline_s = chance.choice([None, chance.uniform(0.001, 0.3)])
        sent = engine.send(message(n), deadline_s=deadline_s)
        if chance.random() < 0.3:
            return await asyncio.wait_for(sent, chance.uniform(0.001, 0.2))
        return await sent

    async with Engine.open(made, journal=path) as engine:
        tasks = [asyncio.create_task(one(engine, n)) for n in range(600)]
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.05, 0.2))
            engine.pause()
            await asyncio.sleep(0.02)
            engine.resume()
    found = await ended(*tasks)
    assert {type(each) for each in found} <= {
        Receipt, TimeoutError, Expired, Rejected, Failed, Held, InDoubt
    }  # fmt: skip
    accepted = {each.message_id for each in fast.ledger.entries()}
    delivered = fast.ledger.by_address()
    for n, each in enumerate(found):
        if isinstance(each, Receipt):
            assert each.message_id in accepted
        elif isinstance(each, SendError) and not isinstance(each, InDoubt):
            assert f"user{n}@example.com" not in delivered
    if in_doubt == "hold":
        assert set(delivered.values()) <= {1}
    assert "pending" not in Counter(states(path).values())
