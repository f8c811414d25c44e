"""Typical use of the library, checked by mypy and pyright in strict mode: `make check`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import assert_type

from mailsluice import (
    BatchSettled,
    Counts,
    Engine,
    Held,
    InDoubt,
    Mailing,
    Message,
    QueueFull,
    Receipt,
    Recipient,
    Report,
    SendError,
    Settings,
    State,
    Statistics,
)

mailing = Mailing(
    from_address="News <news@example.com>", template="welcome", data={"city": "Lisbon"}
)


def people() -> Iterator[Recipient]:
    yield Recipient(to="ann@example.com", data={"name": "Ann"}, key="7")
    yield Recipient(to=["bob@example.com", "Bea <bea@example.com>"], tags={"kind": "family"})


async def streamed() -> AsyncIterator[Recipient]:
    for recipient in people():
        yield recipient


def told(event: BatchSettled) -> None:
    assert_type(event.states.get(State.SENT, 0), int)


async def send_a_mailing(path: Path) -> int:
    async with Engine.open(Settings(), journal=path, on_event=told) as engine:
        report = await engine.run(mailing, people())
        assert_type(report, Report)
        assert_type(report.counts, Counts)
        await engine.run(mailing, streamed(), journal="second.journal")
        await engine.run(mailing, ["ann@example.com"], only="failed")
        assert_type(engine.statistics(), Statistics | None)
        return report.exit_code


async def send_messages(engine: Engine) -> str | None:
    try:
        receipt = await engine.send(Message(mailing, to="ann@example.com"), deadline_s=2.5)
        assert_type(receipt, Receipt)
        await engine.send(Message(mailing, to=["a@e.org"], key="k"), lane="bulk")
        future = await engine.send_nowait(Message(mailing, to="bob@example.com"))
        assert_type(await future, Receipt)
    except QueueFull:
        return None
    except (Held, InDoubt) as error:
        assert_type(error.status, str)
        assert_type(error.error, str | None)
        return error.status
    except SendError as error:
        return error.error
    engine.pause()
    engine.resume()
    return receipt.message_id


if __name__ == "__main__":
    asyncio.run(send_a_mailing(Path("mailing.journal")))
