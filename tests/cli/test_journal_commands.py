"""`mailsluice status`, `export` and `resolve`: during a run, after a crash, after the end."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from mailsluice.emulator import CallFault, EntryFault
from mailsluice.sources.blocks import BLOCK_BYTES

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

ASKED_MAX = 200
"""Each takes a tenth of a second and more."""

SCREEN_LINES = 25
SCREEN_COLUMNS = 80

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


@pytest.mark.ses_emulator(account={"rate_per_s": 5000}, resources={"templates": ["hello"]})
def test_status_says_why_a_run_is_held(folder: Folder) -> None:
    folder.write_list(2)
    assert folder.send("--no-check").code == 3
    held = status(folder)
    assert ("held", folder.report()["hold"]) == (held["state"], held["hold"])
    assert "create the template" in held["next"]
    shown = " ".join(folder.run("status", "mailing.journal").out.split())
    assert shown.startswith(f"held {held['hold']}")
    assert f"next {held['next']}" in shown


def list_bytes(folder: Folder) -> int:
    return (folder.path / "recipients.csv").stat().st_size


def test_status_is_readable_after_the_end(doubtful: Folder) -> None:
    ended = doubtful.run("status", "mailing.journal")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "finished"
    shown = {line[:14].strip(): line[14:].split() for line in lines}
    assert list(shown)[:4] == ["finished", "read", "sent", "in doubt"]
    assert [shown[name] for name in ("read", "sent", "in doubt")] == [
        ["53"],
        ["50", "94.3%"],
        ["3", "5.7%"],
    ]
    assert "rejected" not in shown
    assert shown["in doubt are"] == ["rows", "51,", "52,", "53"]
    assert shown["calls"] == ["2"]
    assert shown["answers"] == ["50", "SUCCESS,", "3", "NO_ANSWER"]
    assert "--in-doubt sent|resend|drop" in ended.out
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", " ".join(shown["last record"]))
    size = f"{list_bytes(doubtful):,}"
    assert shown["list"] == ["recipients.csv,", size, "bytes,", "100%", "read"]
    assert len(ended.out.splitlines()) <= SCREEN_LINES
    assert max(map(len, ended.out.splitlines())) <= SCREEN_COLUMNS


def test_status_says_how_large_the_list_is_and_how_much_of_it_was_read(folder: Folder) -> None:
    folder.write_list(100_000)
    folder.emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", times=1))
    assert folder.send().code == 3
    held = status(folder)
    assert held["source_bytes"] == list_bytes(folder)
    lines = (folder.path / "recipients.csv").read_bytes().splitlines(keepends=True)
    taken = sum(map(len, lines[: held["counts"]["read"] + 1]))
    ahead = held["source_read"] * list_bytes(folder) - taken
    rounding = list_bytes(folder) * 1e-4
    assert -rounding <= ahead <= BLOCK_BYTES + rounding  # a block is read as a whole
    assert 0 < held["source_read"] < 1
    assert f"bytes, {held['source_read']:.0%} read" in folder.run("status", "mailing.journal").out


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": 10})
def test_status_says_what_a_run_under_way_waits_for(folder: Folder) -> None:
    folder.write_list(25)
    with folder.started() as process:
        folder.until(process, accepted=10)
        waiting = wait_for_status(folder, "waiting_for")
    assert waiting["state"] == "running"
    assert waiting["waiting_for"].startswith("the daily quota: 10 of 10 are used; it goes on at 2")
    assert waiting["begun"] <= waiting["waiting_since"]
    assert waiting["next"] is None
    killed = status(folder)
    assert (killed["state"], killed["waiting_for"]) == ("interrupted", None)
    assert "carries on" in killed["next"]


def wait_for_status(folder: Folder, name: str) -> dict[str, Any]:
    """Ask until it says something of that name: it is another process that will."""
    for _ in range(ASKED_MAX):
        if (table := status(folder))[name] is not None:
            return table
    raise AssertionError(f"status never said {name}")


def test_status_of_a_journal_in_which_nothing_was_begun(folder: Folder) -> None:
    folder.emulator.change_account(sending_enabled=False)
    assert folder.send().code == 3
    table = status(folder)
    assert (table["state"], table["begun"]) == ("held", None)
    assert table["hold"] == folder.report()["hold"]
    assert table["hold"].startswith("ACCOUNT_SENDING_PAUSED")
    assert "--sending-enabled" in table["next"]
    folder.emulator.change_account(sending_enabled=True)
    folder.write("recipients.csv", "contact\nann@example.com\n")
    assert folder.send().code == 2
    assert status(folder)["state"] == "not begun"
    folder.emulator.change_account(sending_enabled=False)
    folder.write("recipients.csv", "email\nann@example.com\n")
    assert folder.send().code == 3
    assert status(folder)["hold"].startswith("ACCOUNT_SENDING_PAUSED")


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
    assert "name the one that `send` has written" in ended.err


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


def test_export_defuses_formulas_unless_told_otherwise(folder: Folder) -> None:
    folder.write_list(["=a@example.com", "+b@example.com"])
    assert folder.send().code == 0
    assert "'=a@example.com" in folder.run("export", "mailing.journal").out
    raw = folder.run("export", "mailing.journal", "--raw").out
    assert ",=a@example.com" in raw
    assert "'" not in raw


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
    ended = doubtful.run("resolve", "mailing.journal", "--in-doubt", decision, "--all")
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


def test_an_operator_s_reason_is_in_the_journal(doubtful: Folder) -> None:
    reason = ("--reason", "SES's events show them")
    assert doubtful.run("resolve", "mailing.journal", "--in-doubt", "sent", *reason).code == 0
    (line,) = [line for line in doubtful.lines() if line.seq == 52]
    assert line.error == "resolved by an operator: sent (SES's events show them)"


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


# --- send --only ----------------------------------------------------------------------------------


@pytest.fixture
def partly(folder: Folder) -> Folder:
    """Rows 1-40 are sent but for row 7, which failed, and row 8, which was rejected."""
    folder.write_list(40)
    folder.emulator.faults.add(
        EntryFault(status="FAILED", address="user7@*", times=3),
        EntryFault(status="MESSAGE_REJECTED", address="user8@*", times=1),
    )
    assert folder.send().code == 1
    assert folder.counts() == {"read": 40, "sent": 38, "failed": 1, "rejected": 1}
    return folder


def test_a_part_of_a_finished_run_is_sent_once_more(partly: Folder) -> None:
    assert partly.send("--only", "failed").code == 1
    assert partly.counts() == {"read": 40, "sent": 39, "rejected": 1}
    assert partly.send("--only", "rejected").code == 0
    assert partly.counts() == {"read": 40, "sent": 40}
    assert partly.audit().agree
    assert partly.audit().accepted == 40
    assert {line.seq: line.attempts for line in partly.lines() if line.attempts > 1} == {7: 4, 8: 2}
    # The same again: nobody is left to whom it applies.
    assert partly.send("--only", "failed").code == 0
    assert partly.report()["calls"] == 0


def test_what_is_in_doubt_can_be_sent_once_more_and_the_journal_says_so(doubtful: Folder) -> None:
    assert doubtful.send("--only", "in-doubt").code == 0
    assert doubtful.counts() == {"read": 53, "sent": 53}
    assert doubtful.audit().duplicated == (51, 52, 53)
    told = doubtful.run("why", "mailing.journal", "user52@example.com").out
    assert "pending: RESOLVED: to be sent once more: --only in-doubt" in told


def test_what_an_operator_dropped_is_never_sent_again(doubtful: Folder) -> None:
    assert doubtful.run("resolve", "mailing.journal", "--in-doubt", "drop", "--all").code == 0
    assert doubtful.send("--only", "failed").code == 1
    assert (doubtful.accepted, doubtful.counts()["failed"]) == (53, 3)


def test_a_part_that_was_interrupted_is_carried_on_and_not_begun_anew(partly: Folder) -> None:
    partly.emulator.faults.clear()
    partly.emulator.faults.add(CallFault(fault="late", delay_s=60, times=1))
    with partly.started("--only", "failed") as process:
        partly.until(process, accepted=39)
        process.kill()
        process.wait()
    refused = partly.send("--only", "rejected")
    assert (refused.code, "finish it first" in refused.err) == (2, True)
    table = status(partly)
    assert (table["state"], table["only"]) == ("interrupted", "failed")
    assert partly.send("--only", "failed").code == 1
    assert partly.counts() == {"read": 40, "sent": 38, "rejected": 1, "in_doubt": 1}
    assert partly.audit().agree


def test_what_has_failed_once_more_is_not_reopened_by_carrying_on(folder: Folder) -> None:
    folder.write_list(["ann@example.com", "bob@example.com"])
    # One recipient a call, one attempt each: the second call hangs when the first has failed.
    flags = ("--set", "delivery.max_attempts=1", "--set", "quota.rate=1")
    folder.emulator.faults.add(EntryFault(status="FAILED"))
    assert folder.send(*flags).code == 1
    folder.emulator.faults.clear()
    folder.emulator.faults.add(
        EntryFault(status="FAILED", address="ann@*"), CallFault(fault="late", delay_s=60, nth=2)
    )
    with folder.started("--only", "failed", *flags) as process:
        folder.until(process, accepted=1)
        process.kill()
        process.wait()
    assert folder.send("--only", "failed", *flags).code == 1
    assert folder.report()["calls"] == 0
    assert folder.counts() == {"read": 2, "failed": 1, "in_doubt": 1}


@pytest.mark.parametrize("part", ["failed", "rejected", "in-doubt"])
def test_a_part_of_a_run_that_is_not_finished_is_2(folder: Folder, part: str) -> None:
    ended = folder.send("--only", part)
    assert (ended.code, "no such journal" in ended.err) == (2, True)
    assert not folder.journal.exists()
    folder.emulator.faults.add(EntryFault(status="TEMPLATE_NOT_FOUND"))
    assert folder.send().code == 3
    ended = folder.send("--only", part)
    assert (ended.code, "finish it first" in ended.err) == (2, True)
    assert folder.accepted == 0


def test_a_dry_run_of_a_part_counts_that_part(partly: Folder) -> None:
    planned = partly.send("--only", "failed", "--dry-run")
    assert (planned.code, "40 read, 1 to be sent" in planned.out) == (0, True)
    assert partly.accepted == 38


# --- why ------------------------------------------------------------------------------------------


def test_why_tells_every_attempt_with_its_wait_and_answer(partly: Folder) -> None:
    assert partly.send("--only", "failed").code == 1
    told = partly.run("why", "mailing.journal", "USER7@Example.com")
    assert (told.code, told.err) == (0, "")
    assert len(re.findall(r"attempt \d, after \d+\.\d{3} s: batch \d+ of \d+", told.out)) == 4
    assert told.out.splitlines()[-1].strip() == "sent"
    (row,) = map(orjson.loads, why(partly, "user7@example.com"))
    assert (row["seq"], row["to"], row["state"]) == (7, ["user7@example.com"], "sent")
    attempts = [event for event in row["events"] if "batch" in event]
    assert [each["status"] for each in attempts] == ["FAILED"] * 3 + ["SUCCESS"]
    assert [each["state"] for each in attempts] == ["pending", "pending", "failed", "sent"]
    assert [each["recipients"] for each in attempts] == [40, 1, 1, 1]
    assert all(each["answered_at"] >= each["at"] for each in attempts)
    assert attempts[1]["waited_s"] >= 0.5, "the first back-off is half a second at least"
    ids = {each.message_id for each in partly.emulator.ledger.entries()}
    assert attempts[3]["message_id"] in ids
    (decision,) = [event for event in row["events"] if "batch" not in event]
    assert decision["reason"] == "to be sent once more: --only failed"


def why(folder: Folder, address: str) -> list[str]:
    ended = folder.run("why", "mailing.journal", address, "--json")
    assert (ended.code, ended.err) == (0, "")
    return ended.out.splitlines()


def test_why_knows_the_refused_the_duplicate_and_every_kind_of_address(folder: Folder) -> None:
    folder.write(
        "recipients.csv",
        "email,copy\nann@example.com,Bob <bob@example.com>\nzoë@example.com,\nann@EXAMPLE.com,\n",
    )
    assert folder.send("--set", "recipients.cc=copy").code == 1
    rows = [orjson.loads(line) for line in why(folder, "ann@example.com")]
    assert [(row["seq"], row["state"]) for row in rows] == [(1, "sent"), (3, "duplicate")]
    (row,) = map(orjson.loads, why(folder, "bob@example.com"))
    assert (row["seq"], row["cc"]) == (1, ["Bob <bob@example.com>"])
    (row,) = map(orjson.loads, why(folder, "zoë@example.com"))
    assert (row["state"], "SMTPUTF8" in row["reason"]) == ("refused", True)


def test_why_says_that_an_address_is_not_known_and_exits_with_1(partly: Folder) -> None:
    ended = partly.run("why", "mailing.journal", "nobody@example.com")
    assert (ended.code, ended.out) == (1, "")
    assert "no row with this address" in ended.err


def test_why_tells_of_a_call_under_way_and_of_one_that_nobody_waits_for(folder: Folder) -> None:
    folder.emulator.faults.add(CallFault(fault="late", delay_s=60))
    with folder.started() as process:
        folder.until(process, accepted=2)
        running = folder.run("why", "mailing.journal", "ann@example.com").out
        process.kill()
        process.wait()
    assert running.splitlines()[-1].strip() == "in flight"
    killed = folder.run("why", "mailing.journal", "ann@example.com").out
    assert killed.splitlines()[-1].strip() == "in_doubt"
    assert "no answer recorded" in killed


def test_export_of_a_damaged_journal_writes_what_can_be_trusted(doubtful: Folder) -> None:
    journal = sqlite3.connect(doubtful.path / "mailing.journal")
    last = journal.execute("SELECT max(id) FROM record").fetchone()[0]
    journal.execute("UPDATE record SET at = at + 1 WHERE id = ?", (last,))
    journal.commit()
    journal.close()
    ended = doubtful.run("export", "mailing.journal")
    assert ended.code == 5
    assert f"record {last} is not what was written" in ended.err
    assert len(ended.out.splitlines()) == 51, "the header, and the 50 that are settled for good"


def test_what_was_dropped_is_not_offered_again(doubtful: Folder) -> None:
    assert doubtful.run("resolve", "mailing.journal", "--in-doubt", "drop", "--all").code == 0
    assert status(doubtful)["next"] is None


def test_why_finds_a_duplicate_as_it_was_written(folder: Folder) -> None:
    folder.write("recipients.csv", "email\nu@xn--bcher-kva.example\nu@BÜCHER.example\n")
    assert folder.send().code == 0
    told = folder.run("why", "mailing.journal", "u@bücher.example", "--json").out
    assert [orjson.loads(line)["seq"] for line in told.splitlines()] == [1, 2]


# --- resolve: which ones --------------------------------------------------------------------------


def resolve(folder: Folder, *flags: str) -> int:
    return folder.run("resolve", "mailing.journal", "--in-doubt", *flags).code


def test_dropping_all_needs_a_word_where_nobody_can_be_asked(doubtful: Folder) -> None:
    ended = doubtful.run("resolve", "mailing.journal", "--in-doubt", "drop")
    assert ended.code == 2
    assert "--all" in ended.err
    assert not_zero(status(doubtful)["counts"]) == {"read": 53, "sent": 50, "in_doubt": 3}
    assert resolve(doubtful, "drop", "--all", "--seq", "51") == 2
    assert resolve(doubtful, "drop", "--all") == 0
    assert not_zero(status(doubtful)["counts"]) == {"read": 53, "sent": 50, "failed": 3}


def test_doubts_are_resolved_by_row_address_and_key(folder: Folder) -> None:
    folder.write_mailing("[recipients]\n", '[recipients]\nkey = "name"\n')
    rows = "".join(f"user{n}@example.com,key-{n}\n" for n in range(1, 6))
    folder.write("recipients.csv", f"email,name\n{rows}")
    folder.emulator.faults.add(CallFault(fault="lost", times=1))
    assert folder.send().code == 1
    flags = ["--seq", "1", "--address", "News <USER3@example.com>", "--key", "key-4"]
    assert resolve(folder, "drop", *flags) == 0
    assert [line.state for line in sorted(folder.lines())] == [
        *("failed", "in_doubt", "failed", "failed", "in_doubt"),
    ]
    ended = folder.run(
        "resolve", "mailing.journal", "--in-doubt", "sent", "--address", "user3@example.com"
    )
    assert ended.code == 2
    assert "export --state in_doubt" in ended.err


@pytest.mark.parametrize("spelled", ["in_doubt", "in-doubt", "IN_DOUBT"])
def test_a_state_is_taken_however_it_is_spelled(doubtful: Folder, spelled: str) -> None:
    exported = doubtful.run("export", "mailing.journal", "--state", spelled)
    assert len(exported.out.splitlines()) == 1 + 3
    assert doubtful.send("--only", spelled).code == 0
    unknown = doubtful.run("export", "mailing.journal", "--state", "lost")
    assert "in_doubt" in unknown.err
