"""What the commands read and print: report, progress, standard input, `--dry-run`, the emulator."""

from __future__ import annotations

import gzip
import io
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import orjson
import pytest
from rich.console import Console

from mailsluice import Engine, Mailing
from mailsluice.cli import display, forecast_text
from mailsluice.cli.remaining import Remaining
from mailsluice.emulator import CallFault, Emulator, EntryFault
from mailsluice.sources import Fields
from mailsluice.sources.files import open_source

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

SEND = ("send", "mailing.toml")


# --- the report, and what is shown ----------------------------------------------------------------


def test_the_report_has_the_shape_of_the_contract(folder: Folder) -> None:
    folder.write_list(["ann@example.com", "ann@example.com", "no-at-sign", "odd@example.com"])
    folder.emulator.faults.add(
        EntryFault(status="MESSAGE_REJECTED", address="odd@*"),
        EntryFault(status="ACCOUNT_THROTTLED", address="ann@*", times=1),
    )
    assert folder.send().code == 1
    report = folder.report()
    assert {name: type(value) for name, value in report.items()} == {
        "state": str,
        "hold": type(None),
        "counts": dict,
        "calls": int,
        "throttled": int,
        "elapsed_s": float,
        "rate_per_s": float,
        "quota_rate_per_s": float,
    }
    assert folder.counts() == {"read": 4, "refused": 1, "duplicate": 1, "sent": 1, "rejected": 1}
    assert (report["calls"], report["throttled"], report["quota_rate_per_s"]) == (2, 1, 5000.0)


def test_a_report_to_standard_output_is_all_that_is_there(folder: Folder) -> None:
    ended = folder.run(*SEND, "--report", "-")
    folder.check_conserved(orjson.loads(ended.out)["counts"])
    assert re.search(r"^finished$", ended.err, re.MULTILINE)


def test_quiet_prints_nothing_when_all_is_sent(folder: Folder) -> None:
    assert folder.run(*SEND, "--quiet") == (0, "", "")


