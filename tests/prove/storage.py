"""Proof 6: a disk that is full, fails, is slow, locked, damaged, or from the future.

Each fault strikes the whole command (by strace, in the system calls on the journal's own files, or
by damage to the files). It must stop or refuse with exit 5, name the file and the reason, and have
sent nothing without a durable intent; once the fault is gone the same command must finish, with
nobody lost or mailed twice.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mailsluice.emulator import AccountSettings, Emulator, EmulatorOptions, Latency, emulator_thread
from mailsluice.journal import Intent, Record
from mailsluice.journal.schema import PAGE_BYTES
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.model.errors import JournalError
from mailsluice.reports import export
from tests.prove import jepsen
from tests.prove.figures import Figure, Proved, Size, at_least, exactly
from tests.support import forked

MAILING = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"
[recipients]
path = "recipients.csv"
[delivery]
in_flight = 2
"""

COMMAND = ["send", "mailing.toml", "--quiet"]
ROWS = 1_500
JOURNAL = "mailing.journal"
LOG = f"{JOURNAL}-wal"
PATIENCE_S = 60.0
JOURNAL_ERROR = 5

REPEATS = {"short": 1, "full": 12}
"""Of each fault, at other moments."""

SHORT = {"disk full", "a page overwritten"}
"""The faults of the short version."""

DAMAGES = {"short": 20, "full": 2_000}
"""Files with some bytes changed."""

BOUNDARIES = {"short": 1, "full": 40}
"""Flushes of the journal at which the process is killed, one after the other."""

HEAD_BYTES = 64
HEAD_SHARE = 0.2
"""So often the beginning of a file is hit, on which everything else depends."""

SLOW_MS = 100

LOG_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
"""SQLite's write-ahead log (sqlite.org/walformat.html)."""


