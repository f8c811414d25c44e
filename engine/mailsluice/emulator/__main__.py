"""The child of `process.emulator_process`: options on standard input, whose end is the end.

For people there is `mailsluice emulator`.
"""

from __future__ import annotations

import asyncio
import sys
import threading

from pydantic import TypeAdapter

from mailsluice import loop
from mailsluice.emulator.options import EmulatorOptions
from mailsluice.emulator.server import serve
from mailsluice.errors import ConfigurationError


async def _serve(options: EmulatorOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_the_parent() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_the_parent, daemon=True).start()
    await serve(options, announce=lambda url: print(url, flush=True), until=stop)  # noqa: T201


def main() -> None:
    """Serve until standard input ends."""
    options = TypeAdapter(EmulatorOptions).validate_json(sys.stdin.buffer.readline())
    try:
        loop.run(_serve(options))
    except ConfigurationError as error:
        sys.exit(f"mailsluice emulator: {error}")


if __name__ == "__main__":
    main()
