"""`send --except JOURNAL`: a new run without those whom an earlier one has mailed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from mailsluice.emulator import CallFault, EntryFault

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

NEW = ("--journal", "new.journal")
EXCEPT = ("--except", "mailing.journal")


@pytest.fixture
def mixed(folder: Folder) -> Folder:
    """Of 1-60 row 7 was rejected, 8 failed, 51-60 are in doubt; all others were sent."""
    folder.write_list(60)
    folder.emulator.faults.add(
        EntryFault(status="MESSAGE_REJECTED", address="user7@*"),
        EntryFault(status="NEVER_HEARD_OF", address="user8@*"),
        CallFault(fault="lost", address="user60@*"),
    )
    assert folder.send("--set", "delivery.max_attempts=1").code == 1
    counts = folder.counts()
    assert (counts["rejected"], counts["failed"], counts["in_doubt"] > 0) == (1, 1, True)
    folder.emulator.faults.clear()
    return folder


def exported(folder: Folder, journal: str) -> dict[str, tuple[str, str]]:
    out = folder.run("export", journal, "--format", "ndjson").out
    lines = map(orjson.loads, out.splitlines())
    return {line["address"]: (line["state"], line["status"]) for line in lines}


def test_those_who_were_sent_or_are_in_doubt_are_left_out_and_listed(mixed: Folder) -> None:
    before = exported(mixed, "mailing.journal")
    maybe = {to for to, (state, _) in before.items() if state in {"sent", "in_doubt"}}
    accepted = mixed.accepted
    mixed.write_list([*(f"User{n}@EXAMPLE.com" for n in range(1, 61)), "new@example.com"])
    planned = mixed.send(*NEW, *EXCEPT, "--dry-run")
    assert (planned.code, "61 read, 3 to be sent" in planned.out) == (0, True)
    assert "58 whom an excepted run has mailed" in planned.out
    assert mixed.send(*NEW, *EXCEPT).code == 0
    assert mixed.counts() == {"read": 61, "sent": 3, "suppressed": 58}
    assert mixed.accepted == accepted + 3
    after = exported(mixed, "new.journal")
    assert {to for to, (state, _) in after.items() if state == "sent"} == {
        "User7@EXAMPLE.com",
        "User8@EXAMPLE.com",
        "new@example.com",
    }
    left_out = {
        to.lower(): status for to, (state, status) in after.items() if state == "suppressed"
    }
    assert left_out.keys() == maybe
    assert set(left_out.values()) == {"EXCEPTED"}
    told = mixed.run("why", "new.journal", "user1@example.com").out
    assert "a run that is excepted has mailed it, or may have" in told


def test_several_journals_can_be_excepted_and_an_open_call_counts_as_sent(folder: Folder) -> None:
    folder.write_list(["ann@example.com"])
    assert folder.send().code == 0
    folder.write_list(["bob@example.com"])
    folder.emulator.faults.add(CallFault(fault="late", delay_s=60))
    with folder.started("--journal", "second.journal") as process:
        folder.until(process, accepted=2)
        running = folder.send(*NEW, "--except", "second.journal")
        assert (running.code, "it is open for writing" in running.err) == (2, True)
        process.kill()
        process.wait()
    folder.emulator.faults.clear()
    folder.write_list(["ann@example.com", "bob@example.com", "cat@example.com"])
    assert folder.send(*NEW, *EXCEPT, "--except", "second.journal").code == 0
    assert folder.counts() == {"read": 3, "sent": 1, "suppressed": 2}
    assert set(folder.emulator.ledger.by_address().values()) == {1}


def test_a_dropped_recipient_is_left_out_and_one_to_be_sent_again_is_too(folder: Folder) -> None:
    folder.emulator.faults.add(CallFault(fault="lost"))
    assert folder.send().code == 1
    folder.emulator.faults.clear()
    assert folder.run("resolve", "mailing.journal", "--in-doubt", "drop", "--seq", "1").code == 0
    assert folder.run("resolve", "mailing.journal", "--in-doubt", "resend").code == 0
    assert folder.send(*NEW, *EXCEPT).code == 0
    assert folder.counts() == {"read": 2, "suppressed": 2}


def test_with_keys_it_is_the_key_that_is_left_out(folder: Folder) -> None:
    flags = ("--set", "recipients.key=id", "--set", "recipients.dedupe=key")
    folder.write("recipients.csv", "email,id\nann@example.com,1\nbob@example.com,2\n")
    assert folder.send(*flags).code == 0
    folder.write("recipients.csv", "email,id\nanna@example.com,1\nann@example.com,3\n")
    assert folder.send(*flags, *NEW, *EXCEPT).code == 0
    assert folder.counts() == {"read": 2, "sent": 1, "suppressed": 1}
    assert folder.emulator.ledger.by_address() == {"ann@example.com": 2, "bob@example.com": 1}


BY_KEY = ("--set", "recipients.dedupe=key")
KEYS = ("--set", "recipients.key=id")


@pytest.mark.parametrize(("before", "now"), [((), KEYS), (KEYS, ())])
def test_by_key_who_has_no_key_in_one_of_the_runs_is_known_by_the_address(
    before: tuple[str, ...], now: tuple[str, ...], folder: Folder
) -> None:
    folder.write("recipients.csv", "email,id\nann@example.com,1\nbob@example.com,2\n")
    assert folder.send(*BY_KEY, *before).code == 0
    folder.write("recipients.csv", "email,id\nAnn@example.com,1\ncat@example.com,3\n")
    assert folder.send(*BY_KEY, *now, *NEW, *EXCEPT).code == 0
    assert folder.counts() == {"read": 2, "sent": 1, "suppressed": 1}
    assert set(folder.emulator.ledger.by_address().values()) == {1}


@pytest.mark.parametrize("flags", [(), (*BY_KEY, *KEYS)])
def test_whom_the_other_run_has_mailed_meanwhile_is_given_up_and_listed(
    flags: tuple[str, ...], folder: Folder
) -> None:
    """Both runs are held half way; then the other one reaches Bob, who is pending here."""
    people = "email,id\nann@example.com,1\nbob@example.com,2\ncat@example.com,3\n"
    folder.write("recipients.csv", people)
    faults = folder.emulator.faults
    faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="bob@*"))
    faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="cat@*"))
    assert folder.send(*flags).code == 3
    held = folder.send(*flags, *NEW, *EXCEPT)
    assert (held.code, folder.counts()) == (3, {"read": 3, "suppressed": 1, "pending": 2})
    assert "2 of its recipients are pending, and not left out here" in held.err
    faults.clear()
    faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="cat@*"))
    assert folder.send(*flags).code == 3
    faults.clear()
    assert folder.send(*flags, *NEW, *EXCEPT).code == 1
    assert folder.counts() == {"read": 3, "suppressed": 1, "sent": 1, "failed": 1}
    assert exported(folder, "new.journal")["bob@example.com"] == ("failed", "EXCEPTED")
    assert set(folder.emulator.ledger.by_address().values()) == {1}
    assert folder.send(*flags, *NEW, *EXCEPT, "--only", "failed").code == 1
    assert set(folder.emulator.ledger.by_address().values()) == {1}


def test_whom_an_excepted_run_has_left_out_itself_is_said_to_be_mailed(folder: Folder) -> None:
    folder.write_list(["ann@example.com"])
    assert folder.send().code == 0
    folder.write_list(["ann@example.com", "bob@example.com"])
    assert folder.send("--journal", "second.journal", *EXCEPT).code == 0
    planned = folder.send(*NEW, "--except", "second.journal", "--dry-run")
    assert "mailing.journal: a run that is excepted has left out those whom this" in planned.err
    assert "1 whom an excepted run has mailed" in planned.out
    both = folder.send(*NEW, *EXCEPT, "--except", "second.journal", "--dry-run")
    assert ("left out those" in both.err, "2 whom an excepted" in both.out) == (False, True)


def test_the_exceptions_hold_for_the_whole_run(folder: Folder) -> None:
    assert folder.send().code == 0
    folder.write_list(["ann@example.com", "cat@example.com"])
    folder.emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED"))
    assert folder.send(*NEW, *EXCEPT).code == 3
    folder.emulator.faults.clear()
    forgotten = folder.send(*NEW)
    assert (forgotten.code, "--except mailing.journal; give the same" in forgotten.err) == (2, True)
    assert folder.send(*NEW, "--dry-run").code == 2
    assert folder.send(*NEW, *EXCEPT).code == 0
    assert folder.counts() == {"read": 2, "sent": 1, "suppressed": 1}
    assert folder.emulator.ledger.by_address()["ann@example.com"] == 1


def test_exceptions_that_come_late_are_2(folder: Folder) -> None:
    assert folder.send().code == 0
    folder.write_list(["ann@example.com", "cat@example.com"])
    folder.emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED"))
    assert folder.send(*NEW).code == 3
    folder.emulator.faults.clear()
    late = folder.send(*NEW, *EXCEPT)
    assert (late.code, "began without --except" in late.err) == (2, True)


@pytest.mark.parametrize(
    ("journal", "complaint"),
    [
        ("nowhere.journal", "nowhere.journal: there is no such journal to --except"),
        ("new.journal", "new.journal: it is this run's own journal"),
    ],
)
def test_a_journal_that_cannot_be_excepted_is_2(
    folder: Folder, journal: str, complaint: str
) -> None:
    ended = folder.send(*NEW, "--except", journal) if journal != "new.journal" else None
    if ended is None:
        assert folder.send(*NEW).code == 0
        ended = folder.send(*NEW, "--except", journal)
    assert (ended.code, complaint in ended.err) == (2, True)
