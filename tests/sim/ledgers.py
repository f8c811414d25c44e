"""Both ledgers of a simulated mailing, compared at every commit and at every arrival.

What the journal believes is checked against what SES has accepted attempt by attempt: a violation
is an AssertionError at the moment at which it happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar

from mailsluice.journal import (
    DOUBTED_CODE,
    STATE_CODES,
    STATES_BY_CODE,
    Event,
    Intent,
    Record,
    Resolution,
    Settlement,
    Taken,
)
from mailsluice.journal.memory import MemoryJournal
from mailsluice.journal.standing import Standing
from mailsluice.model import InDoubt, State
from mailsluice.model.errors import JournalError

UNANSWERED = {"NO_ANSWER", "BROKEN_ANSWER", "InternalFailure", "502", "SUCCESS"}
"""Statuses of attempts after which nobody can say whether SES has them (SUCCESS: without an id)."""


class Ledgers:
    """What is known of each attempt, which is a batch and a row, on both sides."""

    def __init__(self) -> None:
        self.standing = Standing()
        self.accepted: dict[tuple[int, int], str] = {}
        """MessageId by (batch, row), as SES has it."""
        self.deliveries: Counter[int] = Counter()
        """Times that SES has accepted each row."""
        self.doubts: Counter[int] = Counter()
        """Attempts of each row without an answer."""
        self._sent: set[int] = set()
        self._doubted: set[int] = set()
        """Rows of which an attempt since the operator's last word has no answer."""
        self._batch_of: dict[int, int] = {}
        self._denied: set[tuple[int, int]] = set()
        """Attempts of which the journal says that SES has not taken them."""

    def submitted(self, rows: Sequence[int]) -> dict[int, int]:
        """A call leaves for SES now: the batch of each of its rows.

        Intent before wire: each row is in a batch that the journal has open.
        """
        for row in rows:
            assert row in self._batch_of, f"row {row} leaves without a durable intent"
        batches = {row: self._batch_of[row] for row in rows}
        assert len(set(batches.values())) == 1, "one call is one batch"
        return batches

    def arrived(self, batches: dict[int, int], accepted: Sequence[tuple[int, str]]) -> None:
        """SES has accepted these rows of that call."""
        for row, message_id in accepted:
            attempt = batches[row], row
            assert attempt not in self.accepted, f"{attempt} arrived twice"
            assert attempt not in self._denied, f"the journal denies {attempt}, and it arrives"
            self.accepted[attempt] = message_id
            self.deliveries[row] += 1

    def committed(self, records: Sequence[Record], in_doubt: InDoubt) -> None:
        """These records are durable now, in a process with that setting."""
        for record in records:
            match record:
                case Intent():
                    self._intended(record, in_doubt)
                case Settlement():
                    self._settled(record)
                case Resolution():
                    self._resolved(record)
                case Taken() | Event():
                    pass
            self.standing.apply(record)
            assert self.standing.counts.conserved, self.standing.counts

    def _intended(self, record: Intent, in_doubt: InDoubt) -> None:
        for row in record.seqs:
            assert row not in self._sent, f"row {row} is sent, and is to be sent again"
            if in_doubt == "hold":
                assert row not in self._doubted, f"row {row} is doubtful, and is to be sent again"
            self._batch_of[row] = record.batch

    def _settled(self, record: Settlement) -> None:
        seqs = self.standing.open[record.batch]
        for place, (row, code) in enumerate(zip(seqs, record.states, strict=True)):
            attempt = record.batch, row
            del self._batch_of[row]
            if record.statuses[place] in UNANSWERED and code != STATE_CODES[State.SENT]:
                assert code in (STATE_CODES[State.IN_DOUBT], DOUBTED_CODE), f"{row}: {code}"
                self.doubts[row] += 1
                self._doubted.add(row)
            elif code == STATE_CODES[State.SENT]:
                assert self.accepted.get(attempt) == record.message_ids[place], (
                    f"the journal calls {attempt} sent, and SES has not accepted it so"
                )
                self._sent.add(row)
            else:
                assert attempt not in self.accepted, f"SES has {attempt}, the journal denies it"
                self._denied.add(attempt)
                if STATES_BY_CODE[code] in (State.REJECTED, State.FAILED):
                    assert row not in self._doubted, f"row {row} may have been delivered before"

    def _resolved(self, record: Resolution) -> None:
        for row in record.seqs:
            if record.state is State.PENDING:
                self._doubted.discard(row)
            elif record.state is State.REJECTED:
                assert row not in self._doubted, f"row {row} may have been delivered before"


class CheckedJournal(MemoryJournal):
    """A journal of which every commit is checked, and which can fail, or end with its process."""

    told: ClassVar[Callable[[Record], object]] = lambda _: None
    """Called with every record as it becomes durable."""

    def __init__(self, ledgers: Ledgers, in_doubt: InDoubt, before: MemoryJournal | None) -> None:
        super().__init__(before.replay(details=True) if before else ())
        if before is not None and before.run is not None:
            self._run = before.run
        self._ledgers = ledgers
        self._in_doubt: InDoubt = in_doubt
        self.failed = False
        self.violation: str | None = None
        """What was asked of it that may not be."""
        self.dead = False
        self.fails_at: int | None = None
        """Commits from now until one fails; None: none does."""
        self.fails_after = False
        """Whether that one is durable all the same, as a COMMIT in doubt may be."""
        self.dies_at: int | None = None
        self.dies_after = False
        """As the two above: the process dies before or after that commit is durable."""
        self.kill: Callable[[], None] = lambda: None

    def commit(self, records: Sequence[Record]) -> None:
        """Append, and check what it adds up to."""
        if self.failed:
            self.violation = "committed after a commit that failed"
        if self.dead or self.failed:
            raise JournalError("dead")
        if _is_due(self.dies_at):
            if self.dies_after:
                self._append(records)
            self.dead = True
            self.kill()
            raise JournalError("dead")
        if _is_due(self.fails_at):
            if self.fails_after:
                self._append(records)
            self.failed = True
            raise JournalError("the disk is full")
        self.dies_at = None if self.dies_at is None else self.dies_at - 1
        self.fails_at = None if self.fails_at is None else self.fails_at - 1
        self._append(records)

    def _append(self, records: Sequence[Record]) -> None:
        self._ledgers.committed(records, self._in_doubt)
        super().commit(records)
        for record in records:
            type(self).told(record)


def _is_due(commits: int | None) -> bool:
    return commits is not None and commits <= 0
