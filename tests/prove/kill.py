"""Proof 2: `mailsluice send`, killed by SIGKILL at random moments until it has finished.

Real processes, real SQLite files, real HTTP to the emulator; then both ledgers side by side.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

from mailsluice.emulator import (
    AccountSettings,
    CallFault,
    Emulator,
    EmulatorOptions,
    EntryFault,
    Latency,
    Script,
    emulator_thread,
)
from mailsluice.journal import Event, Intent, Record, Settlement
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.model import InDoubt
from mailsluice.model.codes import BROKEN_ANSWER, NO_ANSWER
from mailsluice.reports import export
from tests.prove import jepsen
from tests.prove.figures import Figure, Proved, Size, at_least, at_most, exactly
from tests.support import forked

MAILING = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"
[recipients]
path = "recipients.csv"
"""

MODES: tuple[InDoubt, ...] = ("hold", "resend")

KILLS = {"short": 24, "full": 10_000}

KILLS_A_RUN = 12
"""Then it may come to its end."""

PATIENCE_S = 60.0
"""A process that is left alone and has not ended by then is stuck."""

FIRST_CALL_S_MAX = 10.0
"""A process that has not called SES by then has nothing to call for, or is killed all the same."""

SENDING_S = 0.05
"""About as long as a whole list takes to send: kills fall into it evenly."""

STARTING_S = 0.2
"""About as long as the command takes to its first call."""

BATCH = 50

ORPHANED = "the process ended before the answer was recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What became of one list."""

    seed: int
    mode: InDoubt
    kills: int
    in_flight: int
    counts: jepsen.Counts
    rows: int
    accounted: int
    """Rows with a last outcome: refused, duplicate, sent, rejected, failed, in doubt."""
    stuck: bool
    twice: int
    """Recipients with more than one mail."""
    unexplained: int
    """Of these, with more mails than the journal lists attempts without an answer, and one."""
    doubts_a_kill: int
    """Most recipients that one kill left without an answer."""

    def __str__(self) -> str:
        return (
            f"kill seed={self.seed} {self.mode:<6} kills {self.kills:>2}, rows {self.rows:>5,}: "
            f"{self.counts}"
        )


def run(seed: int) -> Killed:
    """One list, killed again and again. Even seeds are for `hold`, odd ones for `resend`."""
    random = Random(seed)
    mode = MODES[seed % 2]
    in_flight = random.choice([1, 2, 4, 8])
    with (
        tempfile.TemporaryDirectory(prefix="mailsluice-kill-") as name,
        emulator_thread(_options(random, seed)) as emulator,
    ):
        folder = Path(name)
        rows = _write(folder, random)
        flags = ["--set", f"delivery.in_doubt={mode}", "--set", f"delivery.in_flight={in_flight}"]
        arguments = ["send", "mailing.toml", "--quiet", *flags]
        kills, stuck = _kill_until_finished(folder, emulator, arguments, random)
        accepted = [
            (each.tags["mailsluice-id"], each.message_id) for each in emulator.ledger.entries()
        ]
        with closing(SqliteJournal.read(folder / "mailing.journal")) as journal:
            lines = list(export.lines(journal))
            records = list(journal.replay(details=True))
    mails = Counter(int(tag.rpartition("-")[2]) for tag, _ in accepted)
    doubts = _doubts(records)
    return Killed(
        seed=seed,
        mode=mode,
        kills=kills,
        in_flight=in_flight,
        counts=jepsen.count(lines, accepted),
        rows=rows,
        accounted=sum(line.state != "pending" for line in lines),
        stuck=stuck,
        twice=sum(times > 1 for times in mails.values()),
        unexplained=sum(times > 1 + doubts[row] for row, times in mails.items()),
        doubts_a_kill=_most_orphans(records),
    )


def _options(random: Random, seed: int) -> EmulatorOptions:
    """A quick account with a slow network, and in half of the lists something that goes wrong."""
    faults = Script()
    if random.random() < 0.5:
        faults = Script(
            seed=seed,
            entry=(EntryFault(status="TRANSIENT_FAILURE", rate=0.01, times=1),),
            call=(
                CallFault(fault="lost", rate=0.02),
                CallFault(fault="error", code="InternalFailure", accepted=True, rate=0.02),
                CallFault(fault="error", code="TooManyRequestsException", rate=0.02),
            ),
        )
    return EmulatorOptions(
        account=AccountSettings(rate_per_s=100_000, daily_max=-1),
        latency=Latency(low_s=0.001, high_s=random.choice([0.005, 0.02]), seed=seed),
        faults=faults,
    )


