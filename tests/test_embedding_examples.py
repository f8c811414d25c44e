"""The examples of docs/embedding.md, on a real server, under many requests at once."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mailsluice.emulator import CallFault, Emulator
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports.export import Line, lines
from mailsluice.worker.queue import messages
from tests.support.waiting import PATIENCE_S

DOCS = Path(__file__).parent.parent / "docs" / "embedding.md"
BLOCKS = dict(
    re.findall(r"```python\n# (.*?)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
)
REQUESTS = {"fastapi_app": 1_000, "litestar_app": 250}
"""At once. The engine is the same: the fewer show that the other example is right, too."""

LINGER_MS = "1000"
"""However slowly the requests arrive, most of them are in a full call."""


@asynccontextmanager
async def service(app: str, folder: Path, emulator: Emulator) -> AsyncIterator[tuple[str, Process]]:
    """The app under uvicorn, in a process of its own: its URL, and the process."""
    (folder / f"{app}.py").write_text(BLOCKS[f"{app}.py"], encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0), backlog=2_000) as listener:
        environment = {
            **os.environ,
            **emulator.environment,
            "MAILSLUICE_MESSAGES__LINGER_MS": LINGER_MS,
        }
        command = [sys.executable, "-m", "uvicorn", f"{app}:app", "--fd", str(listener.fileno())]
        process = await asyncio.create_subprocess_exec(
            *command,
            "--no-access-log",
            cwd=folder,
            env=environment,
            pass_fds=[listener.fileno()],
            stderr=PIPE,
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    # The listener is the service's alone now: when that ends, nobody waits for an answer.
    try:
        yield url, process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def post(session: aiohttp.ClientSession, url: str, n: int) -> str | None:
    """Ask for one mail; its MessageId, or None where the service said no or went away."""
    try:
        async with session.post(f"{url}/welcome?address=user{n}@example.com&signup={n}") as answer:
            return (await answer.json())["message_id"] if answer.status in {200, 201} else None
    except aiohttp.ClientError:
        return None


async def ask(url: str, requests: int) -> list[str | None]:
    """All requests at once."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        return await asyncio.gather(*(post(session, url, n) for n in range(requests)))


def journalled(folder: Path) -> list[Line]:
    journal = SqliteJournal.read(folder / "messages.journal")
    try:
        return list(lines(journal))
    finally:
        journal.close()


@pytest.mark.parametrize("app", REQUESTS)
async def test_many_requests_at_once_are_a_mail_each_in_full_calls(
    app: str, tmp_path: Path, ses_emulator: Emulator
) -> None:
    requests = REQUESTS[app]
    ses_emulator.change_account(rate_per_s=1e6, daily_max=-1)
    async with service(app, tmp_path, ses_emulator) as (url, _):
        message_ids = await ask(url, requests)
    assert len(set(message_ids) - {None}) == requests
    assert set(ses_emulator.ledger.by_address().values()) == {1}
    assert len(ses_emulator.ledger) == requests
    assert ses_emulator.statistics().account.calls <= requests / 10
    assert max(len(each["BulkEmailEntries"]) for each in ses_emulator.requests) == 50
    assert Counter(line.state for line in journalled(tmp_path)) == {"sent": requests}


@pytest.mark.parametrize("app", REQUESTS)
async def test_a_service_stopped_in_the_middle_leaves_nothing_unaccounted(
    app: str, tmp_path: Path, ses_emulator: Emulator
) -> None:
    ses_emulator.change_account(rate_per_s=400, daily_max=-1)
    async with service(app, tmp_path, ses_emulator) as (url, process):
        asking = asyncio.create_task(ask(url, REQUESTS[app]))
        assert await asyncio.to_thread(ses_emulator.wait_for, accepted=100, timeout_s=PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        message_ids = await asking
        _, said = await process.communicate()
    assert "Application shutdown complete" in said.decode()
    told = {each for each in message_ids if each}
    accepted = {each.message_id for each in ses_emulator.ledger.entries()}
    kept = {line.message_id for line in journalled(tmp_path) if line.state == "sent"}
    assert len(told) >= 100
    assert told <= accepted == kept
    assert {line.state for line in journalled(tmp_path)} <= {"sent", "failed"}
    assert set(ses_emulator.ledger.by_address().values()) == {1}


@pytest.mark.parametrize("app", REQUESTS)
async def test_what_is_nobodys_fault_is_a_5xx_and_a_bad_address_a_4xx(
    app: str, tmp_path: Path, ses_emulator: Emulator
) -> None:
    async with service(app, tmp_path, ses_emulator) as (url, _), aiohttp.ClientSession() as session:

        async def asked(address: str, signup: int) -> tuple[int, str]:
            query = {"address": address, "signup": str(signup)}
            async with session.post(f"{url}/welcome", params=query) as answer:
                return answer.status, await answer.text()

        first = await asked("ann@example.com", 1)
        assert first[0] in {200, 201}
        assert await asked("ann@example.com", 1) == first
        status, said = await asked("no-at-sign", 2)
        assert (status, "there is no @" in said) == (422, True)
        ses_emulator.faults.add(CallFault(fault="lost", times=1))
        status, said = await asked("bob@example.com", 3)
        assert (status, "NO_ANSWER" in said) == (503, True)
        ses_emulator.faults.add(CallFault(fault="error", code="SendingPausedException", times=1))
        status, said = await asked("cid@example.com", 4)
        assert (status, "SendingPausedException" in said) == (503, True)
    assert len(ses_emulator.ledger.by_address()) == 2


async def test_a_second_process_is_told_how_several_can_send(
    tmp_path: Path, ses_emulator: Emulator
) -> None:
    async with service("fastapi_app", tmp_path, ses_emulator) as (url, _):
        async with aiohttp.ClientSession() as session:
            assert await post(session, url, 1) is not None
        async with service("fastapi_app", tmp_path, ses_emulator) as (_, second):
            assert second.stderr is not None
            said = (await second.stderr.read()).decode()
    assert "one alone can send" in said
    assert "JournalLockedError" in said


def test_what_a_service_puts_into_the_queue_is_what_the_worker_reads() -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS["enqueue.py"], names)  # the example itself
    read = messages.parse(names["message"]("ann@example.com", "7"))
    assert isinstance(read, messages.One)
    assert (read.to, read.key) == ("ann@example.com", "signup-7")
