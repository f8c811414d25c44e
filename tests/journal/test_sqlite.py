"""What is SQLite's own: the lock, the file's soundness, durability settings."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsluice.journal import Event, RunHeader, lock
from mailsluice.journal.schema import PAGE_BYTES, SCHEMA_VERSION
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.model.errors import JournalError

Opener = Callable[[Path], SqliteJournal]

RUN = RunHeader(id="a" * 16, begun_at=1.0, source=None, mailing_digest="00")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "run.journal"
    journal = SqliteJournal.open(made)
    journal.begin(RUN)
    journal.commit([Event(float(n), "begun", "x" * 500) for n in range(200)])
    journal.close()
    return made


@pytest.mark.process
def test_the_lock_goes_with_its_process(path: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "from mailsluice.journal.sqlite import SqliteJournal\n"
        "journal = SqliteJournal.open(pathlib.Path(sys.argv[1]))\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert lock.is_being_written(path)
        with pytest.raises(JournalError, match="another process is using this journal; wait"):
            SqliteJournal.open(path)
        holder.kill()
    assert not lock.is_being_written(path)
    SqliteJournal.open(path).close()


def test_it_can_be_read_while_it_is_written(path: Path) -> None:
    writer = SqliteJournal.open(path)
    writer.commit([Event(1.0, "held", "")])
    reader = SqliteJournal.read(path)
    assert sum(1 for _ in reader.replay(details=True)) == 201
    reader.close()
    writer.close()


def test_every_commit_is_flushed_to_the_disk(path: Path) -> None:
    journal = SqliteJournal.open(path)
    pragma = {
        name: journal._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode")
    }
    journal.close()
    assert pragma == {"synchronous": 2, "journal_mode": "wal"}


def test_a_settlement_fits_a_page(path: Path) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA page_size").fetchone()[0] == PAGE_BYTES
    connection.close()


def alter(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("open_", [SqliteJournal.open, SqliteJournal.read])
class TestRefusals:
    def test_a_newer_schema_names_both_versions(self, path: Path, open_: Opener) -> None:
        alter(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        with pytest.raises(
            JournalError,
            match=rf"version {SCHEMA_VERSION + 1}, this .* reads version {SCHEMA_VERSION};",
        ):
            open_(path)

    def test_another_database_is_no_journal(self, tmp_path: Path, open_: Opener) -> None:
        other = tmp_path / "other.db"
        alter(other, "CREATE TABLE t (x)")
        with pytest.raises(JournalError, match="not a mailsluice journal"):
            open_(other)

    def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path, open_: Opener) -> None:
        text = tmp_path / "notes.txt"
        text.write_text("hello " * 1000)
        with pytest.raises(JournalError, match=r"notes\.txt"):
            open_(text)

    def test_a_corrupt_page_is_noticed(self, path: Path, open_: Opener) -> None:
        with path.open("r+b") as file:
            file.seek(5 * 8192)
            file.write(b"\xaa" * 8192)
        if open_ == SqliteJournal.open:
            with pytest.raises(JournalError, match="corrupt"):
                open_(path)
        else:  # a reader hears of it when he has come to the end, at the latest
            with pytest.raises(JournalError, match=r"corrupt|malformed"):
                list(open_(path).replay(details=True))

    def test_rows_that_are_gone_from_the_end_are_noticed(self, path: Path, open_: Opener) -> None:
        with sqlite3.connect(path) as connection:
            root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'record'")
            page = (root.fetchone()[0] - 1) * PAGE_BYTES
        connection.close()
        with path.open("r+b") as file:  # the root knows of one child less
            file.seek(page + 3)
            cells = int.from_bytes(file.read(2), "big")
            file.seek(page + 3)
            file.write((cells - 1).to_bytes(2, "big"))
        with pytest.raises(JournalError, match=r"corrupt|malformed|not what was written"):
            list(open_(path).replay(details=True))

    def test_an_emptied_file_is_not_begun_anew(self, path: Path, open_: Opener) -> None:
        path.write_bytes(b"")
        with pytest.raises(JournalError, match=r"run\.journal: the file is empty.*remove it"):
            open_(path)

    def test_a_truncated_file_is_noticed(self, path: Path, open_: Opener) -> None:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(JournalError, match=r"corrupt|malformed"):
            open_(path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE record SET body = CAST(replace(body, 'x', 'y') AS BLOB) WHERE id = 7",
        "UPDATE record SET at = 7.5 WHERE id = 7",
        "UPDATE record SET kind = 'taken' WHERE id = 7",
        "DELETE FROM record WHERE id = 7",
        "DELETE FROM record WHERE id = 1",
        "UPDATE record SET id = -id WHERE id = 7",
    ],
)
def test_a_record_that_is_not_as_it_was_written_is_never_handed_on(path: Path, change: str) -> None:
    alter(path, change)
    journal = SqliteJournal.open(path)
    for details in (True, False):
        with pytest.raises(JournalError, match=r"run\.journal: record \d is not what was written"):
            list(journal.replay(details=details))
    journal.close()


def test_a_run_that_is_not_as_it_was_written_is_noticed(path: Path) -> None:
    alter(path, "UPDATE run SET body = CAST(replace(body, 'aaaa', 'bbbb') AS BLOB)")
    with pytest.raises(JournalError, match=r"run\.journal: the head is not what was written"):
        SqliteJournal.read(path)


def test_the_rest_of_a_journal_that_is_gone_does_not_begin_a_new_one(path: Path) -> None:
    path.rename(path.with_suffix(".lost"))
    Path(f"{path}-wal").write_bytes(b"what was committed last")
    with pytest.raises(JournalError, match=r"there is a run\.journal-wal and no run\.journal"):
        SqliteJournal.open(path)
    assert not path.exists()


def test_what_a_process_left_that_was_killed_making_a_journal_is_in_nobodys_way(
    tmp_path: Path,
) -> None:
    new = tmp_path / "run.journal.new"
    new.write_bytes(b"half a page")
    SqliteJournal.open(tmp_path / "run.journal").close()
    assert [each.name for each in tmp_path.iterdir()] == ["run.journal"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"nowhere/run\.journal: there is no such folder; make"):
        SqliteJournal.open(tmp_path / "nowhere" / "run.journal")
    with pytest.raises(JournalError, match="there is no such journal"):
        SqliteJournal.read(tmp_path / "run.journal")


def test_a_refused_journal_can_be_opened_by_others_again(path: Path) -> None:
    alter(path, "PRAGMA user_version = 99")
    for _ in range(2):
        with pytest.raises(JournalError, match="schema is version 99"):
            SqliteJournal.open(path)