def _write(folder: Path, random: Random) -> int:
    (folder / "mailing.toml").write_text(MAILING)
    rows = random.randint(100, 2000)
    with (folder / "recipients.csv").open("w") as file:
        file.write("email,name\n")
        for n in range(rows):
            address = (
                random.choice(["no-at", "user0@example.com"])
                if n % 97 == 96
                else f"user{n}@example.com"
            )
            file.write(f"{address},Name {n}\n")
    return rows


def _kill_until_finished(
    folder: Path, emulator: Emulator, arguments: Sequence[str], random: Random
) -> tuple[int, bool]:
    """How often it was killed, and whether it never came to its end."""
    context = forked.context()
    environment = emulator.environment
    for kills in range(KILLS_A_RUN):
        process = forked.start(context, folder, environment, arguments)
        _wait_for_a_moment(process, emulator, random)
        process.kill()
        process.join()
        if process.exitcode is not None and process.exitcode >= 0:
            return kills, process.exitcode not in {0, 1}
    process = forked.start(context, folder, environment, arguments)
    process.join(PATIENCE_S)
    stuck = process.exitcode not in {0, 1}
    process.kill()
    process.join()
    return KILLS_A_RUN, stuck


def _wait_for_a_moment(process: ForkServerProcess, emulator: Emulator, random: Random) -> None:
    if random.random() < 0.2:
        process.join(random.uniform(0, STARTING_S))
        return
    calls = emulator.statistics().account.calls
    deadline = time.monotonic() + FIRST_CALL_S_MAX
    while not emulator.wait_for(calls=calls + 1, timeout_s=0.05):
        if not process.is_alive() or time.monotonic() > deadline:
            return
    process.join(random.uniform(0, SENDING_S))


def _doubts(records: Sequence[Record]) -> Counter[int]:
    """Attempts without an answer, by row."""
    open_: dict[int, Sequence[int]] = {}
    doubts: Counter[int] = Counter()
    for record in records:
        if isinstance(record, Intent):
            open_[record.batch] = record.seqs
        elif isinstance(record, Settlement):
            for row, status in zip(open_.pop(record.batch), record.statuses, strict=True):
                doubts[row] += status in {NO_ANSWER, BROKEN_ANSWER, "InternalFailure"}
    return doubts


def _most_orphans(records: Sequence[Record]) -> int:
    """Most recipients that a process has found without an answer when it began."""
    most = found = 0
    for record in records:
        if isinstance(record, Event) and record.name == "resumed":
            found = 0
        elif isinstance(record, Settlement) and record.errors and record.errors[0] == ORPHANED:
            found += len(record.states)
            most = max(most, found)
    return most


def prove(size: Size) -> Proved:
    """As many kills as this size wants, over both modes."""
    killed: list[Killed] = []
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        seed = 0
        while sum(each.kills for each in killed) < KILLS[size]:
            wanted = KILLS[size] - sum(each.kills for each in killed)
            seeds = range(seed, seed + max(2, min(64, wanted // KILLS_A_RUN)))
            seed = seeds.stop
            for each in pool.map(run, seeds):
                print(each, flush=True)
                killed.append(each)
    return Proved(_figures(killed, size), [f"kill {mode}: {_sum(killed, mode)}" for mode in MODES])


def _sum(killed: Sequence[Killed], mode: InDoubt) -> jepsen.Counts:
    return sum((each.counts for each in killed if each.mode == mode), jepsen.Counts())


def _figures(killed: Sequence[Killed], size: Size) -> list[Figure]:
    held = [each for each in killed if each.mode == "hold"]
    resent = [each for each in killed if each.mode == "resend"]
    return [
        at_least("kills", KILLS[size], sum(each.kills for each in killed)),
        at_least(
            "  of which left calls in doubt", 1, sum(each.counts.recovered > 0 for each in held)
        ),
        exactly("recipients lost", 0, sum(each.counts.lost for each in killed)),
        exactly(
            "recipients not accounted for", 0, sum(each.rows - each.accounted for each in killed)
        ),
        exactly(
            "mails to recipients never attempted", 0, sum(each.counts.unexpected for each in killed)
        ),
        exactly("recipients mailed twice in hold", 0, sum(each.twice for each in held)),
        at_least("recipients mailed twice in resend", 1, sum(each.twice for each in resent)),
        exactly("  of these not explained by a doubt", 0, sum(each.unexplained for each in resent)),
        exactly("lists that never came to their end", 0, sum(each.stuck for each in killed)),
        at_most(
            "most doubts of one kill, of in_flight x 50 (per cent)",
            100,
            max(100 * each.doubts_a_kill // (BATCH * each.in_flight) for each in killed),
        ),
    ]
