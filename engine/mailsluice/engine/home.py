"""The event loop of an engine and of those beside it."""

from __future__ import annotations

import asyncio

from mailsluice.model.errors import UsageError


class Home:
    """The event loop in which the engine is used first, until that loop is closed.

    In another loop, calls would wait for events of this one, and never wake up.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def require(self) -> None:
        """Raise UsageError in another event loop; the first call decides which one it is."""
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
