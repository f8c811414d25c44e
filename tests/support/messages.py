"""Send single messages through an engine, and wait for their outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailsluice import (
    DeliverySettings,
    Engine,
    Mailing,
    Message,
    MessageSettings,
    Receipt,
    Recipient,
    Settings,
)
from mailsluice.config.settings import QuotaSettings, SesSettings
from mailsluice.emulator import Emulator
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports.export import lines
from tests.support.waiting import PATIENCE_S

WELCOME = Mailing(from_address="news@example.com", template="welcome", data={"city": "Lisbon"})

OTHER = Mailing(from_address="news@example.com", template="other")


def settings(emulator: Emulator, **messages: float) -> Settings:
    return Settings(
        ses=SesSettings(endpoint_url=emulator.url),
        quota=QuotaSettings(refresh_s=1.0),
        messages=MessageSettings.model_validate(messages),
    )


def message(n: int, **fields: object) -> Message:
    return Message(WELCOME, to=f"user{n}@example.com", **fields)  # type: ignore[arg-type]


def states(path: Path) -> dict[int, str]:
    """By row, of a journal."""
    journal = SqliteJournal.read(path)
    try:
        return {line.seq: line.state for line in lines(journal)}
    finally:
        journal.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until it holds."""
    while not condition():  # noqa: ASYNC110  # a condition of the engine's, which has no event
        await asyncio.sleep(0)


BULK = [Recipient(to=f"bulk{n}@example.com") for n in range(5_000)]


def resending(emulator: Emulator, **messages: float) -> Settings:
    delivery = DeliverySettings(in_doubt="resend")
    return settings(emulator, **messages).model_copy(update={"delivery": delivery})


async def ended(*tasks: asyncio.Task[Receipt], within_s: float = PATIENCE_S) -> list[Any]:
    """What became of each; none may hang."""
    _, hanging = await asyncio.wait(tasks, timeout=within_s)
    assert not hanging
    return [None if each.cancelled() else each.exception() or each.result() for each in tasks]


def sending(engine: Engine, *messages: Message, **options: Any) -> list[asyncio.Task[Receipt]]:
    return [asyncio.create_task(engine.send(each, **options)) for each in messages]
