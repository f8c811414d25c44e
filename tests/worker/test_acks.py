"""Deletions and delays go to the queue ten at a time, several calls at once."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from mailsluice.ses.aws.sqs import Received
from mailsluice.worker.queue.acks import Ack, AckBatcher
from mailsluice.worker.queue.consumer import TELLERS


async def test_the_queue_is_told_by_several_at_once() -> None:
    at_once = most = 0

    async def tell(_: Sequence[Ack]) -> list[Received]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0.01)
        at_once -= 1
        return []

    left = 400

    def told(_: Received) -> None:
        nonlocal left
        left -= 1
        if not left:
            tasks.cancel_scope.cancel()

    batcher = AckBatcher(tell, told)
    async with anyio.create_task_group() as tasks:
        for _ in range(TELLERS):
            tasks.start_soon(batcher.run)
        await anyio.wait_all_tasks_blocked()
        for n in range(400):
            batcher.add((Received(str(n), "handle", "body", {}), 0.0))
    assert (left, most) == (0, TELLERS)
