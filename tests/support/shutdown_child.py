"""A service that is ended at SIGUSR1 in one of the ways in which programs end (`HOW`)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import uvloop

from mailsluice import Engine, Mailing, Message, Recipient, SendError, Settings

WELCOME = Mailing(from_address="news@example.com", template="welcome")

MESSAGES = 120


def _cancel_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


def _cancel_all_again_and_again() -> None:
    _cancel_all()
    asyncio.get_running_loop().call_later(0.01, _cancel_all_again_and_again)


def _exit() -> None:
    raise SystemExit(7)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _stop_the_loop() -> None:
    asyncio.get_running_loop().stop()


HOW: dict[str, Callable[[], None]] = {
    "cancel all": _cancel_all,
    "cancel all again and again": _cancel_all_again_and_again,
    "exit": _exit,
    "interrupt": _interrupt,
    "stop the loop": _stop_the_loop,
}


async def _run(engine: Engine) -> None:
    await engine.run(WELCOME, [Recipient(f"user{n}@example.com") for n in range(MESSAGES)])


async def _send(engine: Engine) -> None:
    async def one(n: int) -> None:
        with suppress(SendError):  # its outcome is in the journal
            await engine.send(Message(WELCOME, to=f"user{n}@example.com"))

    await asyncio.gather(*map(one, range(MESSAGES)))


async def _serve(journal: Path, how: str, way: str) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, HOW[how])
    async with Engine.open(Settings(), journal=journal) as engine:
        await {"run": _run, "send": _send}[way](engine)


def service(environment: Mapping[str, str], journal: Path, how: str, way: str, loop: str) -> None:
    """Send `MESSAGES` messages, by `run` or by `send`, on asyncio's or uvloop's event loop."""
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(journal.with_suffix(".err"), os.O_WRONLY | os.O_CREAT, 0o600), 2)
    factory = uvloop.new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(journal, how, way))
