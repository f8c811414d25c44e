"""What a run would send, found by reading and validating everything and sending nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from mailsluice import batching
from mailsluice.intake import Intake
from mailsluice.mailing import assemble
from mailsluice.model import Account, Counts, Entry, Remark, State
from mailsluice.sources import Source

REMARKS_MAX = 10
"""Refused and duplicate rows that a plan shows in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The findings. `counts.pending` is what would be sent."""

    counts: Counts
    weight: int
    """Addresses: what the quota counts."""
    calls: int
    """SendBulkEmail calls, where nothing has to be sent again."""
    rate_per_s: float | None
    """Recipients per second; None where neither the account nor the settings say."""
    account: Account | None
    price: float
    """US dollars, at the configured price per 1,000 recipients."""
    first_body: bytes | None
    """The first request, as JSON."""
    remarks: tuple[Remark, ...]
    """The first rows that would not be sent."""

    @property
    def seconds(self) -> float | None:
        """How long it takes at that rate, the daily quota aside."""
        return self.weight / self.rate_per_s if self.rate_per_s else None


async def make(  # noqa: PLR0913  # what a run is made of
    prefix: bytes,
    source: Source,
    intake: Intake,
    *,
    rate_per_s: float | None,
    account: Account | None,
    price_per_1000: float,
) -> Plan:
    """Read the whole source. Raises SourceError where it cannot be read.

    `prefix` is the mailing's part of each request (`Mailing.prefix`).
    """
    tally = _Tally(batching.size_for(rate_per_s or batching.BATCH_WEIGHT_MAX))
    async for rows in source.rows():
        chunk = intake.take(rows)
        tally.add(chunk.last - chunk.first + 1, chunk.entries, chunk.remarks)
    tally.flush()
    first = tally.first_batch
    return Plan(
        counts=tally.counts(),
        weight=tally.weight,
        calls=tally.calls,
        rate_per_s=rate_per_s,
        account=account,
        price=tally.weight / 1000 * price_per_1000,
        first_body=assemble(prefix, first) if first else None,
        remarks=tuple(tally.remarks),
    )


class _Tally:
    """Counts, and cuts batches as the dispatcher would."""

    def __init__(self, size: int) -> None:
        self.weight = self.calls = self._read = self._settled = 0
        self.first_batch: list[Entry] = []
        self.remarks: list[Remark] = []
        self._by_state = dict.fromkeys((State.REFUSED, State.DUPLICATE, State.SUPPRESSED), 0)
        self._pending = 0
        self._size = size
        self._queue: deque[Entry] = deque()

    def add(self, read: int, entries: list[Entry], remarks: list[Remark]) -> None:
        self._read += read
        self._pending += len(entries)
        self._settled += read - len(entries) - len(remarks)
        self.weight += sum(entry.weight for entry in entries)
        for remark in remarks:
            self._by_state[remark.state] += 1
        self.remarks.extend(remarks[: REMARKS_MAX - len(self.remarks)])
        self._queue.extend(entries)
        while len(self._queue) >= self._size:
            self._cut()

    def flush(self) -> None:
        while self._queue:
            self._cut()

    def _cut(self) -> None:
        batch = batching.take(self._queue, self._size)
        self.first_batch = self.first_batch or batch
        self.calls += 1

    def counts(self) -> Counts:
        """Rows that the journal has settled already count as sent."""
        return Counts(
            read=self._read,
            refused=self._by_state[State.REFUSED],
            duplicate=self._by_state[State.DUPLICATE],
            suppressed=self._by_state[State.SUPPRESSED],
            sent=self._settled,
            pending=self._pending,
        )
