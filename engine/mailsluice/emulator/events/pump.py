"""Moves events from the publisher to its sinks when they are due, in the server's event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailsluice.emulator.events.publisher import Publisher
    from mailsluice.emulator.events.sinks import File, Queue
    from mailsluice.emulator.signature import Credentials

AT_ONCE = 1_000
"""Events between two looks at the clock."""

_log = logging.getLogger(__name__)


class Pump:
    """Publishes in real time, and calls `wrote` whenever something has been written."""

    def __init__(
        self,
        publisher: Publisher,
        credentials: Credentials,
        region: str,
        wrote: Callable[[], None],
    ) -> None:
        self.written = 0
        """Events that are in the queue and in the file."""
        self._publisher = publisher
        self._credentials = credentials
        self._region = region
        self._wrote = wrote
        self._awake = asyncio.Event()
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Begin. Raises ConfigurationError if the file cannot be opened."""
        from mailsluice.emulator.events import sinks  # noqa: PLC0415  # aiohttp, for few

        script = self._publisher.script
        file = sinks.File(script.file) if script.file is not None else None
        if file is not None:
            self._stack.callback(file.close)
        queue = None
        if script.queue is not None:
            queue = sinks.Queue(script.queue, self._credentials, self._region)
            await self._stack.enter_async_context(queue)
        task = asyncio.create_task(self._run(file, queue))
        self._stack.push_async_callback(_ended, task)

    async def stop(self) -> None:
        """End; what is not due yet is dropped."""
        await self._stack.aclose()

    def wake(self) -> None:
        """Look again at what is planned."""
        self._awake.set()

    async def _run(self, file: File | None, queue: Queue | None) -> None:
        while True:
            bodies = self._publisher.due(time.time(), AT_ONCE)
            if file is not None:
                try:
                    file.put(bodies)
                except OSError as error:
                    _log.error("emulator.events_file_failed error=%s", error)
            if queue is not None:
                await queue.put(bodies)
            if bodies:
                self.written += len(bodies)
                self._wrote()
            await self._rest()

    async def _rest(self) -> None:
        """Wait until something is due, or `wake` is called."""
        next_at = self._publisher.next_at
        self._awake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if next_at is None else next_at - time.time()):
                await self._awake.wait()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
