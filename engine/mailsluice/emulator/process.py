"""An emulator in a process of its own, for demonstrations, benchmarks and crash tests."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from pydantic import TypeAdapter

from mailsluice.emulator.options import EmulatorOptions
from mailsluice.emulator.running import serve
from mailsluice.emulator.server import environment
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_S_MAX = 30.0
"""Longest start of a child, seconds; after that it is taken to have failed."""

STOP_S_MAX = 10.0
"""Longest stop of a child, seconds; after that it is killed."""


class EmulatorProcess(NamedTuple):
    """A running emulator in a child process."""

    url: str
    pid: int
    environment: dict[str, str]
    """Variables with which an AWS SDK sends to this emulator, and nowhere else."""


@asynccontextmanager
async def emulator_process(
    options: EmulatorOptions | None = None,
) -> AsyncIterator[EmulatorProcess]:
    """Start an emulator as a child process and wait until it is ready; stop it in the end.

    The child also stops when this process ends, even by a kill. Raises ConfigurationError if
    it does not start.
    """
    options = options or EmulatorOptions()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mailsluice", "emulator", "--child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        url = await _started(child, options)
        yield EmulatorProcess(url, child.pid, environment(options, url))
    finally:
        await _stop(child)


async def _started(child: asyncio.subprocess.Process, options: EmulatorOptions) -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(TypeAdapter(EmulatorOptions).dump_json(options) + b"\n")
    try:
        async with asyncio.timeout(START_S_MAX):
            line = await child.stdout.readline()
    except TimeoutError:
        raise ConfigurationError(f"the emulator did not start within {START_S_MAX} s") from None
    if not line.startswith(b"http"):
        raise ConfigurationError("the emulator did not start; standard error says why")
    return line.decode().strip()


async def _stop(child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def serve_child() -> None:
    """Serve as the child: read options from standard input, and serve until that ends."""
    options = TypeAdapter(EmulatorOptions).validate_json(sys.stdin.buffer.readline())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_the_parent() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_the_parent, daemon=True).start()
    await serve(options, announce=lambda url: print(url, flush=True), until=stop)  # noqa: T201
