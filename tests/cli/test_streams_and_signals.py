"""What a shell hands over: closed streams, ignored signals; and what a command says of itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

import mailsluice
from mailsluice.emulator import CallFault
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

COMMAND = f"exec {sys.executable} -m mailsluice"


def shell(folder: Folder, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", script],
        cwd=folder.path,
        env=folder.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_whose_standard_streams_are_closed_ends_as_any_other(
    folder: Folder, closed: str
) -> None:
    ended = shell(folder, f"{COMMAND} send mailing.toml --report report.json {closed}")
    assert ended.returncode == 0
    assert folder.counts() == {"read": 2, "sent": 2}
    assert folder.audit().agree


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})
def test_what_nohup_ignores_does_not_stop_a_run(folder: Folder) -> None:
    folder.write_list(100)
    folder.emulator.faults.add(CallFault(fault="late", delay_s=1.0, times=1))
    command = f"trap '' HUP; {COMMAND} send mailing.toml --report report.json"
    with subprocess.Popen(
        ["sh", "-c", command],
        cwd=folder.path,
        env=folder.environment({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert folder.emulator.wait_for(accepted=50, timeout_s=PATIENCE_S)
        process.send_signal(signal.SIGHUP)
        assert process.wait() == 0
    assert folder.counts() == {"read": 100, "sent": 100}


def test_the_version_is_said(folder: Folder) -> None:
    assert folder.run("--version").out == f"mailsluice {version('mailsluice')}\n"
    assert mailsluice.__version__ == version("mailsluice")


def test_completion_can_be_installed(folder: Folder) -> None:
    assert "--install-completion" in folder.run("--help").out


def test_a_misspelt_command_or_flag_says_what_was_meant(folder: Folder) -> None:
    assert "'send'" in folder.run("sned").err
    assert "--recipients" in folder.run("send", "--recipents", "x").err
