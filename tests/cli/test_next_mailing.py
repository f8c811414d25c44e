"""A journal that belongs to another mailing, or to another list, than it is given now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailsluice.emulator import CallFault, EntryFault

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})


def templates(folder: Folder) -> dict[str, str]:
    """By address, what the emulated SES has accepted."""
    return {each.to[0]: each.template for each in folder.emulator.ledger.entries()}


@pytest.fixture
def finished(folder: Folder) -> Folder:
    """Ann and Bob have been sent "welcome"."""
    assert folder.send().code == 0
    return folder


@pytest.fixture
def halfway(folder: Folder) -> Folder:
    """100 of 130 have been sent "welcome" when the run is held."""
    folder.write_list(130)
    folder.emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="user10?@*"))
    folder.emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="user11?@*"))
    folder.emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="user12?@*"))
    folder.emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="user130@*"))
    assert folder.send().code == 3
    sent = folder.counts()["sent"]
    assert 0 < sent < 130
    folder.emulator.faults.clear()
    return folder


@pytest.mark.parametrize("flags", [(), ("--quiet",), ("--dry-run",)])
def test_the_next_mailing_in_a_finished_journal_is_2_and_names_both_ways_out(
    finished: Folder, flags: tuple[str, ...]
) -> None:
    finished.write_mailing("welcome", "december")
    ended = finished.run("send", "mailing.toml", *flags)
    assert ended.code == 2
    assert "mailing.journal: its run has finished, and this is another mailing" in ended.err
    assert "another --journal: everybody on the list is mailed again" in ended.err
    assert "--again" in ended.err
    assert finished.accepted == 2
    assert finished.run("send", "mailing.toml", "--journal", "december.journal").code == 0
    assert finished.emulator.ledger.by_address() == {"ann@example.com": 2, "bob@example.com": 2}


def test_another_list_in_a_finished_journal_is_2_and_says_whom_a_new_journal_mails(
    finished: Folder,
) -> None:
    finished.write_list(["cat@example.com"])
    ended = finished.send("--quiet")
    assert ended.code == 2
    assert "recipients.csv: the run of mailing.journal has finished" in ended.err
    assert "mails everybody on it, also those who were mailed before" in ended.err
    assert "--except mailing.journal" in ended.err
    assert finished.accepted == 2


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_other_recipients_of_the_same_file_are_another_list(
    flags: tuple[str, ...], folder: Folder
) -> None:
    folder.write("recipients.csv", "email,work\nann@example.com,ann@work.example\n")
    assert folder.send().code == 0
    ended = folder.run("send", "mailing.toml", "--set", "recipients.address=work", *flags)
    assert (ended.code, "has finished, and this is another list" in ended.err) == (2, True)
    assert folder.emulator.ledger.by_address() == {"ann@example.com": 1}


def test_rows_in_place_of_blank_lines_at_the_end_are_new_though_the_size_is_the_same(
    folder: Folder,
) -> None:
    """The blank lines are more than one read of the file."""
    blank = "\n" * 600_000
    folder.write("recipients.csv", f"email\nann@example.com\n{blank}")
    assert folder.send().code == 0
    folder.write("recipients.csv", f"email\nann@example.com\n{blank[16:]}bob@example.com\n")
    ended = folder.send()
    assert (ended.code, "rows that the run never had, from row 2 on" in ended.err) == (2, True)


@pytest.mark.parametrize("flags", [(), ("--quiet",)])
def test_the_same_mailing_to_the_same_list_once_more_says_that_nothing_was_sent(
    finished: Folder, flags: tuple[str, ...]
) -> None:
    ended = finished.send(*flags)
    assert (ended.code, finished.counts()) == (0, {"read": 2, "sent": 2})
    assert "nothing was sent: mailing.journal is of a run of this mailing that had" in ended.err
    assert finished.accepted == 2


def test_a_run_that_sends_nothing_for_its_rows_does_not_say_that_it_had_finished(
    folder: Folder,
) -> None:
    folder.write_list(["no-at-sign"])
    ended = folder.send()
    assert (ended.code, "nothing was sent" in ended.err + ended.out) == (1, False)


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_a_mailing_that_has_changed_half_way_is_2(halfway: Folder, flags: tuple[str, ...]) -> None:
    before = halfway.accepted
    halfway.write_mailing("welcome", "mended")
    ended = halfway.run("send", "mailing.toml", *flags)
    assert ended.code == 2
    assert f"{before:,} recipients were sent the old one" in ended.err
    assert "Restore the mailing, or use --again" in ended.err
    assert halfway.accepted == before
    halfway.write_mailing()
    assert halfway.send().code == 0
    assert set(templates(halfway).values()) == {"welcome"}
    assert halfway.audit().agree
    assert halfway.accepted == 130


def test_again_sends_the_changed_mailing_to_the_rest_and_binds_what_follows(
    halfway: Folder,
) -> None:
    before = set(templates(halfway))
    halfway.write_mailing("welcome", "mended")
    halfway.emulator.faults.add(CallFault(fault="late", delay_s=60))
    with halfway.started("--again") as process:
        halfway.until(process, accepted=len(before) + 1)
        process.kill()
        process.wait()
    halfway.emulator.faults.clear()
    assert halfway.send().code == 1, (
        "the mended mailing is the run's by now; what was killed is in doubt"
    )
    sent = templates(halfway)
    assert {to for to, template in sent.items() if template == "welcome"} == before
    assert (len(sent), halfway.accepted) == (130, 130)
    halfway.write_mailing()
    refused = halfway.send()
    assert (refused.code, "this is another mailing" in refused.err) == (2, True)
    assert halfway.audit().agree


def test_a_mailing_that_nobody_has_been_sent_may_be_mended(folder: Folder) -> None:
    folder.emulator.faults.add(EntryFault(status="TEMPLATE_NOT_FOUND"))
    assert folder.send().code == 3
    folder.emulator.faults.clear()
    folder.write_mailing("welcome", "mended")
    assert folder.send().code == 0
    assert set(templates(folder).values()) == {"mended"}


def test_a_mailing_that_may_have_been_sent_is_not_mended_in_silence(folder: Folder) -> None:
    folder.emulator.faults.add(CallFault(fault="late", delay_s=60))
    with folder.started() as process:
        folder.until(process, accepted=2)
        process.kill()
        process.wait()
    folder.write_mailing("welcome", "mended")
    ended = folder.send()
    assert (ended.code, "2 recipients were sent the old one, or may have been" in ended.err) == (
        2,
        True,
    )


def test_a_part_of_a_finished_run_may_be_sent_a_mended_mailing(folder: Folder) -> None:
    folder.emulator.faults.add(EntryFault(status="MESSAGE_REJECTED", address="ann@*"))
    assert folder.send().code == 1
    folder.emulator.faults.clear()
    folder.write_mailing("welcome", "mended")
    assert folder.send("--only", "rejected").code == 0
    assert templates(folder) == {"ann@example.com": "mended", "bob@example.com": "welcome"}
    assert folder.audit().agree


def test_again_on_a_finished_run_sends_nobody_a_second_mail(finished: Folder) -> None:
    finished.write_mailing("welcome", "december")
    assert finished.send("--again").code == 0
    assert (finished.accepted, finished.report()["calls"]) == (2, 0)
    assert finished.audit().agree
