"""A run's plan, made by reading and validating everything and sending nothing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailsluice.dispatch import batching
from mailsluice.dispatch.pacer import Pacer
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import assemble
from mailsluice.model import Account, Entry, Remark, State
from mailsluice.sources import Row, Source

REMARKS_MAX = 10
"""Refused and duplicate rows that a plan shows in full."""


PRICES_PER_1000_USD = {"NONE": 0.10, "ESSENTIALS": 0.16, "PRO": 0.22, "ENTERPRISE": 0.23}
"""Prices by the account's pricing plan: US dollars for 1,000 emails, without monthly fees,
attachments and extras (SES pricing page, since 2026-07-21)."""


def price_of_1000(configured: float | None, account: Account | None) -> float:
    """Return the price in US dollars, as configured or else by the account's plan."""
    if configured is not None:
        return configured
    plan = account.pricing_plan if account else None
    return PRICES_PER_1000_USD.get(plan or "NONE", PRICES_PER_1000_USD["NONE"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The result of a plan."""

    read: int
    recipients: int
    """Recipients that would be sent to."""
    refused: int
    duplicate: int
    suppressed: int
    settled: int
    """Rows that an earlier process has settled in the journal."""
    weight: int
    """Addresses: what the quota counts."""
    calls: int
    """Approximate number of SendBulkEmail calls, if nothing has to be retried."""
    rate_per_s: float | None
    """Recipients per second; None if neither the account nor the settings say."""
    account: Account | None
    price: float
    """US dollars, at the configured price per 1,000 recipients or that of the account's plan."""
    first_body: bytes | None
    """The first request, as JSON."""
    remarks: tuple[Remark, ...]
    """The first rows that would not be sent."""


async def build_plan(  # noqa: PLR0913  # what a run is made of
    prefix: bytes,
    source: Source,
    intake: Intake,
    *,
    rate_per_s: float | None,
    calls_per_s: float,
    account: Account | None,
    price_per_1000: float | None,
    see: Callable[[Sequence[Row]], None],
) -> Plan:
    """Read the whole source. Raises SourceError if it cannot be read.

    `prefix` is the mailing's part of each request (`Mailing.prefix`); 0 `calls_per_s` is no limit.
    `see` is shown all rows, a list at a time.
    """
    pacer = Pacer(rate_per_s or batching.BATCH_WEIGHT_MAX, 0.0, calls_per_s=calls_per_s)
    pace = pacer.statistics(0.0)
    tally = _Tally(pace.size_usual)
    async for rows in source.rows():
        see(rows)
        chunk = intake.take(rows)
        tally.add(len(rows), chunk.entries, [*chunk.remarks, *chunk.unfit])
    tally.flush()
    first = tally.first_batch
    return Plan(
        read=tally.read,
        recipients=tally.recipients,
        refused=tally.remarked[State.REFUSED],
        duplicate=tally.remarked[State.DUPLICATE],
        suppressed=tally.remarked[State.SUPPRESSED],
        settled=tally.read - tally.recipients - tally.remarked.total(),
        weight=tally.weight,
        calls=tally.calls,
        rate_per_s=pace.allowed_per_s if rate_per_s else None,
        account=account,
        price=tally.weight / 1000 * price_of_1000(price_per_1000, account),
        first_body=assemble(prefix, first) if first else None,
        remarks=tuple(tally.remarks),
    )


class _Tally:
    """Counts, and cuts batches as the dispatcher would."""

    def __init__(self, size: int) -> None:
        self.weight = self.calls = self.read = self.recipients = 0
        self.first_batch: list[Entry] = []
        self.remarks: list[Remark] = []
        self.remarked: Counter[State] = Counter()
        self._size = size
        self._queue: deque[Entry] = deque()

    def add(self, read: int, entries: list[Entry], remarks: list[Remark]) -> None:
        self.read += read
        self.recipients += len(entries)
        self.weight += sum(entry.weight for entry in entries)
        self.remarked.update(remark.state for remark in remarks)
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
