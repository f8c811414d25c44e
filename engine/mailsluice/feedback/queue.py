"""Events from an SQS queue: received, stored, and then deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from mailsluice.feedback.ingest import Ingest
from mailsluice.feedback.listener import ENDING_S, Taken
from mailsluice.ses.aws.sqs import BATCH_MAX, Queue

VISIBILITY_S = 60
"""For so long a received message is hidden from others, seconds; a step takes milliseconds."""

WAIT_S = 20
"""An empty queue is asked once in so many seconds."""

DRAIN_WAIT_S = 2
"""A queue that gives nothing in so many seconds is empty."""

RECEIVERS_MAX = 16
"""At once: some 5,000 messages a second, at 10 ms for a receive and as many for a delete."""


class QueueStream:
    """The queue to which SES's events go, through SNS or EventBridge."""

    side_by_side = RECEIVERS_MAX

    def __init__(
        self, url: str, *, region: str | None, profile: str | None, wait_s: int = WAIT_S
    ) -> None:
        self.name = url
        self._queue: Queue
        self._arguments = {"region": region, "profile": profile}
        self._wait_s = wait_s

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See `Stream.opened`."""
        queue = Queue(
            self.name,
            visibility_s=VISIBILITY_S,
            wait_s=self._wait_s,
            setting="[feedback] queue",
            **self._arguments,
        )
        async with queue as self._queue:
            await queue.look()
            yield

    async def step(self, ingest: Ingest, *, waits: bool) -> Taken:  # noqa: ARG002  # it always waits
        """See `Stream.step`."""
        received = await self._queue.receive(BATCH_MAX)
        if received:
            with anyio.move_on_after(ENDING_S, shield=True):
                await ingest.put([each.body.encode() for each in received])
                # What could not be deleted comes again, and adds nothing.
                await self._queue.delete(received)
        return Taken(len(received), more=len(received) == BATCH_MAX)
