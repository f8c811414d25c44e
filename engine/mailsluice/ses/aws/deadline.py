"""A time limit that does not cut off what has already arrived.

A process that was stopped, or whose event loop was busy, finds the deadline passed and the answer
in the socket, both at once. A plain time limit strikes first: uvloop runs timers before it reads,
and a task that is cancelled loses a result that it was about to be given.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

TURNS = 50
"""Turns of the event loop between the deadline and the end. An answer of 1 MiB takes some twenty;
fifty idle turns take a millisecond."""


class Deadline:
    """`async with Deadline() as deadline`, then `deadline.set(at)`; no limit before that.

    Raises TimeoutError at the end of the block if the block did not end by then.
    """

    __slots__ = ("_handle", "_loop", "_timeout")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._handle: asyncio.Handle | None = None

    def set(self, at: float) -> None:
        """Move the deadline to `at`, on the event loop's clock."""
        self._cancel()
        self._handle = self._loop.call_at(at, self._due, TURNS)

    def _due(self, turns: int) -> None:
        if turns:
            self._handle = self._loop.call_soon(self._due, turns - 1)
        else:
            self._handle = None
            self._timeout.reschedule(self._loop.time())

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel()
        await self._timeout.__aexit__(kind, error, traceback)
