"""SIGINT and SIGTERM: a run stops, accounts for everybody, and is finished by the next one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from mailsluice.cli.send import TWICE_S
from mailsluice.emulator import CallFault
from mailsluice.journal import Event
from tests.support.waiting import NEVER_S, PATIENCE_S

if TYPE_CHECKING:
    from tests.cli.conftest import Folder
    from tests.support.forked import Forked

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

WAITS = ("--set", f"delivery.timeout_s={NEVER_S}")
"""A run that is not stopped waits for an answer for ever."""

PIPE_BYTES = 4096
"""The smallest pipe there is."""

both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def stopping(process: Forked) -> None:
    """Read the command's word that it has understood."""
    assert process.stderr is not None
    word = b"stopping when the calls in flight end"
    assert any(word in line for line in process.stderr)


@both
@pytest.mark.ses_emulator(
    account={"rate_per_s": 1000, "daily_max": -1}, latency={"low_s": 0.02, "high_s": 0.1}
)
def test_a_signal_stops_the_run_with_4_and_the_next_one_finishes_it(
    folder: Folder, number: signal.Signals
) -> None:
    folder.write_list(700)
    with folder.started() as process:
        folder.until(process, accepted=200)
        process.send_signal(number)
        ended = folder.end(process)
    assert ended.code == 4
    assert "stopping when the calls in flight end" in ended.err
    assert folder.report()["state"] == "stopped"
    counts = folder.counts()
    assert folder.accepted == counts["sent"] == counts["read"] - counts["pending"]
    stopped = [record for record in folder.records() if isinstance(record, Event)][-1]
    assert stopped.name == "stopped"
    assert folder.send().code == 0
    assert folder.counts() == {"read": 700, "sent": 700}
    audit = folder.audit()
    assert audit.agree
    assert audit.accepted == 700


@both
def test_a_second_signal_ends_it_at_once_and_what_was_in_flight_is_in_doubt(
    folder: Folder, number: signal.Signals
) -> None:
    folder.write_list(120)
    folder.emulator.faults.add(CallFault(fault="late", delay_s=NEVER_S, address="user60@*"))
    with folder.started(*WAITS) as process:
        folder.until(process, accepted=120)
        begun = time.monotonic()
        process.send_signal(number)
        stopping(process)
        process.send_signal(number)  # at once it is the first one, delivered twice
        while process.poll() is None:
            process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                process.wait(TWICE_S / 4)
        ended = folder.end(process)
    assert ended.code == 4
    assert time.monotonic() - begun > TWICE_S
    assert folder.send().code == 1
    audit = folder.audit()
    assert audit.agree
    assert 120 == audit.sent + audit.delivered_in_doubt == folder.accepted
    in_doubt = [line.address for line in folder.lines() if line.state == "in_doubt"]
    assert "user60@example.com" in in_doubt
    assert len(in_doubt) == folder.counts()["in_doubt"]
    recipients = f"{len(in_doubt)} recipient{'s'[: len(in_doubt) > 1]}"
    assert f"stopped at once, which leaves {recipients} in doubt" in ended.err


def test_a_signal_waits_for_the_calls_in_flight(folder: Folder) -> None:
    folder.write_list(5)
    folder.emulator.faults.add(CallFault(fault="late", delay_s=1.0))
    with folder.started() as process:
        folder.until(process, accepted=5)
        process.send_signal(signal.SIGTERM)
        assert folder.end(process).code == 0, "all is sent: nothing was left to stop"
    assert folder.counts() == {"read": 5, "sent": 5}


def test_a_signal_before_the_account_has_answered_leaves_nothing_behind(folder: Folder) -> None:
    folder.write_list(5)
    folder.emulator.faults.add(
        CallFault(fault="late", delay_s=NEVER_S, operation="GetAccount", times=1)
    )
    with folder.started(*WAITS) as process:
        folder.until(process, get_account_calls=1)
        process.send_signal(signal.SIGTERM)
        assert folder.end(process).code == 4
    assert (folder.counts(), folder.report()["state"], folder.calls) == ({}, "stopped", 0)
    folder.write_list(6)
    assert folder.send().code == 0
    assert folder.accepted == 6


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": 10})
def test_a_run_that_waits_for_the_daily_quota_can_be_stopped_and_resumed(folder: Folder) -> None:
    folder.write_list(25)
    with folder.started("--set", "quota.refresh_s=1") as process:
        folder.until(process, accepted=10)
        process.send_signal(signal.SIGTERM)
        assert folder.end(process).code == 4
    assert folder.counts() == {"read": 25, "sent": 10, "pending": 15}
    folder.emulator.change_account(daily_max=100)
    assert folder.send().code == 0
    assert (folder.counts(), folder.accepted) == ({"read": 25, "sent": 25}, 25)


