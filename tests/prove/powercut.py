"""Proof 3: what is left of a journal after a power cut at any moment.

A program's own writes are traced and replayed up to a random moment: what had been synced by then
is kept; of the rest each write is kept, dropped or torn at a sector, at random; entries of the
folder are kept up to a random one of those made since the folder was synced. The journal that is
left is opened by the production code. It must be sound, hold whole transactions only, and all that
had been acknowledged.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from mailsluice.emulator import AccountSettings, EmulatorOptions, Latency, emulator_thread
from mailsluice.journal import Intent, Record, RunHeader
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.model.errors import JournalError
from tests.prove import records, trace
from tests.prove.figures import Figure, Proved, Size, at_least, exactly
from tests.prove.trace import Call

SECTOR_BYTES = 512

STATES = {"short": (60, 30), "full": (2_000, 600)}
"""Of the journal alone, and of a whole `send`."""

SENT_ROWS = 3_000

COMMITS = {"short": 60, "full": 1_200}
"""Enough of them that SQLite copies its log into the database in between."""

JOURNAL = "run.journal"
ACKNOWLEDGED = "acknowledged"
"""A file to which the traced program writes after each commit; its writes are never lost."""

RUN = RunHeader(id="a" * 16, begun_at=1.0, source=None, mailing_digest="00")

MAILING = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"
[recipients]
path = "recipients.csv"
"""


@dataclass(slots=True)
class _File:
    """The content of one file: what is on the disk for sure, and the writes since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)

    def sync(self) -> None:
        for call in self.pending:
            _apply(self.durable, call)
        self.pending.clear()

    def left(self, random: Random) -> bytes:
        content = bytearray(self.durable)
        lost = random.choice([0.0, 0.3, 0.7, 1.0])
        for call in self.pending:
            if random.random() >= lost:
                _apply(content, call, random if random.random() < 0.3 else None)
        return bytes(content)


def _apply(content: bytearray, call: Call, torn: Random | None = None) -> None:
    if call.name == "truncate":
        del content[call.number :]
        content.extend(bytes(max(0, call.number - len(content))))
        return
    content.extend(bytes(max(0, call.number + len(call.data) - len(content))))
    for begin in range(0, len(call.data), SECTOR_BYTES):
        if torn is None or torn.random() < 0.5:
            part = call.data[begin : begin + SECTOR_BYTES]
            content[call.number + begin : call.number + begin + len(part)] = part


class Disk:
    """One folder on a disk that forgets what was not synced."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._pending_names: list[dict[str, _File]] = []

    def do(self, call: Call) -> None:
        """Take one call of the program into account."""
        if call.path == self._folder and call.name in {"fsync", "fdatasync"}:
            self._durable_names = dict(self._names)
            self._pending_names.clear()
        elif Path(call.path).parent != Path(self._folder) or call.path.endswith("-shm"):
            return  # the index of SQLite's log is shared memory, made anew after a crash
        elif call.name == "openat":
            if call.created and call.path not in self._names:
                self._rename(call.path, _File())
        elif call.name == "unlink":
            self._rename(call.path, None)
        elif call.name == "rename":
            file = self._names[call.path]
            self._rename(call.path, None)
            self._rename(os.fsdecode(call.data), file)
        elif call.name in {"fsync", "fdatasync"}:
            self._names[call.path].sync()
        else:
            self._names[call.path].pending.append(call)

    def after_a_cut(self, into: Path, random: Random) -> None:
        """Write what is left to another folder."""
        names = random.choice([self._durable_names, *self._pending_names])
        for path, file in names.items():
            (into / Path(path).name).write_bytes(file.left(random))

    def _rename(self, path: str, file: _File | None) -> None:
        self._names = {name: each for name, each in self._names.items() if name != path}
        if file is not None:
            self._names[path] = file
        self._pending_names.append(self._names)


@dataclass(slots=True)
class Losses:
    """What was wrong with the states that were looked at."""

    states: int = 0
    lost: int = 0
    """Acknowledged commits that were gone."""
    unsound: int = 0
    """Journals that could not be opened, or fail SQLite's integrity check."""
    torn: int = 0
    """Journals with a part of a transaction."""

    def __add__(self, other: Losses) -> Losses:
        return Losses(
            self.states + other.states,
            self.lost + other.lost,
            self.unsound + other.unsound,
            self.torn + other.torn,
        )


# --- the journal alone ---------------------------------------------------------------------------


