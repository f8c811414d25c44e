"""What a person sees of an engine at a prompt, in a debugger and in the log."""

import logging
import re
from pathlib import Path

import anyio
import pytest

from mailsluice import Engine, Mailing, MemoryJournal, Message, Settings, SqliteJournal
from mailsluice.emulator import CallFault, Emulator

MAILING = Mailing(from_address="News <news@example.com>", template="welcome")

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the engine logged at INFO or above, with its figures left out."""
    return [
        re.sub(r"\d+\.\d s", "… s", record.getMessage())
        for record in caplog.records
        if record.name.startswith("mailsluice.engine") and record.levelno >= logging.INFO
    ]


async def test_the_log_says_when_a_run_begins_is_held_resumes_and_ends(
    ses_emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mailsluice")
    path = tmp_path / "welcome.journal"
    code, text = "SendingPausedException", "paused by AWS"
    ses_emulator.faults.add(CallFault(fault="error", code=code, message=text, times=1))
    for _ in range(2):
        async with Engine.open(Settings(), journal=path) as engine:
            await engine.run(MAILING, ["ann@example.com", "no-at"])
    assert lines(caplog) == [
        f"{path}: the run begins",
        f"{path}: the run is held: {code}: {text}: read 2, refused 1, pending 1; 1 calls, … s",
        f"{path}: the run resumes: read 2, refused 1, pending 1",
        f"{path}: the run is finished: read 2, refused 1, sent 1; 1 calls, … s",
    ]
    assert "@" not in caplog.text
    assert logging.getLogger("mailsluice").handlers == []


async def test_the_log_says_when_an_engine_is_paused_and_resumed(
    ses_emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    del ses_emulator
    caplog.set_level(logging.INFO, "mailsluice")
    async with Engine.open(Settings()) as engine:
        for act in (engine.pause, engine.pause, engine.resume, engine.resume):
            act()
    assert lines(caplog) == ["the engine is paused", "the engine is resumed"]


async def test_an_engine_shows_its_statistics(ses_emulator: Emulator) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=60, times=1))
    async with Engine.open(Settings()) as engine:
        assert repr(engine) == "<Engine: idle>"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run, MAILING, ["ann@example.com"])
            assert await anyio.to_thread.run_sync(
                lambda: ses_emulator.wait_for(calls=1, timeout_s=60)
            )
            run = "<Current: read 1, pending 1, 1 in flight, 1 calls>"
            assert repr(engine) == f"<Engine: {run}>"
            tasks.cancel_scope.cancel()
        await engine.send(Message(MAILING, to="ann@example.com"))
        assert repr(engine) == "<Engine: <Outbox: read 1, sent 1, 1 streams>>"
        engine.pause()
        assert repr(engine).startswith("<Engine: paused, ")
    assert repr(ses_emulator) == f"<Emulator: {ses_emulator.url}, 2 calls, 2 accepted>"


async def test_journals_show_their_run_and_records(ses_emulator: Emulator, tmp_path: Path) -> None:
    del ses_emulator
    memory, path = MemoryJournal(), tmp_path / "m.journal"
    assert repr(memory) == "<MemoryJournal: no run>"
    async with Engine.open(Settings(), journal=path) as engine:
        await engine.run(MAILING, ["ann@example.com"])
    journal = SqliteJournal.read(path)
    assert re.fullmatch(rf"<SqliteJournal: {path}, run [a-z2-7]{{16}}, \d+ records>", repr(journal))
    journal.close()
