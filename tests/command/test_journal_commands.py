"""`mailsluice status`, `export` and `resolve`: during a run, after a crash, after the end."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from mailsluice.emulator import CallFault, EntryFault

if TYPE_CHECKING:
    from tests.command.conftest import Folder

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

COLUMNS = [
    *("seq", "key", "address", "to", "cc", "bcc", "state", "status", "message_id", "error"),
    *("attempts", "at"),
]


@pytest.fixture
def doubtful(folder: Folder) -> Folder:
    """Rows 1-50 are sent, rows 51-53 in doubt: SES has accepted them and did not say so."""
    folder.write_list(53)
    folder.emulator.faults.add(CallFault(fault="lost", address="user53@*", times=1))
    assert folder.send().code == 1
    assert folder.counts() == {"read": 53, "sent": 50, "in_doubt": 3}
    return folder


def status(folder: Folder) -> dict[str, Any]:
    ended = folder.run("status", "mailing.journal", "--json")
    assert (ended.code, ended.err) == (0, "")
    table: dict[str, Any] = orjson.loads(ended.out)
    folder.check_conserved(table["counts"])
    return table


def not_zero(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


# --- status ---------------------------------------------------------------------------------------


@pytest.mark.ses_emulator(account={"rate_per_s": 500, "daily_max": -1})
def test_status_tells_of_a_run_under_way_and_of_one_that_was_killed(folder: Folder) -> None:
    folder.write_list(2000)
    with folder.started() as process:
        folder.until(process, accepted=50)
        running = status(folder)
        process.kill()
        process.wait()
    assert (running["state"], running["source"]) == ("running", "recipients.csv")
    assert running["counts"]["read"] > 0
    killed = status(folder)
    assert (killed["state"], killed["hold"], killed["in_flight"]) == ("interrupted", None, 0)
    assert killed["counts"]["sent"] >= running["counts"]["sent"]
    assert killed["run"] == running["run"]


def test_status_counts_what_was_in_flight_when_a_process_was_killed_as_in_doubt(
    folder: Folder,
) -> None:
    folder.write_list(5)
    folder.emulator.faults.add(CallFault(fault="late", delay_s=60))
    with folder.started() as process:
        folder.until(process, accepted=5)
        assert status(folder)["in_flight"] == 5
        process.kill()
        process.wait()
    killed = status(folder)
    assert (killed["in_flight"], not_zero(killed["counts"])) == (0, {"read": 5, "in_doubt": 5})


@pytest.mark.ses_emulator(account={"rate_per_s": 5000}, templates=frozenset({"hello"}))
def test_status_says_why_a_run_is_held(folder: Folder) -> None:
    folder.write_list(2)
    assert folder.send().code == 3
    held = status(folder)
    assert ("held", folder.report()["hold"]) == (held["state"], held["hold"])
    assert f"hold        {held['hold']}" in folder.run("status", "mailing.journal").out


def test_status_is_readable_after_the_end(doubtful: Folder) -> None:
    ended = doubtful.run("status", "mailing.journal")
    assert (ended.code, ended.err) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert tuple(shown[name] for name in ("state", "hold", "calls", "in_flight")) == (
        "finished",
        "-",
        "2",
        "0",
    )
    assert tuple(shown[name] for name in ("read", "sent", "in_doubt")) == ("53", "50", "3")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", shown["last_record"])
    assert shown["begun"] <= shown["last_record"]


def test_status_of_a_journal_in_which_nothing_was_begun(folder: Folder) -> None:
    folder.emulator.change_account(sending_enabled=False)
    assert folder.send().code == 3
    table = status(folder)
    assert (table["state"], table["begun"], table["last_record"]) == ("not begun", None, None)
    folder.emulator.change_account(sending_enabled=True)
    folder.write("recipients.csv", "mail\nann@example.com\n")
    assert folder.send().code == 2
    assert status(folder)["state"] == "not begun"


@pytest.mark.parametrize("command", ["status", "export", "resolve"])
def test_a_journal_that_is_not_there_is_2(folder: Folder, command: str) -> None:
    flags = ["--in-doubt", "drop"] if command == "resolve" else []
    ended = folder.run(command, "none.journal", *flags)
    assert ended.code == 2
    assert "none.journal" in ended.err
    assert not (folder.path / "none.journal").exists()


@pytest.mark.parametrize("command", ["status", "export", "resolve"])
def test_a_file_that_is_no_journal_is_5(folder: Folder, command: str) -> None:
    flags = ["--in-doubt", "drop"] if command == "resolve" else []
    ended = folder.run(command, "mailing.toml", *flags)
    assert ended.code == 5
    assert "mailing.toml" in ended.err


# --- export ---------------------------------------------------------------------------------------


def test_export_writes_one_line_a_recipient_in_both_formats(folder: Folder) -> None:
    folder.write(
        "recipients.csv",
        "email,copy,id\nann@example.com,cat@example.com,1\nno-at-sign,,2\n"
        "ann@example.com,,3\nodd@example.com,,4\n",
    )
    folder.emulator.faults.add(EntryFault(status="MESSAGE_REJECTED", address="odd@*", error="Odd."))
    assert folder.send("--set", "recipients.cc=copy", "--set", "recipients.key=id").code == 1
    exported = folder.run("export", "mailing.journal")
    assert (exported.code, exported.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(exported.out)))
    assert list(rows[0]) == COLUMNS
    by_seq = {row["seq"]: row for row in rows}
    assert {seq: row["state"] for seq, row in by_seq.items()} == {
        "1": "sent",
        "2": "refused",
        "3": "duplicate",
        "4": "rejected",
    }
    (accepted,) = folder.emulator.ledger.entries()
    ann = by_seq["1"]
    assert ("1", "ann@example.com", "cat@example.com", "SUCCESS", accepted.message_id, "1") == (
        *(ann["key"], ann["to"], ann["cc"], ann["status"], ann["message_id"], ann["attempts"]),
    )
    odd = by_seq["4"]
    assert (odd["status"], odd["error"], odd["message_id"]) == ("MESSAGE_REJECTED", "Odd.", "")
    ndjson = folder.run("export", "mailing.journal", "--format", "ndjson").out.splitlines()
    objects = [orjson.loads(line) for line in ndjson]
    assert list(objects[0]) == COLUMNS
    assert rows == [
        {name: "" if value is None else str(value) for name, value in each.items()}
        for each in objects
    ]


def test_export_of_one_state_leaves_the_others_out(folder: Folder) -> None:
    folder.write_list(["ann@example.com", "no-at-sign", "also none"])
    assert folder.send().code == 1
    out = folder.run("export", "mailing.journal", "--state", "refused").out
    assert [row["seq"] for row in csv.DictReader(io.StringIO(out))] == ["2", "3"]
    assert folder.run("export", "mailing.journal", "--state", "lost").code == 2


def test_export_into_a_pipe_that_closes_ends_quietly(folder: Folder) -> None:
    folder.write_list(5000)
    assert folder.send().code == 0
    with folder.start("export", "mailing.journal") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"seq,key,address")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.ses_emulator(account={"rate_per_s": 300, "daily_max": -1})
def test_export_during_a_run_says_what_is_pending_and_who_is_in_flight(folder: Folder) -> None:
    folder.write_list(1000)
    with folder.started() as process:
        folder.until(process, accepted=50)
        out = folder.run("export", "mailing.journal").out
    states = [row["state"] for row in csv.DictReader(io.StringIO(out))]
    assert {"sent", "pending"} <= set(states) <= {"sent", "pending", "in_doubt"}


# --- resolve --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "state", "code"), [("sent", "sent", 0), ("drop", "failed", 1)]
)
def test_resolving_settles_all_that_is_in_doubt(
    doubtful: Folder, decision: str, state: str, code: int
) -> None:
    ended = doubtful.run("resolve", "mailing.journal", "--in-doubt", decision)
    assert (0, f"3 recipients resolved: {decision}\n", "") == ended
    resolved = {line.seq: line for line in doubtful.lines() if line.seq > 50}
    assert {state} == {line.state for line in resolved.values()}
    assert {("RESOLVED", f"resolved by an operator: {decision}")} == {
        (line.status, line.error) for line in resolved.values()
    }
    assert code == doubtful.send().code
    assert doubtful.accepted == 53
    again = doubtful.run("resolve", "mailing.journal", "--in-doubt", "resend")
    assert again == (0, "0 recipients resolved: resend\n", "")


def test_what_is_resolved_to_be_sent_again_is_sent_by_the_next_send(doubtful: Folder) -> None:
    assert doubtful.run("resolve", "mailing.journal", "--in-doubt", "resend").code == 0
    reopened = status(doubtful)
    assert not_zero(reopened["counts"]) == {"read": 53, "sent": 50, "pending": 3}
    assert reopened["state"] != "finished"
    assert doubtful.send().code == 0
    assert doubtful.counts() == {"read": 53, "sent": 53}
    audit = doubtful.audit()
    assert (audit.duplicated, audit.lost, audit.unexplained) == ((51, 52, 53), (), ())
    assert {2} == {line.attempts for line in doubtful.lines() if line.seq > 50}
    assert status(doubtful)["state"] == "finished"


def test_rows_are_resolved_one_by_one(doubtful: Folder) -> None:
    resolve = ("resolve", "mailing.journal", "--in-doubt")
    assert doubtful.run(*resolve, "sent", "--seq", "51").code == 0
    assert doubtful.run(*resolve, "resend", "--seq", "52", "--seq", "52").code == 0
    assert not_zero(status(doubtful)["counts"]) == {
        "read": 53,
        "sent": 51,
        "pending": 1,
        "in_doubt": 1,
    }
    assert doubtful.send().code == 1
    assert doubtful.counts() == {"read": 53, "sent": 52, "in_doubt": 1}
    assert doubtful.audit().duplicated == (52,)


@pytest.mark.parametrize("others", [(), ("--seq", "51")])
def test_a_row_that_is_not_in_doubt_is_refused_and_nothing_is_resolved(
    doubtful: Folder, others: tuple[str, ...]
) -> None:
    ended = doubtful.run(
        "resolve", "mailing.journal", "--in-doubt", "resend", *others, "--seq", "7"
    )
    assert ended.code == 2
    assert "row 7 is not in doubt" in ended.err
    assert status(doubtful)["counts"]["in_doubt"] == 3


def test_what_a_killed_process_left_in_flight_can_be_resolved_but_not_while_it_runs(
    folder: Folder,
) -> None:
    folder.write_list(5)
    folder.emulator.faults.add(CallFault(fault="late", delay_s=60))
    resolve = ("resolve", "mailing.journal", "--in-doubt", "sent")
    with folder.started() as process:
        folder.until(process, accepted=5)
        meanwhile = folder.run(*resolve)
        process.kill()
        process.wait()
    assert meanwhile.code == 5
    assert "another process is using this journal" in meanwhile.err
    assert folder.run(*resolve).out == "5 recipients resolved: sent\n"
    assert folder.send().code == 0
    assert (folder.accepted, folder.counts()) == (5, {"read": 5, "sent": 5})