def test_a_run_whose_endpoint_is_gone_can_be_stopped(folder: Folder) -> None:
    folder.write_list(5)
    folder.emulator.faults.add(CallFault(fault="error", code="ServiceUnavailable"))
    with folder.started() as process:
        folder.until(process, calls=2)
        process.send_signal(signal.SIGTERM)
        assert folder.end(process).code == 4
    assert folder.counts() == {"read": 5, "pending": 5}


def test_a_pipe_that_gives_nothing_more_does_not_keep_a_run_from_stopping(folder: Folder) -> None:
    flags = ("--recipients", "-", "--set", "quota.rate=1e6")
    with folder.started(*flags, stdin=PIPE) as process:
        assert process.stdin is not None
        text = "email\n" + "".join(f"user{n}@example.com\n" for n in range(6000))
        process.stdin.write(text.encode())
        process.stdin.flush()
        folder.until(process, accepted=3000)
        process.send_signal(signal.SIGTERM)
        assert folder.end(process).code == 4
    assert folder.accepted == folder.counts()["sent"]


@both
def test_a_signal_before_anything_has_begun_is_4_too(
    folder: Folder, number: signal.Signals
) -> None:
    with folder.started("--recipients", "-", stdin=PIPE) as process:
        assert process.stdin is not None
        # More than the pipe holds: writing ends when the command has begun to read.
        fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        process.stdin.write(b"email\n" * PIPE_BYTES)
        process.send_signal(number)
        assert folder.end(process).code == 4
    assert folder.calls == 0


@both
def test_a_signal_ends_a_dry_run_with_4(folder: Folder, number: signal.Signals) -> None:
    with folder.started("--recipients", "-", "--dry-run", stdin=PIPE) as process:
        folder.until(process, get_account_calls=1)
        process.send_signal(number)
        assert folder.end(process).code == 4
    assert folder.calls == 0


def test_a_run_that_has_ended_in_doubt_says_so_after_a_signal_too(folder: Folder) -> None:
    folder.write_list(200)
    folder.emulator.faults.add(
        CallFault(fault="lost", nth=1), CallFault(fault="late", delay_s=0.5, nth=(2, 3, 4))
    )
    with folder.started("--set", "delivery.in_flight=2") as process:
        folder.until(process, accepted=100)
        process.send_signal(signal.SIGINT)
        assert folder.end(process).code == 4
    counts = folder.counts()
    assert counts["in_doubt"] == 50
    assert counts["sent"] + counts["in_doubt"] + counts["pending"] == 200
    assert folder.send().code == 1
    assert folder.counts() == {"read": 200, "sent": 150, "in_doubt": 50}
    assert folder.audit().agree


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.ses_emulator(
    account={"rate_per_s": 1000, "daily_max": -1}, latency={"low_s": 0.02, "high_s": 0.1}
)
def test_a_run_that_nobody_listens_to_any_more_stops_as_cleanly(
    folder: Folder, number: signal.Signals
) -> None:
    folder.write_list(700)
    read_end, write_end = os.pipe()
    with folder.started(stdout=write_end, stderr=write_end) as process:
        os.close(write_end)
        folder.until(process, accepted=100)
        os.close(read_end)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 4
    assert folder.report()["state"] == "stopped"
    assert folder.counts().get("in_doubt", 0) == 0


def test_a_finished_run_keeps_its_exit_code_where_nobody_listens(folder: Folder) -> None:
    folder.write_list(60)
    read_end, write_end = os.pipe()
    os.close(read_end)
    with folder.started(stdout=write_end, stderr=write_end) as process:
        os.close(write_end)
        assert process.wait(PATIENCE_S) == 0
    assert folder.report()["counts"]["sent"] == 60
