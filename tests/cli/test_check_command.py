"""`mailsluice check`, and the check with which `mailsluice send` begins."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from mailsluice.emulator import CallFault
from tests.support.waiting import NEVER_S

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

WELCOME = {"subject": "Welcome, {{name}}", "html": "<p>Dear {{name}} of {{city}}</p>"}
CHECK = ("check", "mailing.toml")

pytestmark = pytest.mark.ses_emulator(
    account={"rate_per_s": 5000, "daily_max": -1}, resources={"templates": {"welcome": WELCOME}}
)


@pytest.fixture(autouse=True)
def cities(folder: Folder) -> None:
    """Twenty rows, of which every other one lacks its city in a column of its own."""
    folder.write_list(0)
    rows = [f'{{"email": "user{n}@example.com", "name": "Name"{city(n)}}}' for n in range(20)]
    folder.write("list.ndjson", "\n".join(rows))
    folder.write_mailing("recipients.csv", "list.ndjson")


def city(number: int) -> str:
    return ', "city": "Lisbon"' if number % 2 else ""


def mend(folder: Folder) -> None:
    folder.write_mailing("[recipients]", 'data = { city = "Lisbon" }\n\n[recipients]')
    text = (folder.path / "mailing.toml").read_text(encoding="utf-8")
    folder.write("mailing.toml", text.replace("recipients.csv", "list.ndjson"))


def test_send_refuses_to_begin_if_rows_lack_a_variable(folder: Folder) -> None:
    ended = folder.send()
    assert ended.code == 2
    assert 'VARIABLE_MISSING: the template prints "city", which is missing in 10 rows' in ended.err
    assert "(rows 1, 3, 5, 7, 9, 11, 13, 15, 17, 19; html line 1)" in ended.err
    assert "--no-check" in ended.err
    assert folder.calls == 0
    mend(folder)
    assert folder.send().code == 0
    assert folder.accepted == 20


def test_without_the_check_they_are_sent_and_fail_silently(folder: Folder) -> None:
    ended = folder.send("--no-check")
    assert (ended.code, folder.accepted) == (0, 20)
    assert folder.counts() == {"read": 20, "sent": 20}
    failed = [each for each in folder.emulator.ledger.entries() if each.event != "Delivery"]
    assert len(failed) == 10


def test_check_says_what_is_wrong_and_exits_with_2_until_it_is_mended(folder: Folder) -> None:
    ended = folder.run(*CHECK)
    assert ended.code == 2
    assert "rows        20 read, 0 refused, 20 addresses" in ended.out
    assert "columns     address: email; template data: name, city" in ended.out
    assert 'row 1       user0@example.com: {"name":"Name"}' in ended.out
    assert "error   VARIABLE_MISSING" in ended.out
    assert "     -> fill the column" in ended.out
    assert "1 error and 2 warnings: `mailsluice send` will not begin" in ended.out
    mend(folder)
    ended = folder.run(*CHECK)
    assert ended.code == 0
    assert "warnings; nothing keeps it from being sent" in ended.out
    assert folder.calls == 0


def test_check_as_json(folder: Folder) -> None:
    ended = folder.run(*CHECK, "--json", "--rows", "5")
    assert ended.code == 2
    found: dict[str, Any] = orjson.loads(ended.out)
    first = found["findings"][0]
    assert (first["code"], first["level"]) == ("VARIABLE_MISSING", "error")
    assert first["remedy"]
    assert found["rows"] == {
        "read": 5,
        "accepted": 5,
        "refused": 0,
        "addresses": 5,
        "columns": ["name", "city"],
    }
    assert found["digest"] is None


@pytest.mark.parametrize("rows", ["0", "-1", "some", ""])
def test_how_many_rows_is_a_number_or_all(folder: Folder, rows: str) -> None:
    ended = folder.run(*CHECK, f"--rows={rows}")
    assert ended.code == 2
    assert "--rows" in ended.err


def test_offline_checks_without_credentials(folder: Folder) -> None:
    ended = folder.run(*CHECK, "--offline", environment=folder.NO_CREDENTIALS)
    assert ended.code == 0
    assert "rows        20 read" in ended.out
    both = folder.run(*CHECK, "--offline", "--live")
    assert both.code == 2
    assert "exclude each other" in both.err


def test_live_sends_one_mail_to_the_mailbox_simulator(folder: Folder) -> None:
    mend(folder)
    ended = folder.run(*CHECK, "--live")
    assert ended.code == 0
    assert "LIVE_SENT" in ended.out
    assert folder.accepted == 1


# --- approval -------------------------------------------------------------------------------------


def digest(folder: Folder) -> str:
    ended = folder.run(*CHECK, "--digest")
    assert ended.code == 0, ended
    line = next(line for line in ended.out.splitlines() if line.startswith("digest"))
    return line.split()[1]


def test_what_was_approved_is_sent(folder: Folder) -> None:
    mend(folder)
    approved = digest(folder)
    assert orjson.loads(folder.run(*CHECK, "--digest", "--json").out)["digest"] == approved
    assert folder.send("--approved", approved).code == 0
    assert folder.accepted == 20


def test_what_has_changed_since_its_approval_is_not_sent(folder: Folder) -> None:
    mend(folder)
    approved = digest(folder)

    def refused(what: str) -> None:
        ended = folder.send("--approved", approved)
        assert (ended.code, folder.calls) == (2, 0)
        assert f"this is not what was approved: {what} changed since" in ended.err

    folder.emulator.change_resources(templates={"welcome": {**WELCOME, "text": "{{name}}"}})
    refused("the template")
    folder.emulator.change_resources(templates={"welcome": WELCOME})
    before = (folder.path / "list.ndjson").read_text(encoding="utf-8")
    folder.write("list.ndjson", before.replace("user3@", "user33@"))
    refused("the list")
    folder.write("list.ndjson", before + '\n{"email": "more@example.com", "name": "More"}')
    refused("the list and the counts")
    folder.write("list.ndjson", before)
    text = (folder.path / "mailing.toml").read_text(encoding="utf-8")
    folder.write("mailing.toml", text.replace("Lisbon", "Porto"))
    refused("the mailing")
    folder.write("mailing.toml", text)
    assert folder.send("--approved", approved).code == 0


def test_a_pipe_cannot_be_approved(folder: Folder) -> None:
    mend(folder)
    content = (folder.path / "list.ndjson").read_bytes()
    ended = folder.run(*CHECK, "--digest", "--recipients", "-", stdin=content)
    assert ended.code == 2
    assert "there is no digest" in ended.err
    ended = folder.send("--approved", "0" * 64, "--recipients", "-", stdin=content)
    assert (ended.code, folder.calls) == (2, 0)
    assert "a list that is a file" in ended.err


@pytest.mark.parametrize("flags", [("--approved", "abc"), ("--approved", "0" * 64, "--no-check")])
def test_an_approval_that_cannot_be_meant_is_refused(
    folder: Folder, flags: tuple[str, ...]
) -> None:
    ended = folder.send(*flags)
    assert ended.code == 2
    assert "--approved" in ended.err


# --- what cannot be checked -----------------------------------------------------------------------


def test_the_rows_of_a_pipe_are_not_checked_which_is_said(folder: Folder) -> None:
    content = (folder.path / "list.ndjson").read_bytes()
    ended = folder.send("--recipients", "-", stdin=content)
    assert (ended.code, folder.accepted) == (0, 20)
    assert "info: ROWS_UNREAD: the list can be read only once" in ended.err


def test_sending_needs_no_permission_to_read(folder: Folder) -> None:
    operations = ["GetEmailIdentity", "GetEmailTemplate", "GetTenant"]
    folder.emulator.change_resources(denied=operations)
    ended = folder.send()
    assert (ended.code, folder.accepted) == (0, 20)
    assert "NOT_PERMITTED: these credentials may not call GetEmailIdentity" in ended.err
    assert "Traceback" not in ended.err
    assert folder.run("send", "mailing.toml", "--journal", "quiet.journal", "--quiet").err == ""


def test_a_template_without_variables_needs_no_look_at_the_list(folder: Folder) -> None:
    folder.emulator.change_resources(templates={"welcome": {"subject": "Hi", "text": "Hi"}})
    assert folder.send("--recipients", "-", stdin=b"email\nann@example.com\n").code == 0
    assert "ROWS_UNREAD" not in folder.send().err


def test_a_signal_during_the_check_stops_it(folder: Folder) -> None:
    folder.emulator.faults.add(
        CallFault(fault="late", delay_s=NEVER_S, operation="GetEmailTemplate")
    )
    with folder.started() as process:
        folder.until(process, reading_calls=1)
        process.send_signal(signal.SIGTERM)
        ended = folder.end(process)
    assert ended.code == 4, ended
    assert folder.calls == 0


def test_ses_that_gives_no_answer_in_time_keeps_nobody_from_sending(folder: Folder) -> None:
    folder.emulator.faults.add(
        CallFault(fault="late", delay_s=NEVER_S, operation="GetEmailTemplate")
    )
    ended = folder.send()
    assert (ended.code, folder.accepted) == (0, 20)
    assert "NOT_ANSWERED: GetEmailTemplate: no answer in time: not checked" in ended.err


def test_part_of_a_finished_run_is_sent_again_without_a_check(folder: Folder) -> None:
    folder.emulator.faults.add(CallFault(fault="lost", address="user4@*"))
    assert folder.send("--no-check", "--set", "delivery.max_attempts=1").code == 1
    assert folder.send("--only", "in_doubt").code in {0, 1}
