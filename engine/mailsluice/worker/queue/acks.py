"""Deletes messages from the queue and returns them to it, ten per call."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import anyio

from mailsluice.engine.pulse import Pulse
from mailsluice.ses.aws.sqs import BATCH_MAX, Received, UnreachableError, back_off_s

logger = logging.getLogger(__name__)

LINGER_S = 0.02
"""How long a message waits for nine others, seconds."""


class Nack(NamedTuple):
    """A message is returned to the queue; None instead means that its outcome is durable."""

    hidden_s: float
    """Seconds until the queue delivers it again."""
    why: str


AT_THE_END = Nack(0.0, "the worker stopped")


Ack = tuple[Received, float]
"""A message, and the seconds for which it is to be hidden; 0 to delete it."""


class AckBatcher:
    """Acknowledges ten messages per call, and repeats calls that fail."""

    def __init__(
        self,
        tell: Callable[[Sequence[Ack]], Awaitable[list[Received]]],
        told: Callable[[Received], None],
    ) -> None:
        self._tell = tell
        self._told = told
        self._waiting: deque[Ack] = deque()
        self._arrived = Pulse()

    def add(self, each: Ack) -> None:
        """Queue one acknowledgement."""
        self._waiting.append(each)
        self._arrived.beat()

    async def run(self) -> None:
        """Send acknowledgements until cancelled; several tasks may run this."""
        failures = 0
        while True:
            while not self._waiting:
                await self._arrived.wait()
            if len(self._waiting) < BATCH_MAX:
                await anyio.sleep(LINGER_S)
            some = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            if not some:
                continue
            try:
                again = {id(each) for each in await self._tell(some)}
                failures = 0
            except UnreachableError as error:
                if not failures:
                    logger.warning("the queue cannot be told: %s; trying again", error)
                again = {id(received) for received, _ in some}
            for each in some:
                if id(each[0]) in again:
                    self._waiting.append(each)
                else:
                    self._told(each[0])
            if again:
                await anyio.sleep(back_off_s(failures))
                failures += 1
