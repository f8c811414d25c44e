"""Waking every task that waits for a change."""

from __future__ import annotations

import anyio


class Pulse:
    """Wakes all tasks that wait at this moment; later ones wait for the next change."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def beat(self) -> None:
        """Wake the tasks that wait."""
        event, self._event = self._event, anyio.Event()
        event.set()

    async def wait(self) -> None:
        """Return at the next `beat`."""
        await self._event.wait()
