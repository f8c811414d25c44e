"""An asyncio loop on virtual time: when nothing is ready, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

STUCK_S = 200_000.0
"""Virtual seconds after which a process never will end: answers may take half a minute each."""


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

    def stall_until(self, moment: float) -> None:
        """Let time pass within a callback, as on a machine that is busy or stopped."""
        self._virtual_now = max(self._virtual_now, moment)

    def jump(self, seconds: float) -> None:
        """Let time pass, and what is on the wire arrive, while no process runs."""
        self.call_later(seconds, self.stop)
        self.run_forever()

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


class Process(Generic[Result]):
    """A program on the loop that can die between any two callbacks, as by SIGKILL."""

    def __init__(self, loop: VirtualLoop, main: Coroutine[Any, Any, Result]) -> None:
        self._loop = loop
        self._main = main
        self.killed = False

    def kill(self) -> None:
        """Nothing more of it runs after the present callbacks."""
        self.killed = True
        self._loop.stop()

    def run(
        self, at: Callable[[asyncio.Task[Result]], None], stuck_s: float = STUCK_S
    ) -> Result | None:
        """Run it to its end; its result, or None where it was killed. Raises what it raised.

        `at` is given the task, to plan with what is to become of it. The remains of a killed
        process are cleared away, which lets its tasks see a cancellation: what is durable must be
        out of their reach by then.
        """
        loop = self._loop
        task = loop.create_task(self._main)

        def ended(_: asyncio.Task[Result]) -> None:
            loop.stop()

        task.add_done_callback(ended)
        at(task)
        stuck = loop.call_later(stuck_s, loop.stop)
        loop.run_forever()
        stuck.cancel()
        task.remove_done_callback(ended)
        done = task.done() and not self.killed
        assert done or self.killed, f"stuck for {stuck_s} virtual seconds"
        return task.result() if done else None

    def clear_away(self) -> None:
        """Cancel whatever is left, however it is shielded."""
        loop = self._loop
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
                task.cancel()
            loop.call_soon(loop.stop)
            loop.run_forever()