def test_quiet_says_in_one_line_why_a_run_is_held(folder: Folder) -> None:
    ended = folder.run(*SEND, "--quiet", environment={"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert (ended.code, ended.out) == (3, "")
    [line] = ended.err.splitlines()
    assert line.startswith("mailsluice: held: InvalidSignatureException: ")
    assert "; next: renew the AWS credentials" in line


def test_the_summary_says_what_to_do_next(folder: Folder) -> None:
    folder.write_list(["ann@example.com", "no-at-sign", "odd@example.com"])
    folder.emulator.faults.add(EntryFault(status="MESSAGE_REJECTED", address="odd@*"))
    steps = [line for line in folder.send().out.splitlines() if line.startswith("next: ")]
    assert steps == [
        "next: rejected: mailsluice send ... --only rejected, or leave them",
        "next: refused, and why: mailsluice export mailing.journal --state refused",
        "next: rejected, and why: mailsluice export mailing.journal --state rejected",
    ]


def test_quiet_leaves_a_report_on_standard_output_alone(folder: Folder) -> None:
    ended = folder.run(*SEND, "--quiet", "--report", "-")
    assert (orjson.loads(ended.out)["state"], ended.err) == ("finished", "")


@pytest.mark.ses_emulator(account={"rate_per_s": 400, "daily_max": -1})
def test_on_a_terminal_progress_is_drawn_on_standard_error_alone(folder: Folder) -> None:
    folder.write_list(300)
    ours, theirs = pty.openpty()
    with folder.started(stderr=theirs) as process:
        os.close(theirs)
        drawn = b"".join(iter(lambda: _read(ours), b"")).decode()
        ended = folder.end(process)
    os.close(ours)
    assert "limited by" in drawn
    assert re.search(r"\d+% *\)", drawn)
    assert "@" not in drawn
    assert "limited by" not in ended.out
    assert re.search(r"^sent +300$", ended.out, re.MULTILINE)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that the other side is closed
        return b""


@pytest.mark.ses_emulator(account={"rate_per_s": 500, "daily_max": -1})
async def test_elsewhere_progress_is_a_plain_line_now_and_then(
    ses_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "LINE_S", 0.05)
    out = io.StringIO()
    mailing = Mailing(from_address="news@example.com", template="welcome")
    async with Engine.open() as engine, anyio.create_task_group() as tasks:
        console = Console(file=out, force_terminal=False)
        tasks.start_soon(display.show, engine, console, Remaining(estimate=None))
        await engine.run(mailing, (f"user{n}@example.com" for n in range(200)))
        tasks.cancel_scope.cancel()
    plan, *lines = out.getvalue().splitlines()
    assert plan == "plan: at 500/s; the number of recipients is not known"
    assert len(lines) > 1
    shape = r"sent \d+ \(\d+\.\d/s of 500/s\), deferred 0, in doubt 0, rejected 0, refused 0, ETA "
    assert all(re.match(shape, line) for line in lines)
    assert len(ses_emulator.ledger) == 200


@pytest.mark.parametrize(
    ("plan", "flags", "cost"),
    [
        (None, (), "$0.10"),
        ("NONE", (), "$0.10"),
        ("PRO", (), "$0.22"),
        ("PRO", ("--set", "quota.price_per_1000=1"), "$1.00"),
    ],
)
def test_the_cost_is_that_of_the_accounts_pricing_plan(
    folder: Folder, plan: str | None, flags: tuple[str, ...], cost: str
) -> None:
    folder.emulator.change_account(pricing_plan=plan)
    folder.write_list(1_000)
    ended = folder.run(*SEND, "--dry-run", *flags)
    assert re.search(rf"^cost +{re.escape(cost)}$", ended.out, re.MULTILINE)


# --- where recipients and settings come from ------------------------------------------------------


def test_a_list_is_found_beside_the_mailing_file_wherever_the_command_is_run(
    folder: Folder,
) -> None:
    elsewhere = folder.path / "elsewhere"
    elsewhere.mkdir()
    assert folder.run("send", "../mailing.toml", cwd=elsewhere).code == 0
    assert folder.journal.is_file()
    assert folder.accepted == 2


def test_recipients_on_the_command_line_replace_those_of_the_file(folder: Folder) -> None:
    elsewhere = folder.path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.csv").write_text("email\ncat@example.com\n")
    ended = folder.run("send", "../mailing.toml", "--recipients", "other.csv", cwd=elsewhere)
    assert ended.code == 0
    assert folder.emulator.ledger.by_address() == {"cat@example.com": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"email,name\nann@example.com,Ann\nbob@example.com,Bob\n",
        gzip.compress(b"email,name\nann@example.com,Ann\nbob@example.com,Bob\n", mtime=0),
        b'{"email": "ann@example.com"}\n{"to": ["bob@example.com"], "data": {"n": 1}}\n',
    ],
    ids=["csv", "gzip", "ndjson"],
)
def test_recipients_come_from_standard_input(folder: Folder, content: bytes) -> None:
    assert folder.run(*SEND, "--recipients", "-", stdin=content).code == 0
    assert folder.emulator.ledger.by_address() == {"ann@example.com": 1, "bob@example.com": 1}


@pytest.mark.ses_emulator(account={"rate_per_s": 5000}, resources={"templates": ["hello"]})
def test_a_held_run_goes_on_from_the_same_pipe_and_refuses_another(folder: Folder) -> None:
    folder.write_mailing("recipients.csv", "-")
    pipe = b"email\nann@example.com\n"
    mended = ("--set", "mailing.template=hello")
    assert folder.send("--no-check", stdin=pipe).code == 3
    ended = folder.send(*mended, stdin=pipe.replace(b"ann", b"bob"))
    assert ended.code == 2
    assert "row 1 (line 2 of the list) is not the same" in ended.err
    assert folder.send(*mended, stdin=pipe).code == 0
    assert folder.emulator.ledger.by_address() == {"ann@example.com": 1}


def test_the_environment_overrides_the_file_and_a_flag_overrides_both(folder: Folder) -> None:
    folder.write_mailing("[recipients]", "[quota]\nrate = 10\n[recipients]")
    environment = {"MAILSLUICE_QUOTA__RATE": "20"}
    folder.send("--journal", "1.journal", environment=environment)
    assert folder.report()["quota_rate_per_s"] == 20
    folder.send("--journal", "2.journal", "--set", "quota.rate=30", environment=environment)
    assert folder.report()["quota_rate_per_s"] == 30


def test_what_a_mailing_sends_although_getaccount_is_denied_is_warned_of(folder: Folder) -> None:
    denied = CallFault(fault="error", code="AccessDeniedException", operation="GetAccount")
    folder.emulator.faults.add(denied)
    ended = folder.run(*SEND, "--quiet", "--set", "quota.rate=100")
    assert (ended.code, folder.accepted) == (0, 2)
    assert "AccessDeniedException" in ended.err
    assert "blind to the daily quota" in ended.err


def test_a_list_without_recipients_is_said_and_may_be_filled(folder: Folder) -> None:
    folder.write_list(0)
    assert re.search(r"^warning +the list has no recip", folder.send("--dry-run").out, re.MULTILINE)
    ended = folder.send()
    assert "next: the list has no recipients" in ended.out
    folder.write_list(2)
    assert folder.send().code == 0
    assert folder.counts() == {"read": 2, "sent": 2}


# --- what is not sent -----------------------------------------------------------------------------


def test_a_dry_run_shows_the_plan_and_sends_nothing(folder: Folder) -> None:
    good = [f"user{n}@example.com" for n in range(120)]
    folder.write_list(["ann@example.com", "ann@example.com", "no-at-sign", *good])
    ended = folder.run(*SEND, "--dry-run")
    assert ended.code == 1
    told = {
        name.strip(): text
        for name, text in re.findall(r"^(\w[\w ]{11})(\S.*)$", ended.out, re.MULTILINE)
    }
    assert told["recipients"] == "123 read, 121 to be sent"
    assert told["not sent"] == "1 refused, 1 duplicate"
    assert told["addresses"] == "121 (what the quota counts)"
    assert told["calls"] == "about 5 of SendBulkEmail"
    assert told["rate"] == "5,000 recipients/s"
    assert told["cost"] == "$0.01"
    assert told["row 2"].startswith("duplicate")
    assert told["row 3"].startswith("refused")
    _, shown, text = ended.out.partition("the first request, without 28 of its 30 recipients:\n")
    assert shown
    request = orjson.loads(text)
    assert request["FromEmailAddress"] == "News <news@example.com>"
    assert len(request["BulkEmailEntries"]) == 2
    assert (folder.calls, folder.accepted) == (0, 0)
    assert not folder.journal.exists()


def test_a_dry_run_says_what_looks_wrong_with_the_list(folder: Folder) -> None:
    misspelt = ["ann@gmial.com", "info@example.org", "bob@mailinator.com"]
    folder.write_list([*misspelt, *(f"user{n}@example.com" for n in range(200))])
    ended = folder.run(*SEND, "--dry-run")
    assert ended.code == 0
    assert "columns     address: email; template data: name\n" in ended.out
    warnings = re.findall(r"^warning +(.*)$", ended.out, re.MULTILINE)
    for part in (
        "1 address is of no person",
        "98.5 % of the addresses are at example.com",
        "gmial.com (gmail.com?)",
        "throw-away mailboxes: mailinator.com",
    ):
        assert any(part in each for each in warnings), warnings
    assert len(warnings) == 4
    assert folder.calls == 0


def test_a_dry_run_warns_of_a_placeholder_that_no_column_fills(folder: Folder) -> None:
    inline = '[mailing.content]\nsubject = "Hello {{firstname}}"\ntext = "To {{name}}"\n'
    folder.write_mailing('template = "welcome"', "")
    mailing = (folder.path / "mailing.toml").read_text()
    folder.write("mailing.toml", f"{mailing}\n{inline}")
    folder.write(
        "recipients.csv",
        "email,First Name,name\na@example.com,Ann,Ann Lee\nb@example.com,Bo,Bo Ek\n",
    )
    warned = folder.run(*SEND, "--dry-run").out
    missing = r'^warning +the template prints "firstname", which is missing in 2 rows \(rows 1, 2;'
    assert re.search(missing, warned, re.MULTILINE)
    assert 'prints "name"' not in warned
    renamed = mailing.replace(
        "[recipients]", '[recipients]\nrename = { "First Name" = "firstname" }'
    )
    folder.write("mailing.toml", f"{renamed}\n{inline}")
    assert "warning" not in folder.run(*SEND, "--dry-run").out


def test_a_dry_run_warns_of_content_that_cannot_be_parsed(folder: Folder) -> None:
    folder.write_mailing('template = "welcome"', "")
    mailing = (folder.path / "mailing.toml").read_text()
    inline = '[mailing.content]\nsubject = "Hello"\ntext = "To {{name"\n'
    folder.write("mailing.toml", f"{mailing}\n{inline}")
    planned = folder.run(*SEND, "--dry-run").out
    assert re.search(
        r"^warning +the template cannot be parsed: text, line 1", planned, re.MULTILINE
    )


def test_a_dry_run_of_a_good_list_is_0_and_needs_no_credentials(folder: Folder) -> None:
    flags = ("--dry-run", "--set", "quota.rate=10")
    ended = folder.run(*SEND, *flags, environment=folder.NO_CREDENTIALS)
    assert ended.code == 0
    assert "10 recipients/s" in ended.out
    assert not folder.journal.exists()
    assert folder.emulator.statistics().requests == 0


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": 100})
def test_a_dry_run_says_when_the_daily_quota_interrupts(folder: Folder) -> None:
    folder.write_list(250)
    day = r"on \w{3} \d+ \w{3}"
    planned = folder.send("--dry-run").out
    done = r"time +done in 2 d \(about \d{4}-\d\d-\d\d \d\d:\d\d\)"
    assert re.search(rf"^{done}: 100 today, 100 tomorrow, 50 {day}$", planned, re.MULTILINE)
    planned = folder.send("--dry-run", "--set", "quota.reserve=20").out
    assert re.search(rf"80 today, 80 tomorrow, 80 {day}, 10 {day}$", planned, re.MULTILINE)
    planned = folder.send("--dry-run", "--set", "quota.reserve=100").out
    assert f"time        {forecast_text.NEVER}" in planned


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": 100})
def test_a_dry_run_knows_what_the_day_has_seen(folder: Folder) -> None:
    folder.write_list(60)
    assert folder.send("--journal", "other.journal").code == 0
    folder.write_list(120)
    assert "40 today, 80 tomorrow" in folder.send("--dry-run").out
    with folder.started() as process:
        folder.until(process, accepted=100)
        process.send_signal(signal.SIGTERM)
        assert folder.end(process).code == 4
    planned = folder.send("--dry-run").out
    assert "120 read, 80 to be sent" in planned
    assert re.search("done in 1 d .*: 80 tomorrow$", planned, re.MULTILINE)


def test_a_dry_run_minds_the_limit_on_calls(folder: Folder) -> None:
    folder.write_list(200)
    planned = folder.send("--dry-run", "--set", "quota.calls_per_second=1").out
    assert re.search(r"^calls +about 4 of", planned, re.MULTILINE)
    assert re.search(r"^rate +50 recipients/s$", planned, re.MULTILINE)
    assert re.search(r"^time +done in 4 s ", planned, re.MULTILINE)


# --- the first lines of `send` --------------------------------------------------------------------


@pytest.mark.ses_emulator(account={"rate_per_s": 400, "daily_max": -1})
def test_send_begins_with_the_plan(folder: Folder) -> None:
    folder.write_list(300)
    first = folder.send().err.splitlines()[0]
    assert re.fullmatch(
        r"plan: 300 recipients at 400/s in about 10 calls, done in 1 s \(about .*\)", first
    )
    finished = folder.send()
    assert (finished.code, "plan" in finished.err) == (0, False)


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": 100})
def test_the_plan_of_a_resumed_run_is_about_what_is_left(folder: Folder) -> None:
    folder.write_list(["no-at-sign", *(f"user{n}@example.com" for n in range(250))])
    told = []
    for _ in range(2):
        with folder.started() as process:
            folder.until(process, accepted=100)
            assert process.stderr is not None
            told.append(process.stderr.readline().decode())
            process.send_signal(signal.SIGTERM)
            assert folder.end(process).code == 4
    fresh, resumed = told
    assert re.match(r"plan: 251 recipients .*: 100 today, 100 tomorrow, 51 on ", fresh)
    assert re.match(r"plan: 150 recipients .*, done in 2 d .*: 100 tomorrow, 50 on ", resumed)
    assert folder.accepted == 100


@pytest.mark.ses_emulator(account={"rate_per_s": 400, "daily_max": -1})
def test_of_standard_input_the_plan_knows_the_rate_alone(folder: Folder) -> None:
    content = "email\n" + "".join(f"user{n}@example.com\n" for n in range(300))
    ended = folder.send("--recipients", "-", stdin=content.encode())
    first = ended.err.splitlines()[0]
    assert first == "plan: at 400/s; the number of recipients is not known"


class Reader(io.StringIO):
    """Stops the engine when it has read of the daily quota."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def write(self, text: str) -> int:
        if "waiting for the daily quota: 100 of 100 are used" in text:
            self._engine.stop()
        return super().write(text)


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": 100})
async def test_the_eta_waits_for_the_daily_quota(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "LINE_S", 0.05)
    folder.write_list(250)
    mailing = Mailing(from_address="news@example.com", template="welcome")
    source = open_source(folder.path / "recipients.csv", Fields())
    expected = Remaining(estimate=await source.estimate())
    async with Engine.open() as engine, anyio.create_task_group() as tasks:
        out = Reader(engine)
        console = Console(file=out, force_terminal=False)
        tasks.start_soon(display.show, engine, console, expected)
        await engine.run(mailing, source)
        tasks.cancel_scope.cancel()
    assert re.search(r"ETA (2 days, 0:00|1 day, 23:\d\d):\d\d, ", out.getvalue().splitlines()[-1])


# --- more of --dry-run ----------------------------------------------------------------------------


def test_a_dry_run_tells_what_a_journal_has_left(folder: Folder) -> None:
    assert folder.send().code == 0
    ended = folder.run(*SEND, "--dry-run")
    assert "2 read, 0 to be sent" in ended.out
    assert folder.accepted == 2


# --- the other commands ---------------------------------------------------------------------------


def test_a_dry_run_sees_a_crashed_run_as_send_would(folder: Folder) -> None:
    folder.write_list(60)
    folder.emulator.faults.add(CallFault(fault="late", delay_s=60, nth=1))
    with folder.started("--set", "delivery.in_flight=1") as process:
        folder.until(process, accepted=50)
        process.kill()
        process.wait()
    planned = folder.send("--dry-run")
    assert "60 read, 10 to be sent" in planned.out
    assert "50 by an earlier run of this journal" in planned.out
    assert "60 read, 60 to be sent" in folder.send("--dry-run", *RESEND).out
    folder.write_list(59)
    changed = folder.send("--dry-run")
    assert (changed.code, "it has changed since" in changed.err) == (2, True)


RESEND = ("--set", "delivery.in_doubt=resend")


def test_the_demonstration_agrees_with_itself_and_its_hints_work(folder: Folder) -> None:
    for name in ("mailsluice-demo", "mailsluice-demo-2"):
        ended = folder.run("demo", "--recipients", "500")
        assert ended.code == 0
        assert "they agree" in ended.out
        _, _, following = ended.out.partition("what to try next")
        told = re.findall(r"^(?:python -m )?mailsluice (\w+.*?)  ", following, re.MULTILINE)
        assert [hint.split()[0] for hint in told] == ["status", "why", "export"]
        for hint in told:
            assert f" {name}/mailing.journal" in hint
            looked = folder.run(*hint.split())
            assert (looked.code, bool(looked.out)) == (0, True), hint


def test_a_demonstration_touches_no_folder_that_is_there(folder: Folder) -> None:
    ended = folder.run("demo", "--folder", ".")
    assert (ended.code, "name a folder that does not: --folder" in ended.err) == (2, True)
    ended = folder.run("demo", "--folder", "none/here")
    assert (ended.code, "the folder cannot be made" in ended.err) == (2, True)


def test_the_emulator_prints_its_environment_serves_and_ends_on_sigterm(folder: Folder) -> None:
    flags = ("--rate", "100", "--ledger", "ledger.ndjson")
    with folder.start("emulator", *flags) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline().decode() for _ in range(7)]
        environment: dict[str, str] = dict(
            line.removeprefix("export ").strip().split("=", 1) for line in printed
        )
        ended = folder.send(environment=environment)
        process.terminate()
        last = folder.end(process)
    assert (ended.code, last.code) == (0, 0)
    assert folder.report()["quota_rate_per_s"] == 100
    assert "1 calls: 2 recipients accepted" in last.out
    assert len((folder.path / "ledger.ndjson").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "flags", [("--rate", "0"), ("--latency", "soon"), ("--faults", "none.toml")]
)
def test_an_emulator_that_cannot_start_is_2(folder: Folder, flags: tuple[str, str]) -> None:
    ended = folder.run("emulator", *flags)
    assert ended.code == 2
    assert flags[0] in ended.err or flags[1] in ended.err


def test_the_installed_command_is_the_module(folder: Folder) -> None:
    script = Path(sys.executable).with_name("mailsluice")
    shown = subprocess.run([script, "--help"], capture_output=True, check=False)
    assert shown.returncode == 0
    assert b"resolve" in shown.stdout
    assert "resolve" in folder.run("--help").out


def test_a_dry_run_says_that_the_account_sends_nothing(folder: Folder) -> None:
    folder.write_list(3)
    folder.emulator.change_account(sending_enabled=False)
    ended = folder.send("--dry-run")
    assert "held        ACCOUNT_SENDING_PAUSED" in ended.out
    assert "done in" not in ended.out
