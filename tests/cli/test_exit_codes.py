"""The exit codes of `mailsluice send`, each by its real causes."""

from __future__ import annotations

import gzip
import os
import re
import socket
import sqlite3
from typing import TYPE_CHECKING

import pytest

from mailsluice.emulator import CallFault, EntryFault
from mailsluice.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

SEND = ("send", "mailing.toml")


# --- 0 and 1: finished ----------------------------------------------------------------------------


def test_a_mailing_to_good_addresses_is_sent_and_exits_with_0(folder: Folder) -> None:
    ended = folder.run(*SEND)
    assert ended.code == 0
    assert re.fullmatch(r"plan: 2 recipients at 5,000/s in about 1 call, .*\n", ended.err)
    assert re.search(r"^finished$", ended.out, re.MULTILINE)
    assert re.search(r"^sent +2$", ended.out, re.MULTILINE)
    assert folder.emulator.ledger.by_address() == {"ann@example.com": 1, "bob@example.com": 1}
    assert folder.audit().agree


def test_duplicates_alone_are_no_failure(folder: Folder) -> None:
    folder.write_list(["ann@example.com", "Ann@example.com"])
    assert folder.send().code == 0
    assert folder.counts() == {"read": 2, "sent": 1, "duplicate": 1}


@pytest.mark.parametrize(
    ("state", "address", "fault"),
    [
        ("refused", "no-at-sign", None),
        ("rejected", "odd@example.com", EntryFault(status="MESSAGE_REJECTED", address="odd@*")),
        ("failed", "odd@example.com", EntryFault(status="TRANSIENT_FAILURE", address="odd@*")),
        ("in_doubt", "odd@example.com", CallFault(fault="lost", address="odd@*")),
    ],
)
def test_a_recipient_that_is_not_sent_makes_it_1(
    folder: Folder, state: str, address: str, fault: EntryFault | CallFault | None
) -> None:
    folder.write_list([address])
    if fault:
        folder.emulator.faults.add(fault)
    assert folder.send("--set", "delivery.max_attempts=1").code == 1
    assert folder.counts() == {"read": 1, state: 1}
    assert folder.states() == {address: state}
    assert folder.audit().agree


def test_a_finished_journal_is_never_sent_again(folder: Folder) -> None:
    folder.write_list(["ann@example.com", "no-at-sign"])
    assert folder.send().code == 1
    before = folder.emulator.statistics().requests
    assert folder.send().code == 1
    assert folder.emulator.statistics().requests == before
    assert (folder.report()["calls"], folder.report()["state"]) == (0, "finished")
    assert folder.counts() == {"read": 2, "sent": 1, "refused": 1}


# --- 2: nothing can be sent like this -------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["send"], "Missing argument"),
        ([*SEND, "--frobnicate"], "--frobnicate"),
        (["send", "none.toml"], "none.toml: there is no such file\n"),
        (["send", "mailing"], "mailing: there is no such file; did you mean mailing.toml?"),
        (["send", "."], "cannot be read"),
        (["send", "recipients.csv"], "a list of recipients goes to --recipients"),
        ([*SEND, "recipients.csv"], "recipients.csv; a list of recipients goes to"),
        ([*SEND, "--only", "failed"], "send without --only first"),
        ([*SEND, "--set", "quota.rat=5"], '--set quota.rat: unknown key; did you mean "rate"?'),
        ([*SEND, "--set", "quota"], "write it as table.key=value"),
        ([*SEND, "--set", "quota.rate=-1"], "--set quota.rate"),
        ([*SEND, "--set", "ses.profile=nobody"], "nobody"),
        ([*SEND, "--recipients", "none.csv"], "none.csv cannot be read"),
        ([*SEND, "--recipients", "mailing.toml"], "is no known format"),
        ([*SEND, "--recipients", "-"], "standard input is empty"),
        ([*SEND, "--report", "none/report.json"], "none/report.json"),
        ([*SEND, "--report", "."], "the report cannot be written"),
        ([*SEND, "--dry-run", "--set", "recipients.address=mail"], 'no column is called "mail"'),
    ],
)
def test_bad_usage_is_2_and_nothing_is_sent(
    folder: Folder, arguments: list[str], complaint: str
) -> None:
    ended = folder.run(*arguments)
    assert ended.code == 2
    assert complaint in ended.err
    assert (folder.calls, folder.accepted) == (0, 0)


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ('template = "welcome"', 'templat = "welcome"', "mailing.toml: [mailing] templat"),
        ('from = "News <news@example.com>"', "", "mailing.toml: [mailing] from: it is missing"),
        ("[mailing]", "[maling]", 'mailing.toml: [maling]: unknown key; did you mean "mailing"?'),
        ('path = "recipients.csv"', "", "mailing.toml: no recipients: set [recipients] path"),
        ('path = "recipients.csv"', 'path = "none.csv"', "none.csv cannot be read"),
    ],
)
def test_a_mailing_file_that_cannot_be_used_is_2(
    folder: Folder, was: str, becomes: str, complaint: str
) -> None:
    folder.write_mailing(was, becomes)
    ended = folder.run(*SEND)
    assert ended.code == 2
    assert complaint in ended.err
    assert folder.calls == 0
    assert not folder.journal.exists()


