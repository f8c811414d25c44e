"""CPU of each stage alone, in microseconds a recipient: where a change has to begin.

    python -m benchmarks.stages [RECIPIENTS [ROUNDS]]      default: 100000 5

Each stage is given what the stage before it made, and nothing else runs. The medians of the rounds.
"""

from __future__ import annotations

import asyncio
import gc
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from benchmarks.lists import write_list
from mailsluice import Mailing, journal
from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.dispatch.dispatcher import Dispatcher, Done, Send
from mailsluice.dispatch.gate import Gate
from mailsluice.dispatch.pacer import Pacer
from mailsluice.journal import Record, Taken
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.journal.standing import Standing
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import assemble
from mailsluice.model import Answer, Batch, Entry, EntryResult, Outcome
from mailsluice.model.rolling_window import RollingDay
from mailsluice.ses import statuses
from mailsluice.sources import Fields, Row, files

Result = TypeVar("Result")

MAILING = Mailing(
    from_address="News <news@example.com>",
    template="welcome",
    data={"city": "Lisbon"},
    tags={"campaign": "november"},
)
SIZE = 50
TRIP = 8
"""Batches whose records share a transaction."""

MESSAGE_ID = "010001a20f672af8-17e4feab-dc08-e4f3-1182-{:012x}-000000"


class Stages:
    """The stages over one list; each method measures one and hands its result on."""

    def __init__(self, folder: Path, recipients: int) -> None:
        self._folder = folder
        self._list = folder / "recipients.csv"
        self._recipients = recipients
        write_list(self._list, recipients)
        self.took: dict[str, list[float]] = {}

    def round(self) -> None:
        """Each stage once."""
        rows = self._measured("source: bytes to rows", self._read)
        entries = self._measured("intake: rows to entries", lambda: _taken_in(rows))
        batches = [
            Batch(number, tuple(entries[at : at + SIZE]))
            for number, at in enumerate(range(0, len(entries), SIZE), 1)
        ]
        prefix = MAILING.prefix()
        self._measured("request: entries to a body", lambda: _assembled(prefix, batches))
        answers = [
            Answer(
                results=tuple(
                    EntryResult("SUCCESS", MESSAGE_ID.format(entry.seq)) for entry in batch.entries
                )
            )
            for batch in batches
        ]
        outcomes = self._measured(
            "dispatcher, pacer and classifier", lambda: _dispatched(entries, answers)
        )
        self._measured(
            "journal: records to the disk (FULL)",
            lambda: self._journalled(batches, outcomes),
        )

    def _measured(self, stage: str, run: Callable[[], Result]) -> Result:
        gc.collect()
        gc.freeze()  # what the stage is given is not its own
        begun = time.process_time()
        result = run()
        spent = time.process_time() - begun
        self.took.setdefault(stage, []).append(spent / self._recipients * 1e6)
        return result

    def _read(self) -> list[Row]:
        async def read() -> list[Row]:
            source = files.open_source(self._list, Fields())
            return [row async for rows in source.rows() for row in rows]

        return asyncio.run(read())

    def _journalled(self, batches: Sequence[Batch], outcomes: Sequence[list[Outcome]]) -> None:
        path = self._folder / "mailing.journal"
        store, standing = SqliteJournal.open(path), Standing()
        pairs = iter(zip(batches, outcomes, strict=True))
        while some := list(islice(pairs, TRIP)):
            first, last = some[0][0].entries[0].seq, some[-1][0].entries[-1].seq
            begun: list[Record] = [Taken(0.0, first, last, [])]
            begun += [journal.intent(batch, 0.0) for batch, _ in some]
            ended = [journal.settlement(batch.number, found, 0.0) for batch, found in some]
            for records in (begun, ended):
                store.commit(records)
                standing.apply_all(records)
        store.close()
        path.unlink()


def _taken_in(rows: list[Row]) -> list[Entry]:
    intake = Intake(MAILING, "run")
    entries: list[Entry] = []
    for at in range(0, len(rows), 256):
        entries += intake.take(rows[at : at + 256]).entries
    return entries


def _assembled(prefix: bytes, batches: Sequence[Batch]) -> None:
    for batch in batches:
        assemble(prefix, batch.entries)


def _dispatched(entries: list[Entry], answers: Sequence[Answer]) -> list[list[Outcome]]:
    gate = Gate(Pacer(1e9, 0.0), DailyQuota(RollingDay()), in_flight_max=32)
    dispatcher = Dispatcher(gate, Attempts(attempts_max=8, in_doubt="hold"))
    given = iter(range(0, len(entries), 256))
    found: list[list[Outcome]] = []
    now = 0.0
    while True:
        now += 1e-4
        while dispatcher.backlog.wants_more and (at := next(given, None)) is not None:
            dispatcher.backlog.offer(entries[at : at + 256], now)
        if dispatcher.backlog.wants_more:
            dispatcher.backlog.source_ended()
        match dispatcher.decide(now):
            case Send(batch):
                dispatcher.calls.ready(batch, now)
                dispatcher.calls.leave(batch, now)
                dispatcher.calls.written(batch, now)
                verdicts = statuses.classify(answers[batch.number - 1], len(batch.entries))
                outcomes = dispatcher.judge(batch, verdicts, now)
                dispatcher.absorb(batch, verdicts, outcomes, now)
                found.append(outcomes)
            case Done():
                return found
            case other:
                raise AssertionError(other)


def main(recipients: int, rounds: int) -> None:
    """Print the table."""
    print(f"{platform.machine()}, Python {platform.python_version()}; {recipients:,} recipients\n")
    with tempfile.TemporaryDirectory(prefix="mailsluice-stages-") as folder:
        stages = Stages(Path(folder), recipients)
        for _ in range(rounds):
            stages.round()
    print("| stage alone | CPU, µs a recipient |\n|---|---|")
    for stage, figures in stages.took.items():
        print(f"| {stage} | {statistics.median(figures):.2f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000, int(sys.argv[2]) if sys.argv[2:] else 5)
