"""SQLite's log as a crash leaves it, whole and damaged: nobody goes on without what it holds."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsluice.journal import Event, RunHeader, lock
from mailsluice.journal.schema import PAGE_BYTES
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.journal.wal import FRAME_HEADER_BYTES, HEADER_BYTES
from mailsluice.model.errors import JournalError

COMMITS = 12

Opener = Callable[[Path], SqliteJournal]
openers = pytest.mark.parametrize("open_", [SqliteJournal.open, SqliteJournal.read])


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A journal of which some commits are in the log only."""
    living, dead = tmp_path / "living", tmp_path / "dead"
    living.mkdir()
    dead.mkdir()
    journal = SqliteJournal.open(living / "run.journal")
    journal.begin(RunHeader(id="a" * 16, begun_at=1.0, source=None, mailing_digest="00"))
    for n in range(COMMITS):
        journal.commit([Event(float(n), "begun", "x" * 500)])
    for name in ("run.journal", "run.journal-wal"):
        shutil.copy(living / name, dead)
    journal.close()
    return dead / "run.journal"


def log_of(path: Path) -> Path:
    return Path(f"{path}-wal")


def changed(path: Path, change: Callable[[bytearray], None]) -> bytes:
    """Change the log; what it is then."""
    content = bytearray(log_of(path).read_bytes())
    change(content)
    log_of(path).write_bytes(content)
    return bytes(content)


def records(journal: SqliteJournal) -> int:
    found = sum(1 for _ in journal.replay(details=True))
    journal.close()
    return found


@openers
def test_a_log_that_a_crash_left_is_read_whole(crashed: Path, open_: Opener) -> None:
    assert records(open_(crashed)) == COMMITS


@openers
def test_a_last_commit_that_a_crash_cut_off_is_none(crashed: Path, open_: Opener) -> None:
    changed(crashed, lambda log: log.__delitem__(slice(-100, None)))
    assert records(open_(crashed)) == COMMITS - 1


def refused_for_ever(path: Path, open_: Opener, log: bytes) -> None:
    """Also the second time, and the evidence is left."""
    for _ in range(2):
        with pytest.raises(JournalError, match=r"journal-wal: it is damaged: .* restore it"):
            open_(path)
    assert log_of(path.resolve()).read_bytes() == log


@openers
@pytest.mark.parametrize("offset", range(HEADER_BYTES))
def test_any_byte_of_the_logs_header(crashed: Path, open_: Opener, offset: int) -> None:
    def flip(log: bytearray) -> None:
        log[offset] ^= 0x10

    refused_for_ever(crashed, open_, changed(crashed, flip))


def zero_sector(log: bytearray) -> None:
    log[:HEADER_BYTES] = bytes(HEADER_BYTES)


def cut_header(log: bytearray) -> None:
    del log[HEADER_BYTES - 1 :]


def middle_page(log: bytearray) -> None:
    log[HEADER_BYTES + 3 * (FRAME_HEADER_BYTES + PAGE_BYTES) + 1000] ^= 1


def middle_frame_head(log: bytearray) -> None:
    log[HEADER_BYTES + 3 * (FRAME_HEADER_BYTES + PAGE_BYTES) + 10] ^= 1


damages = pytest.mark.parametrize(
    "damage", [zero_sector, cut_header, middle_page, middle_frame_head]
)


@openers
@damages
def test_a_damaged_log(crashed: Path, open_: Opener, damage: Callable[[bytearray], None]) -> None:
    refused_for_ever(crashed, open_, changed(crashed, damage))


@openers
def test_a_head_that_disowns_the_log(crashed: Path, open_: Opener) -> None:
    content = bytearray(crashed.read_bytes())
    content[18:20] = b"\1\1"
    crashed.write_bytes(content)
    with pytest.raises(JournalError, match="its head is damaged"):
        open_(crashed)
    assert log_of(crashed).exists()


@openers
def test_a_damaged_log_of_a_journal_behind_a_link(
    crashed: Path, tmp_path: Path, open_: Opener
) -> None:
    link = tmp_path / "link.journal"
    link.symlink_to(crashed)
    assert records(SqliteJournal.read(link)) == COMMITS
    assert log_of(crashed).exists(), "a reader has put it away"
    refused_for_ever(link, open_, changed(crashed, middle_page))


def test_a_link_that_leads_nowhere_begins_no_new_journal(tmp_path: Path) -> None:
    link = tmp_path / "link.journal"
    link.symlink_to(tmp_path / "unmounted" / "run.journal")
    with pytest.raises(JournalError, match=r"link\.journal: it is a link to .*unmounted"):
        SqliteJournal.open(link)
    assert link.is_symlink()


@openers
def test_a_journal_that_was_refused_is_not_taken_for_open(crashed: Path, open_: Opener) -> None:
    sound, log = crashed.read_bytes(), log_of(crashed).read_bytes()
    crashed.write_bytes(sound[:60] + bytes([99] * 40) + sound[100:])
    with pytest.raises(JournalError):
        open_(crashed)
    crashed.write_bytes(sound)
    log_of(crashed).write_bytes(log)
    refused_for_ever(crashed, SqliteJournal.read, changed(crashed, middle_page))


@pytest.mark.process
def test_a_second_reader_knows_what_the_first_has_found(crashed: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "from mailsluice.journal.sqlite import SqliteJournal\n"
        "journal = SqliteJournal.open(pathlib.Path(sys.argv[1]))\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, crashed], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        first = SqliteJournal.read(crashed)
        assert lock.is_being_written(crashed)
        first.close()
        first.close()
        writer.kill()
    assert not lock.is_being_written(crashed)


def test_readers_of_one_process_leave_the_writers_locks_alone(crashed: Path) -> None:
    writer = SqliteJournal.open(crashed)
    readers = [SqliteJournal.read(crashed) for _ in range(2)]
    writer.commit([Event(99.0, "begun", "")])
    assert [records(reader) for reader in readers] == [COMMITS + 1] * 2
    writer.close()
    assert records(SqliteJournal.read(crashed)) == COMMITS + 1