def test_no_credentials_anywhere_is_2(folder: Folder) -> None:
    ended = folder.run(*SEND, environment=folder.NO_CREDENTIALS)
    assert ended.code == 2
    assert "no AWS credentials" in ended.err
    assert "AWS_ACCESS_KEY_ID" in ended.err
    assert folder.emulator.statistics().requests == 0


def test_a_rate_that_nobody_can_tell_is_2_and_giving_it_is_the_remedy(folder: Folder) -> None:
    denied = CallFault(fault="error", code="AccessDeniedException", operation="GetAccount")
    folder.emulator.faults.add(denied)
    ended = folder.run(*SEND)
    assert ended.code == 2
    assert "--set quota.rate=" in ended.err
    assert folder.run(*SEND, "--set", "quota.rate=100").code == 0


def test_a_bad_value_in_the_environment_is_2(folder: Folder) -> None:
    ended = folder.run(*SEND, environment={"MAILSLUICE_QUOTA__SHARE": "2"})
    assert ended.code == 2
    assert "environment: MAILSLUICE_QUOTA__SHARE: " in ended.err


def test_a_header_that_is_mended_is_sent_by_the_same_command(folder: Folder) -> None:
    folder.write("recipients.csv", "contact\nann@example.com\n")
    ended = folder.send()
    assert ended.code == 2
    assert '[recipients] address = "..."' in ended.err
    folder.write("recipients.csv", "email\nann@example.com\n")
    assert folder.send().code == 0
    assert folder.emulator.ledger.by_address() == {"ann@example.com": 1}


def test_a_list_that_was_empty_is_sent_by_the_same_command_once_it_is_not(folder: Folder) -> None:
    folder.write_list([])
    assert folder.send().code == 0
    assert folder.counts() == {}
    folder.write_list(["ann@example.com"])
    assert folder.send().code == 0
    assert folder.emulator.ledger.by_address() == {"ann@example.com": 1}


def test_a_source_that_has_changed_is_2_and_says_what_to_do(folder: Folder) -> None:
    folder.emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="bob@*"))
    assert folder.send().code == 3
    folder.write_list(["cat@example.com"])
    ended = folder.run(*SEND)
    assert ended.code == 2
    assert "it has changed since mailing.journal began" in ended.err
    assert "another --journal mails everybody on it again" in ended.err
    assert folder.accepted == 1
    assert folder.run(*SEND, "--journal", "new.journal").code == 0
    assert folder.accepted == 2


# --- 3: held --------------------------------------------------------------------------------------


@pytest.mark.ses_emulator(account={"rate_per_s": 5000}, resources={"templates": ["hello"]})
def test_a_missing_template_is_3_and_the_next_run_finishes(folder: Folder) -> None:
    assert folder.send().code == 2
    ended = folder.send("--no-check")
    assert ended.code == 3
    report = folder.report()
    assert (report["state"], folder.accepted) == ("held", 0)
    assert "TEMPLATE" in report["hold"]
    assert report["hold"] in ended.out
    assert folder.counts() == {"read": 2, "pending": 2}
    folder.write_mailing("welcome", "hello")
    ended = folder.send()
    assert (ended.code, folder.report()["state"]) == (0, "finished")
    assert "the mailing has changed since this run began" in ended.err
    assert folder.audit().agree


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "sending_enabled": False})
def test_an_account_paused_at_the_start_is_3_and_the_list_may_still_change(folder: Folder) -> None:
    assert folder.send().code == 3
    assert "ACCOUNT_SENDING_PAUSED" in folder.report()["hold"]
    assert folder.calls == 0
    folder.emulator.change_account(sending_enabled=True)
    folder.write_list(3)
    assert folder.send().code == 0
    assert folder.counts() == {"read": 3, "sent": 3}