def work(folder: Path, commits: int) -> None:
    """The traced program: commit, and say so; close and open again in the middle."""
    said = os.open(folder / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    journal = SqliteJournal.open(folder / JOURNAL)
    journal.begin(RUN)
    os.write(said, b"0\n")
    for number, transaction in enumerate(records.transactions(Random(0), commits), 1):
        journal.commit(transaction)
        os.write(said, b"%d\n" % number)
        if number == commits // 3:
            journal.close()
            journal = SqliteJournal.open(folder / JOURNAL)


def _journal_states(commits: int, states: int) -> Losses:
    with tempfile.TemporaryDirectory(prefix="mailsluice-cut-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", __spec__.name, str(folder), str(commits)]
        assert trace.run(command, folder / "trace", cwd=Path.cwd()) == 0, "the program failed"
        return _in_parts(partial(_judge_journals, folder, commits), states)


def _in_parts(judge: Callable[[int, int], Losses], states: int) -> Losses:
    """All processors look at states; each is given a seed and a number."""
    parts = os.cpu_count() or 1
    sizes = [states // parts + (part < states % parts) for part in range(parts)]
    with ProcessPoolExecutor(parts, multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(judge, range(parts), sizes), Losses())


def _judge_journals(folder: Path, commits: int, seed: int, states: int) -> Losses:
    """States at random moments of the traced program."""
    calls = list(trace.read(folder / "trace", Path.cwd()))
    wanted: list[int] = [0]
    flat: list[Record] = []
    for transaction in records.transactions(Random(0), commits):
        flat += transaction
        wanted.append(len(flat))
    random = Random(seed)
    # A cut before the first call that concerns the journal would be no cut.
    first = next(at for at, call in enumerate(calls) if JOURNAL in call.path)
    moments = [random.randrange(first, len(calls)) for _ in range(states)]
    losses, acknowledged = Losses(), -1
    for news, left in _cuts(folder, calls, moments, random):
        for call in news:
            if call.path == str(folder / ACKNOWLEDGED) and call.name == "write":
                acknowledged = int(call.data)
        _judge_journal(left, acknowledged, flat, wanted, losses)
    return losses


def _cuts(
    folder: Path, calls: Sequence[Call], moments: Sequence[int], random: Random
) -> Iterator[tuple[Sequence[Call], Path]]:
    """At each moment: the calls since the one before, and a folder with what is left."""
    disk, done = Disk(folder), 0
    for moment in sorted(moments):
        news = calls[done:moment]
        done = moment
        for call in news:
            disk.do(call)
        with tempfile.TemporaryDirectory(dir=_memory()) as left:
            disk.after_a_cut(Path(left), random)
            yield news, Path(left)


def _memory() -> str | None:
    """Where files cost no disk: states are looked at and thrown away."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _judge_journal(
    folder: Path, acknowledged: int, flat: Sequence[Record], wanted: Sequence[int], losses: Losses
) -> None:
    losses.states += 1
    found = _recovered(folder, losses)
    if found is None:
        losses.lost += acknowledged >= 0
        return
    if found != flat[: len(found)]:
        losses.unsound += 1
    elif len(found) not in wanted:
        losses.torn += 1
    losses.lost += max(0, acknowledged - sum(size <= len(found) for size in wanted[1:]))


def _recovered(folder: Path, losses: Losses) -> list[Record] | None:
    """The records that the production code finds; None where there is no journal."""
    path = folder / JOURNAL
    if not path.exists():
        return None
    try:
        with closing(SqliteJournal.open(path)) as journal:
            found = list(journal.replay(details=True))
        with closing(sqlite3.connect(path)) as connection:
            check = connection.execute("PRAGMA integrity_check").fetchone()[0]
    except JournalError as error:
        print(f"power cut: {error}", file=sys.stderr)
        losses.unsound += 1
        return []
    losses.unsound += check != "ok"
    return found


# --- a whole `send`: no byte to SES before its intent --------------------------------------------


def _send_states(states: int) -> Losses:
    options = EmulatorOptions(
        account=AccountSettings(rate_per_s=100_000, daily_max=-1),
        latency=Latency(low_s=0.0, high_s=0.01),
    )
    with tempfile.TemporaryDirectory(prefix="mailsluice-cut-") as name:
        folder = Path(name)
        (folder / "mailing.toml").write_text(MAILING)
        rows = "".join(f"user{n}@example.com\n" for n in range(SENT_ROWS))
        (folder / "recipients.csv").write_text(f"email\n{rows}")
        command = [sys.executable, "-m", "mailsluice", "send", "mailing.toml", "--quiet"]
        with emulator_thread(options) as emulator:
            ended = trace.run(
                [*command, "--journal", JOURNAL],
                folder / "trace",
                cwd=folder,
                environment=emulator.environment,
            )
        assert ended == 0, "the traced command failed"
        return _in_parts(partial(_judge_sends, folder), states)


def _judge_sends(folder: Path, seed: int, states: int) -> Losses:
    """States right after recipients have left for SES."""
    calls = list(trace.read(folder / "trace", folder))
    on_the_wire = _rows_on_the_wire(calls)
    random = Random(seed)
    moments = [random.choice(list(on_the_wire)) + 1 for _ in range(states)]
    losses, done, sent = Losses(), 0, set[int]()
    for news, left in _cuts(folder, calls, moments, random):
        for at in range(done, done + len(news)):
            sent.update(on_the_wire.get(at, ()))
        done += len(news)
        found = _recovered(left, losses) or []
        intended = {row for each in found if isinstance(each, Intent) for row in each.seqs}
        losses.states += 1
        losses.lost += len(sent - intended)
    return losses


def _rows_on_the_wire(calls: Sequence[Call]) -> dict[int, list[int]]:
    """By index of a call that carries recipients to SES: their rows."""
    tag = re.compile(rb'"mailsluice-id","Value":"[a-z2-7]{16}-(\d+)"')
    found = {
        at: [int(row) for row in tag.findall(call.data)]
        for at, call in enumerate(calls)
        if call.name == "write" and b"mailsluice-id" in call.data
    }
    assert found, "no recipient was seen on its way to SES"
    return found


def prove(size: Size) -> Proved:
    """States of the journal alone, and of a whole command."""
    journal_states, send_states = STATES[size]
    alone = _journal_states(COMMITS[size], journal_states)
    whole = _send_states(send_states)
    figures: list[Figure] = [
        at_least("states of the journal after a power cut", journal_states, alone.states),
        exactly("  acknowledged commits lost", 0, alone.lost),
        exactly("  parts of a transaction", 0, alone.torn),
        exactly("  not sound (integrity_check, seals)", 0, alone.unsound),
        at_least("states after a power cut during `send`", send_states, whole.states),
        exactly("  recipients on the wire without an intent", 0, whole.lost),
        exactly("  journals of these that are not sound", 0, whole.unsound),
    ]
    return Proved(figures)


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
