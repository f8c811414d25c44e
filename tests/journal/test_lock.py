"""One writer, by one name: who may open a journal, and what others cannot do to it meanwhile."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mailsluice.journal import Event, RunHeader, file, lock
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.model.errors import JournalError, JournalLockedError

RUN = RunHeader(id="a" * 16, begun_at=1.0, source=None, mailing_digest="00")

WRITER = """
import fcntl, os, pathlib, shutil, sys
path = pathlib.Path(sys.argv[1])
if sys.argv[2] == "without":
    del fcntl.F_OFD_SETLK
from mailsluice.reports import export, overview
from mailsluice.model.errors import JournalError, JournalLockedError
from mailsluice.journal import Event, lock
from mailsluice.journal.sqlite import SqliteJournal

journal = SqliteJournal.open(path)


def refused():
    for name in (path, path.with_name("link.journal")):
        try:
            SqliteJournal.open(name)
        except JournalLockedError as error:
            assert "this process has the journal open already" in str(error)
        else:
            raise AssertionError("two writers")


def read():
    for _ in range(2):
        assert lock.is_being_written(path)
        reader = SqliteJournal.read(path)
        overview.read_overview(reader, running=True)
        list(export.lines(reader, running=True))
        reader.close()


def forked():
    pid = os.fork()
    if pid == 0:
        try:
            journal.commit([Event(1.0, "begun", "")])
        except JournalError as error:
            assert "forked" in str(error)
            journal.close()
            try:
                SqliteJournal.open(path)
            except JournalLockedError:
                os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def copied():
    shutil.copy(path, path.with_name("copy"))


doings = [refused, read, forked, *([copied] if sys.argv[2] == "with" else [])]
for doing in doings:
    doing()
    journal.commit([Event(2.0, doing.__name__, "")])
    print(doing.__name__, flush=True)
    sys.stdin.readline()
journal.commit([Event(3.0, "last", "")])
print("end", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "run.journal"
    with closing(SqliteJournal.open(made)) as journal:
        journal.begin(RUN)
    (tmp_path / "link.journal").symlink_to(made)
    return made


@pytest.mark.process
@pytest.mark.parametrize("ofd_locks", ["with", "without"])
def test_nothing_that_the_writers_process_does_lets_another_take_its_log_away(
    path: Path, ofd_locks: str
) -> None:
    """Without OFD locks, nothing of ours; with them, no other code in its process either."""
    log = Path(f"{path}-wal")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path, ofd_locks],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        done = []
        while (doing := writer.stdout.readline().strip()) not in {"", "end"}:
            done.append(doing)
            inode = log.stat().st_ino
            with closing(sqlite3.connect(path)) as foreign:  # as a SQLite shell that comes and goes
                foreign.execute("SELECT count(*) FROM record").fetchone()
            assert (log.exists(), doing) == (True, doing)
            assert log.stat().st_ino == inode
            writer.stdin.write("\n")
            writer.stdin.flush()
        assert done[:3] == ["refused", "read", "forked"]
        writer.kill()
    with closing(SqliteJournal.open(path)) as journal:
        names = [each.name for each in journal.replay(details=True) if isinstance(each, Event)]
    assert names == [*done, "last"]


def descriptors() -> list[str]:
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


def test_a_second_writer_in_one_process_is_refused_and_leaves_no_descriptor(path: Path) -> None:
    with closing(SqliteJournal.open(path)):
        before = descriptors()
        for _ in range(3):
            with pytest.raises(JournalLockedError, match="this process has the journal open"):
                SqliteJournal.open(path)
            assert lock.is_being_written(path)
        assert descriptors() == before
    assert not lock.is_being_written(path)
    SqliteJournal.open(path).close()


def test_a_reader_that_stays_does_not_keep_the_next_writer_out(path: Path) -> None:
    first = SqliteJournal.open(path)
    with closing(SqliteJournal.read(path)) as reader:
        first.close()
        assert not lock.is_being_written(path)
        with closing(SqliteJournal.open(path)) as second:
            second.commit([Event(1.0, "held", "")])
            assert lock.is_being_written(path)
        assert len(list(reader.replay(details=True))) == 1
    assert not Path(f"{path}-wal").exists(), "SQLite puts its log away as before"


@pytest.mark.process
def test_a_forked_process_that_outlives_its_parent_does_not_keep_the_journal(path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from mailsluice.journal.sqlite import SqliteJournal\n"
        "journal = SqliteJournal.open(pathlib.Path(sys.argv[1]))\n"
        "if os.fork() == 0:\n"
        "    print('forked', flush=True)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"forked\n"
        parent.kill()
        parent.wait()
        SqliteJournal.open(path).close()


openers = pytest.mark.parametrize("open_", [SqliteJournal.open, SqliteJournal.read])


@openers
def test_a_journal_of_two_names_is_refused_by_either(
    path: Path, open_: Callable[[Path], SqliteJournal]
) -> None:
    other = path.with_name("other.journal")
    other.hardlink_to(path)
    for name in (path, other, path.with_name("link.journal")):
        with pytest.raises(JournalError, match=rf"{name.name}: the file has 2 names"):
            open_(name)
    other.unlink()
    open_(path).close()


MOUNTINFO = b"""\
22 28 0:21 / /sys rw,nosuid - sysfs sysfs rw
97 28 8:1 /jour\\040nals/run.journal /data/my\\040run.journal rw,relatime - ext4 /dev/sda1 rw
98 28 8:1 /x /data/back\\134slash.journal rw,relatime - ext4 /dev/sda1 rw
short line
"""


@pytest.mark.parametrize(
    ("name", "mounted"),
    [
        ("/data/my run.journal", True),
        ("/data/back\\slash.journal", True),
        ("/data/run.journal", False),
        ("/data", False),
        ("/sys", True),
    ],
)
def test_mount_points_are_read_as_the_kernel_writes_them(name: str, *, mounted: bool) -> None:
    assert file.is_mounted(Path(name), MOUNTINFO) is mounted


@pytest.mark.process
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1)")
def test_a_journal_that_is_a_mount_point_of_its_own_is_refused(path: Path) -> None:
    place = path.with_name("place.journal")
    place.touch()
    program = (
        "import pathlib, sys\n"
        "from mailsluice.model.errors import JournalError\n"
        "from mailsluice.journal.sqlite import SqliteJournal\n"
        "for open_ in (SqliteJournal.open, SqliteJournal.read):\n"
        "    try:\n"
        "        open_(pathlib.Path(sys.argv[1]))\n"
        "    except JournalError as error:\n"
        "        print(error)\n"
    )
    mounting = 'mount --bind "$1" "$2" || exit 77; exec "$3" -c "$4" "$2"'
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounting, "", path, place, sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        pytest.skip(f"no mounts here: {ended.stderr}")
    assert ended.stdout.count("place.journal: the file is a mount point of its own") == 2
