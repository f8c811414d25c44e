"""Runs an emulator in a thread with an event loop of its own, or until a signal, for a command."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mailsluice.emulator.server import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailsluice.emulator.options import EmulatorOptions
    from mailsluice.emulator.server import EmulatorStatistics


@contextmanager
def emulator_thread(options: EmulatorOptions | None = None) -> Iterator[Emulator]:
    """Run an emulator in a thread with an event loop of its own, for synchronous tests."""
    started: Future[tuple[Emulator, asyncio.AbstractEventLoop]] = Future()
    stop = asyncio.Event()

    async def run() -> None:
        async with Emulator(options) as emulator:
            started.set_result((emulator, asyncio.get_running_loop()))
            await stop.wait()

    def target() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            started.set_exception(error)

    thread = threading.Thread(target=target, name="mailsluice-emulator", daemon=True)
    thread.start()
    emulator, loop = started.result()
    try:
        yield emulator
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def serve(
    options: EmulatorOptions, *, announce: Callable[[str], None], until: asyncio.Event | None = None
) -> EmulatorStatistics:
    """Run an emulator until SIGTERM, SIGINT or `until`; return its last statistics.

    Calls `announce` with the URL once it is ready. Raises ConfigurationError if the port or the
    ledger's file cannot be used. Call it in the main thread.
    """
    stop = until or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Emulator(options) as emulator:
            announce(emulator.url)
            await stop.wait()
            return emulator.statistics()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
