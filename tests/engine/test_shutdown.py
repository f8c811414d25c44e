"""However a program ends its event loop, the engine ends with it, and doubts are in the journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mailsluice.emulator import AccountSettings, CallFault, Emulator
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports import audit, export
from tests.support import forked, shutdown_child

FORKED = forked.context()

LATE_S = 600.0
"""An answer that never comes as long as the test lasts."""

PATIENCE_S = 30.0
"""What has not ended by then hangs."""


@pytest.mark.parametrize("way", ["run", "send"])
@pytest.mark.parametrize(
    ("how", "loop"), [*((how, "asyncio") for how in shutdown_child.HOW), ("cancel all", "uvloop")]
)
@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=5_000, daily_max=-1))
def test_a_program_that_ends_its_loop_ends_and_leaves_what_was_in_flight_in_doubt(
    ses_emulator: Emulator, tmp_path: Path, how: str, way: str, loop: str
) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=LATE_S, address="user60@*"))
    path = tmp_path / "service.journal"
    given = (dict(os.environ), path, how, way, loop)
    process = FORKED.Process(target=shutdown_child.service, args=given)
    process.start()
    try:
        assert ses_emulator.wait_for(accepted=shutdown_child.MESSAGES, timeout_s=PATIENCE_S)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGUSR1)
        process.join(PATIENCE_S)
        assert process.exitcode is not None, "it hangs"
    finally:
        process.kill()
        process.join()
    with closing(SqliteJournal.read(path)) as journal:
        lines = list(export.lines(journal))
    (late,) = [line for line in lines if line.seq == 61]
    assert late.state == "in_doubt"
    accepted = ses_emulator.ledger.entries()
    compared = audit.compare(
        lines, [(each.tags["mailsluice-id"], each.message_id) for each in accepted]
    )
    assert compared.agree
    assert compared.accepted == shutdown_child.MESSAGES


HOOK = """
import asyncio, sys
from mailsluice import Engine, Mailing, Message, Settings
WELCOME = Mailing(from_address="news@example.com", template="welcome")
TO = ["user%d@example.com" % n for n in range(120)]
def hook(event):
    if event.number == 2:
        raise {raised}
async def serve():
    async with Engine.open(Settings(), journal=sys.argv[1], on_event=hook) as engine:
        if {run}:
            await engine.run(WELCOME, TO)
        else:
            await asyncio.gather(*(engine.send(Message(WELCOME, to=each)) for each in TO))
asyncio.run(serve())
"""


@pytest.mark.parametrize("run", [True, False])
@pytest.mark.parametrize(
    ("raised", "code"),
    [("SystemExit(7)", 7), ("KeyboardInterrupt", -2), ("asyncio.CancelledError", 0)],
)
@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=5_000, daily_max=-1))
def test_a_hook_that_ends_the_program_ends_it(
    ses_emulator: Emulator, tmp_path: Path, raised: str, code: int, *, run: bool
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HOOK.format(raised=raised, run=run), str(tmp_path / "journal")],
        env=dict(os.environ),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert 0 < len(ses_emulator.ledger) <= 120
