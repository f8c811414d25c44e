"""The event loop that an engine and those beside it live in."""

from __future__ import annotations

import asyncio

from mailsluice.model.errors import UsageError


class Home:
    """One event loop: the one in which the engine is used first, until that is closed.

    In another one, calls would wait for what happens in this one, and never be woken.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def require(self) -> None:
        """Raise UsageError unless this is called in that event loop, or that is still to be."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if self._loop is None or self._loop.is_closed():
            self._loop = running
        elif running is not self._loop:
            raise UsageError(
                "this engine belongs to the event loop in which it was opened; from another thread "
                "use asyncio.run_coroutine_threadsafe(engine.send(...), loop) or "
                "loop.call_soon_threadsafe(engine.stop), or open an engine in this loop"
            )
