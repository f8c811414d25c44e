"""Reads a stream of SES's events until it is stopped; nothing that goes wrong there ends it."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskGroup

from mailsluice.feedback.ingest import Ingest
from mailsluice.model.errors import ConfigurationError, SourceError, StoreError, root_of
from mailsluice.ses.aws.sqs import UnreachableError, back_off_s

logger = logging.getLogger(__name__)

ENDING_S = 5.0
"""Time to store and delete what has been received when the listener is stopped, seconds."""


class Taken(NamedTuple):
    """What one step has brought."""

    bodies: int
    more: bool
    """True if there is likely more at once."""


class Stream(Protocol):
    """Where events come from. Several tasks may take a step at a time."""

    name: str
    """The stream's name, for people."""
    side_by_side: int
    """Steps at a time at most."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Connect. Raises ConfigurationError, UnreachableError, SourceError."""

    async def step(self, ingest: Ingest, *, waits: bool) -> Taken:
        """Take some bodies, store them, then delete them; `waits` for the first one.

        Raises UnreachableError, SourceError, StoreError; nothing is lost by any of them.
        """


_PASSING = (ConfigurationError, UnreachableError, SourceError, StoreError)


class Listener:
    """`await Listener(stream, ingest).run()` until `stop` is called."""

    def __init__(self, stream: Stream, ingest: Ingest) -> None:
        self.ingest = ingest
        self.trouble: str | None = None
        """Why no event can be taken in at present; None if events can."""
        self._stream = stream
        self._scope = anyio.CancelScope()
        self._receivers = 0
        self._tasks: TaskGroup

    async def run(self) -> None:
        """Take events in until stopped. What goes wrong is logged, and tried again."""
        failures = 0
        with self._scope:
            while True:
                try:
                    async with self._stream.opened():
                        await self._receive_all()
                except _PASSING as error:
                    await self._back_off(failures, error)
                    failures += 1

    async def drain(self) -> int:
        """Take in what there is now. Return how many bodies. Raises what `Stream` may raise."""
        counts: list[int] = []

        async def take_all() -> None:
            while (taken := await self._stream.step(self.ingest, waits=False)).bodies:
                counts.append(taken.bodies)

        try:
            async with self._stream.opened(), anyio.create_task_group() as tasks:
                for _ in range(self._stream.side_by_side):
                    tasks.start_soon(take_all)
        except BaseExceptionGroup as group:
            raise root_of(group) from None
        return sum(counts)

    def stop(self) -> None:
        """End. What has been received is stored and deleted, what has not been stays."""
        self._scope.cancel()

    async def _receive_all(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            self._receivers = 1
            await self._receive(lasting=True)

    async def _receive(self, *, lasting: bool = False) -> None:
        """Take steps. While they bring plenty, another task joins; it ends when they do not."""
        failures = 0
        while True:
            try:
                taken = await self._stream.step(self.ingest, waits=True)
            except (UnreachableError, SourceError, StoreError) as error:
                await self._back_off(failures, error)
                failures += 1
                continue
            failures = 0
            self._note_reached()
            if taken.more and self._receivers < self._stream.side_by_side:
                self._receivers += 1
                self._tasks.start_soon(self._receive)
            if not (taken.more or lasting):
                self._receivers -= 1
                return

    async def _back_off(self, failures: int, error: Exception) -> None:
        if self.trouble is None:
            name = self._stream.name
            logger.warning("%s: no events can be taken in: %s; trying again", name, error)
        self.trouble = str(error)
        await anyio.sleep(back_off_s(failures))

    def _note_reached(self) -> None:
        if self.trouble is not None:
            logger.info("%s: events are taken in again", self._stream.name)
        self.trouble = None
