"""An asyncio loop on virtual time: when nothing is ready, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from random import Random
from typing import Any

STUCK_S = 5_000.0
"""A process that has not ended by then, on virtual time, never will."""


class _Selector(selectors.SelectSelector):
    """Never waits: on virtual time there is nothing outside to wait for."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return super().select(0 if timeout is None or timeout > 0 else timeout)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks that are ready together in an order drawn from `seed`."""

    def __init__(self, seed: int) -> None:
        super().__init__(_Selector())
        self._virtual_now = 0.0
        self._random = Random(seed)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_now

    def jump(self, seconds: float) -> None:
        """Let time pass while nothing runs: a process that is down."""
        self._virtual_now += seconds

    def _run_once(self) -> None:
        # Private to asyncio, and stable for years; a loop of its own would have to repeat it all.
        ready = self._ready  # type: ignore[attr-defined]
        scheduled = self._scheduled  # type: ignore[attr-defined]
        if not ready and scheduled:
            self._virtual_now = max(self._virtual_now, scheduled[0].when())
        if len(ready) > 1:
            shuffled = list(ready)
            self._random.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # type: ignore[misc]


def run_until(loop: VirtualLoop, main: Coroutine[Any, Any, Any], crash_at: float | None) -> Any:
    """Run `main` to its end and return its result; None where the process crashes before.

    A crash is a stop between two callbacks: what was not durable by then is gone. The caller must
    have taken what is durable out of reach before the remains are cleared away, which lets tasks
    see their cancellation.
    """
    task = loop.create_task(main)

    def ended(_: asyncio.Task[Any]) -> None:
        loop.stop()

    task.add_done_callback(ended)
    stop = loop.call_at(loop.time() + STUCK_S if crash_at is None else crash_at, loop.stop)
    loop.run_forever()
    stop.cancel()
    task.remove_done_callback(ended)
    assert task.done() or crash_at is not None, f"stuck for {STUCK_S} virtual seconds"
    return task.result() if task.done() else None


def clear_away(loop: VirtualLoop) -> None:
    """Cancel whatever is left of a crashed process, however it is shielded."""
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            task.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