@pytest.mark.ses_emulator(account={"rate_per_s": 1000, "daily_max": -1})
def test_an_account_paused_during_the_run_is_3_and_the_next_run_finishes(folder: Folder) -> None:
    folder.write_list(600)
    with folder.started() as process:
        folder.until(process, accepted=100)
        folder.emulator.change_account(sending_enabled=False)
        ended = folder.end(process)
    assert ended.code == 3
    assert "ACCOUNT_SENDING_PAUSED" in folder.report()["hold"]
    assert folder.counts().keys() == {"read", "sent", "pending"}
    assert folder.counts()["sent"] == folder.accepted
    folder.emulator.change_account(sending_enabled=True)
    assert folder.send().code == 0
    assert folder.counts() == {"read": 600, "sent": 600}
    assert folder.audit().agree


def test_a_wrong_secret_key_is_3(folder: Folder) -> None:
    assert folder.send(environment={"AWS_SECRET_ACCESS_KEY": "wrong"}).code == 3
    assert "InvalidSignatureException" in folder.report()["hold"]
    assert folder.calls == 0


def test_an_endpoint_that_refuses_connections_is_3(folder: Folder) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        ended = folder.send(environment={"AWS_ENDPOINT_URL_SESV2": url})
    assert ended.code == 3
    assert "SES cannot be reached" in ended.out


def test_what_ses_says_is_shown_as_it_is(folder: Folder) -> None:
    said = "[red]stop[/] see [/docs] " + "and so on " * 20
    paused = CallFault(fault="error", code="SendingPausedException", message=said)
    folder.emulator.faults.add(paused)
    ended = folder.send()
    assert ended.code == 3
    assert f"held: SendingPausedException: {said}" in ended.out


def test_a_list_that_breaks_off_is_3_and_what_came_before_is_sent(folder: Folder) -> None:
    rows = "".join(f"user{n}@example.com\n" for n in range(20_000))
    packed = gzip.compress(f"email\n{rows}".encode())
    (folder.path / "list.csv.gz").write_bytes(packed[: len(packed) // 2])
    ended = folder.send("--recipients", "list.csv.gz", "--set", "quota.rate=1e6")
    assert ended.code == 3
    assert "SOURCE_BROKEN: list.csv.gz" in folder.report()["hold"]
    assert 0 < folder.accepted == folder.counts()["sent"]
    assert folder.counts().get("pending", 0) == 0


# --- 5: the journal -------------------------------------------------------------------------------


def test_a_journal_that_another_process_writes_is_5(folder: Folder) -> None:
    other = SqliteJournal.open(folder.journal)
    try:
        ended = folder.run(*SEND)
    finally:
        other.close()
    assert ended.code == 5
    assert "another process is using this journal" in ended.err
    assert folder.calls == 0


@pytest.mark.parametrize(
    "journal", ["none/mailing.journal", "recipients.csv/mailing.journal", ".", "recipients.csv"]
)
def test_a_journal_that_cannot_be_is_5(folder: Folder, journal: str) -> None:
    before = (folder.path / "recipients.csv").read_bytes()
    ended = folder.run(*SEND, "--journal", journal)
    assert ended.code == 5
    assert ended.err.startswith("mailsluice: ")
    assert journal in ended.err
    assert folder.calls == 0
    assert (folder.path / "recipients.csv").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_is_read_only_is_5(folder: Folder) -> None:
    (folder.path / "closed").mkdir(mode=0o500)
    assert folder.run(*SEND, "--journal", "closed/mailing.journal").code == 5
    assert folder.calls == 0


def test_another_program_s_database_is_5_and_stays_as_it_is(folder: Folder) -> None:
    path = folder.path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    ended = folder.run(*SEND, "--journal", "other.db")
    assert ended.code == 5
    assert "this is not a mailsluice journal" in ended.err
    assert folder.calls == 0
    assert path.read_bytes() == before


@pytest.mark.ses_emulator(account={"rate_per_s": 50_000, "daily_max": -1})
def test_a_disk_that_is_full_is_5_and_the_next_run_accounts_for_everybody(folder: Folder) -> None:
    folder.write_list(20_000)
    ended = folder.send(file_kib_max=1024)
    assert ended.code == 5
    assert "mailing.journal" in ended.err
    assert 0 < folder.accepted < 20_000
    assert folder.send().code in {0, 1}
    audit = folder.audit()
    assert audit.agree
    counts = folder.counts()
    assert counts["sent"] + counts.get("in_doubt", 0) == 20_000
    assert audit.accepted == counts["sent"] + audit.delivered_in_doubt
