"""A journal in memory: for tests, and for services that accept its loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mailsluice.journal import Record, Resolution, RunHeader, Taken
from mailsluice.model import State
from mailsluice.model.bitmap import Bitmap
from mailsluice.model.errors import JournalError
from mailsluice.model.shown import numbered, shown


class MemoryJournal:
    """Keeps every record in a list: its memory grows with the run."""

    name = "memory"
    blocks = False

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._run: RunHeader | None = None
        self._records = list(records)

    def __repr__(self) -> str:
        run = f"run {self._run.id}" if self._run else "no run"
        return shown(self, run, numbered(len(self._records), "records"))

    @property
    def run(self) -> RunHeader | None:
        """The run of this journal; None before `begin`."""
        return self._run

    def begin(self, run: RunHeader) -> None:
        """Bind the journal to `run`."""
        if any(isinstance(record, Taken) for record in self._records):
            raise JournalError("memory: this journal belongs to a run already")
        self._run = run

    def commit(self, records: Sequence[Record]) -> None:
        """Append records."""
        self._records.extend(records)

    def replay(self, *, details: bool) -> Iterator[Record]:  # noqa: ARG002  # nothing to spare
        """Yield all records in the order of commit."""
        yield from self._records

    def reopened(self) -> tuple[int, Bitmap]:
        """See `Journal.reopened`."""
        rows = Bitmap()
        for record in self._records:
            if isinstance(record, Resolution) and record.state is State.PENDING:
                rows.add(record.seqs)
        return len(self._records), rows

    def close(self) -> None:
        """Do nothing."""