class Folder:
    """A folder with a mailing and a list, beside an emulated SES."""

    def __init__(self, path: Path, emulator: Emulator) -> None:
        self.path = path
        self.emulator = emulator
        (path / "mailing.toml").write_text(MAILING)
        rows = "".join(f"user{n}@example.com\n" for n in range(ROWS))
        (path / "recipients.csv").write_text(f"email\n{rows}")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.emulator.environment}

    def send(self) -> tuple[int, str]:
        """Run the command; exit code and what it said."""
        ended = forked.run(forked.context(), self.path, self.environment, COMMAND, PATIENCE_S)
        return ended.code, ended.err

    def send_by(self, *program: str) -> tuple[int, str]:
        """The same by that program."""
        ended = subprocess.run(
            [*program, sys.executable, "-m", "mailsluice", *COMMAND],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return ended.returncode, ended.stderr.decode()

    def injected(self, injection: str, *files: str) -> tuple[int, str]:
        """Run it while system calls on these files go wrong."""
        paths = [flag for file in files for flag in ("-P", str(self.path / file))]
        # The quick way of tracing (seccomp-bpf) injects errors and delays, but no signals.
        quick = [] if "signal=" in injection else ["--seccomp-bpf"]
        call = injection.partition(":")[0]
        what = ["-e", f"trace={call}", "-e", "signal=none", "-e", f"inject={injection}"]
        return self.send_by("strace", "-f", "-qq", "-o", os.devnull, *quick, *what, *paths)

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL

    def records(self) -> list[Record]:
        with closing(SqliteJournal.read(self.journal)) as journal:
            return list(journal.replay(details=True))

    def without_intent(self) -> int:
        """Recipients that SES has accepted, and for which the journal has no intent."""
        mailed = {int(tag.rpartition("-")[2]) for tag in self.emulator.ledger.by_tag()}
        if not mailed or not self.journal.exists():
            return len(mailed)
        return len(
            mailed - {row for r in self.records() if isinstance(r, Intent) for row in r.seqs}
        )

    def wrong_in_the_end(self) -> int:
        """The fault is gone: finish, and count who is lost, mailed twice or not accounted for."""
        code, _ = self.send()
        with closing(SqliteJournal.read(self.journal)) as journal:
            lines = list(export.lines(journal))
        accepted = [(e.tags["mailsluice-id"], e.message_id) for e in self.emulator.ledger.entries()]
        counts = jepsen.count(lines, accepted)
        states = Counter(line.state for line in lines)
        pending = ROWS - states["sent"] - states["in_doubt"]
        return counts.lost + counts.duplicated + counts.unexpected + pending + (code not in {0, 1})


@contextmanager
def folder() -> Iterator[Folder]:
    """A new one."""
    options = EmulatorOptions(
        account=AccountSettings(rate_per_s=20_000, daily_max=-1),
        latency=Latency(low_s=0.0, high_s=0.01),
    )
    with (
        tempfile.TemporaryDirectory(prefix="mailsluice-disk-") as name,
        emulator_thread(options) as emulator,
    ):
        yield Folder(Path(name), emulator)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way for the disk to fail. `strike` runs the command under it."""

    name: str
    strike: Callable[[Folder, Random], tuple[int, str]]
    reasons: Sequence[str]
    """One of these must be said, beside the name of the file."""
    code: int = JOURNAL_ERROR


def _full(at: Folder, random: Random) -> tuple[int, str]:
    return at.injected(f"pwrite64:error=ENOSPC:when={random.randint(8, 40)}+", LOG)


def _full_at_once(at: Folder, _: Random) -> tuple[int, str]:
    return at.injected("pwrite64:error=ENOSPC:when=1+", f"{JOURNAL}.new", f"{JOURNAL}.new-journal")


def _full_while_copying(at: Folder, _: Random) -> tuple[int, str]:
    # The log is copied into the file now and then, and at the end.
    _begun(at)
    return at.injected("pwrite64:error=ENOSPC:when=1+", JOURNAL)


def _io_error(at: Folder, random: Random) -> tuple[int, str]:
    return at.injected(f"fdatasync:error=EIO:when={random.randint(3, 12)}+", LOG)


def _unwritable(at: Folder, random: Random) -> tuple[int, str]:
    return at.injected(f"pwrite64:error=EIO:when={random.randint(8, 40)}+", LOG)


def _slow(at: Folder, _: Random) -> tuple[int, str]:
    return at.injected(f"fdatasync:delay_enter={SLOW_MS}ms", LOG)


def _in_use(at: Folder, _: Random) -> tuple[int, str]:
    with closing(SqliteJournal.open(at.journal)):
        return at.send()


def _locked(at: Folder, _: Random) -> tuple[int, str]:
    SqliteJournal.open(at.journal).close()
    with closing(sqlite3.connect(at.journal, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        return at.send()


def _begun(at: Folder) -> None:
    """A journal in which a process died in the middle."""
    process = forked.start(forked.context(), at.path, at.emulator.environment, COMMAND)
    assert at.emulator.wait_for(accepted=ROWS // 4, timeout_s=PATIENCE_S)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it had ended already"
    assert (at.path / LOG).stat().st_size, "there is no log"


def _newer(at: Folder, _: Random) -> tuple[int, str]:
    _begun(at)
    with _damaged(at.path):
        with closing(sqlite3.connect(at.journal)) as other:
            other.execute("PRAGMA user_version = 99")
            other.commit()
        return at.send()


def _truncated(at: Folder, random: Random) -> tuple[int, str]:
    _begun(at)
    SqliteJournal.open(at.journal).close()
    with _damaged(at.path):
        os.truncate(at.journal, random.randint(1, at.journal.stat().st_size - 1))
        return at.send()


def _emptied(at: Folder, _: Random) -> tuple[int, str]:
    _begun(at)
    with _damaged(at.path):
        os.truncate(at.journal, 0)
        return at.send()


def _overwritten(at: Folder, random: Random) -> tuple[int, str]:
    _begun(at)
    SqliteJournal.open(at.journal).close()
    with _damaged(at.path):
        content = bytearray(at.journal.read_bytes())
        begin = PAGE_BYTES * random.randrange(1, len(content) // PAGE_BYTES)
        content[begin : begin + PAGE_BYTES] = random.randbytes(PAGE_BYTES)
        at.journal.write_bytes(content)
        return at.send()


def _gone(at: Folder, _: Random) -> tuple[int, str]:
    _begun(at)
    with _damaged(at.path):
        at.journal.unlink()
        return at.send()


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """The journal is as it was again after the block."""
    kept = {each: each.read_bytes() for each in path.glob(f"{JOURNAL}*")}
    try:
        yield
    finally:
        for each in path.glob(f"{JOURNAL}*"):
            each.unlink()
        for each, content in kept.items():
            each.write_bytes(content)


FAULTS = [
    Fault("disk full", _full, ["disk is full"]),
    Fault("disk full when the journal is made", _full_at_once, ["disk is full"]),
    # The log keeps what there is no room for in the file: nothing is amiss but doubts of the crash.
    Fault("disk full when the log is copied", _full_while_copying, [""], code=1),
    Fault("EIO on fsync", _io_error, ["SQLITE_IOERR_FSYNC"]),
    Fault("EIO on write", _unwritable, ["SQLITE_IOERR_WRITE"]),
    Fault(f"every fsync takes {SLOW_MS} ms", _slow, [""], code=0),
    Fault("in use by another mailsluice", _in_use, ["another process is using this journal"]),
    Fault("locked by another program", _locked, ["locked"]),
    Fault("newer schema", _newer, ["its schema is version 99"]),
    Fault(
        "truncated",
        _truncated,
        ["malformed", "corrupt", "not a database", "not what was written", "not a mailsluice"],
    ),
    Fault("truncated to nothing", _emptied, ["the file is empty"]),
    Fault(
        "a page overwritten",
        _overwritten,
        ["malformed", "corrupt", "not a database", "not what was written", "not a mailsluice"],
    ),
    Fault("gone, but for its log", _gone, ["a part of the journal is missing"]),
]


@dataclass(frozen=True, slots=True)
class Struck:
    """What became of a fault."""

    unnamed: bool
    """Another exit code, or neither file nor reason in what was said."""
    without_intent: int
    wrong: int


def strike(fault: Fault, seed: int) -> tuple[Struck, str]:
    """Let one fault happen; what came of it, and what the command said."""
    with folder() as at:
        code, said = fault.strike(at, Random(seed))
        named = code == fault.code and any(
            reason in said and (JOURNAL in said or not reason) for reason in fault.reasons
        )
        struck = Struck(not named, at.without_intent(), at.wrong_in_the_end())
    return struck, f"exit {code}: {said.strip()}"


def killed_at(boundary: int) -> tuple[bool, int]:
    """SIGKILL at the n-th flush of the log: whether it struck, and how much is wrong in the end."""
    with folder() as at:
        code, _ = at.injected(f"fdatasync:signal=SIGKILL:when={boundary}", LOG)
        return code == -signal.SIGKILL, at.without_intent() + at.wrong_in_the_end()


# --- bytes that are not what was written ---------------------------------------------------------


@dataclass(slots=True)
class Damage:
    """What became of damaged journals."""

    files: int = 0
    refused: int = 0
    unharmed: int = 0
    """The bytes that were changed hold nothing."""
    cut: int = 0
    """Of the log's last commit nothing is left, as after a crash in the middle of it."""
    unnoticed: int = 0
    """Something else was read than was written."""


def damage(files: int) -> Damage:
    """Journals, closed and crashed, with some bytes changed at random."""
    came = Damage()
    random = Random(files)
    with folder() as at, tempfile.TemporaryDirectory() as name:
        _begun(at)
        crashed, closed = at.path / "crashed", at.path / "closed"
        for copy in (crashed, closed):
            copy.mkdir()
            for each in at.path.glob(f"{JOURNAL}*"):
                shutil.copy(each, copy)
        SqliteJournal.open(closed / JOURNAL).close()
        written = _read(closed)
        shorter = _records_without_last_commit(crashed, Path(name) / "shorter")
        assert shorter < len(written), "the last commit holds nothing"
        for number in range(files):
            scratch = Path(name) / str(number)
            shutil.copytree(random.choice([crashed, closed]), scratch)
            victims = [each for each in scratch.iterdir() if not each.name.endswith("-shm")]
            _change(random.choice(victims), random, [1, 1, 8, 512, 4096])
            came.files += 1
            _judge(scratch, written, shorter, came)
            shutil.rmtree(scratch)
    return came


def _records_without_last_commit(crashed: Path, scratch: Path) -> int:
    """How many records there are without the last transaction of the log that a crash left."""
    shutil.copytree(crashed, scratch)
    log = scratch / LOG
    content = log.read_bytes()
    frame = FRAME_HEADER_BYTES + PAGE_BYTES
    ends = [
        begin + frame
        for begin in range(LOG_HEADER_BYTES, len(content) - frame + 1, frame)
        # The second word of a frame's head: not 0 where it ends a transaction.
        if any(content[begin + 4 : begin + 8])
    ]
    os.truncate(log, ends[-2])
    return len(_read(scratch))


def _judge(scratch: Path, written: Sequence[Record], shorter: int, came: Damage) -> None:
    """Read it as `status` does, then open it as `send` does, twice, and through a link."""
    link = scratch / "link"
    link.symlink_to(scratch / JOURNAL)
    found = [
        _attempt(open_, path)
        for open_, path in (
            (SqliteJournal.read, scratch / JOURNAL),
            (SqliteJournal.read, link),
            (SqliteJournal.open, link),
            (SqliteJournal.open, scratch / JOURNAL),
        )
    ]
    if any(each != found[0] for each in found):
        came.unnoticed += 1
    elif found[0] is None:
        came.refused += 1
    elif found[0] == written:
        came.unharmed += 1
    elif found[0] == written[:shorter]:
        came.cut += 1
    else:
        came.unnoticed += 1


def _attempt(open_: Callable[[Path], SqliteJournal], path: Path) -> list[Record] | None:
    """The records; None where they are refused."""
    try:
        with closing(open_(path)) as journal:
            return list(journal.replay(details=True))
    except JournalError:
        return None


def _read(folder_: Path) -> list[Record]:
    with closing(SqliteJournal.open(folder_ / JOURNAL)) as journal:
        return list(journal.replay(details=True))


def _change(path: Path, random: Random, sizes: Sequence[int]) -> None:
    """Overwrite some bytes by others, or one digit, which leaves all around it well formed."""
    content = bytearray(path.read_bytes())
    digits = re.compile(rb"[0-9]").search(content, random.randrange(len(content)))
    if digits and random.random() < 0.5:
        content[digits.start()] ^= 1
        path.write_bytes(content)
        return
    size = min(random.choice(sizes), len(content))
    begin = random.randrange(len(content) - size + 1)
    if random.random() < HEAD_SHARE:
        size = min(size, HEAD_BYTES)
        begin = random.randrange(HEAD_BYTES - size + 1)
    for at in range(begin, begin + size):
        content[at] ^= random.randint(1, 255)
    path.write_bytes(content)


def prove(size: Size) -> Proved:
    """Every fault, every boundary, and damaged files."""
    faults = [fault for fault in FAULTS if size == "full" or fault.name in SHORT]
    jobs = [(fault, seed) for fault in faults for seed in range(REPEATS[size])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        struck = list(pool.map(strike, *zip(*jobs, strict=True)))
        killed = list(pool.map(killed_at, range(1, BOUNDARIES[size] + 1)))
    damaged = damage(DAMAGES[size])
    figures: list[Figure] = [
        exactly("storage faults", len(jobs), len(struck)),
        exactly("  without exit code, file and reason", 0, sum(each.unnamed for each, _ in struck)),
        exactly(
            "  recipients mailed without an intent",
            0,
            sum(each.without_intent for each, _ in struck),
        ),
        exactly(
            "  lost, mailed twice or unaccounted for afterwards",
            0,
            sum(each.wrong for each, _ in struck),
        ),
        exactly(
            "SIGKILL at the n-th flush of the log, each n", len(killed), sum(k for k, _ in killed)
        ),
        exactly(
            "  lost, mailed twice or unaccounted for after these",
            0,
            sum(each for _, each in killed),
        ),
        at_least("journals with bytes changed", DAMAGES[size], damaged.files),
        at_least("  refused, or found unharmed", 1, damaged.refused + damaged.unharmed),
        exactly("  read as something else than was written", 0, damaged.unnoticed),
    ]
    details = [
        f"{fault.name}: {said}"
        for (fault, seed), (each, said) in zip(jobs, struck, strict=True)
        if not seed or each.unnamed or each.without_intent or each.wrong
    ]
    return Proved(figures, [*details, f"damage: {damaged}"])
