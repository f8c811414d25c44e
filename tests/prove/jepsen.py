"""Jepsen's seven counts of a queue (checker.clj, total-queue), for recipients and mails.

An attempt whose answer is unknown is Jepsen's `:info`, our doubt. A run is valid where nothing is
lost and nothing unexpected; without all seven numbers it is no evidence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from mailsluice.reports.export import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of recipients, but for `duplicated`."""

    attempted: int = 0
    """In a call, whatever became of it."""
    acknowledged: int = 0
    """The journal calls them sent."""
    ok: int = 0
    """Attempted, and SES has a mail for them."""
    unexpected: int = 0
    """SES has a mail for them, and they were never attempted."""
    duplicated: int = 0
    """Mails beyond the first for the same recipient."""
    lost: int = 0
    """Called sent, and SES has no mail of that MessageId for them."""
    recovered: int = 0
    """SES has a mail for them, and the journal does not call them sent: the doubts that were."""

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = asdict(self), asdict(other)
        return Counts(**{name: count + theirs[name] for name, count in mine.items()})

    def __str__(self) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in asdict(self).items())


def count(lines: Iterable[Line], accepted: Iterable[tuple[str, str]]) -> Counts:
    """The counts of one run: `export.lines`, and pairs of `mailsluice-id` tag and MessageId."""
    mails: dict[int, list[str]] = defaultdict(list)
    for tag, message_id in accepted:
        mails[int(tag.rpartition("-")[2])].append(message_id)
    attempted, acknowledged, lost = set(), set(), 0
    for line in lines:
        if line.attempts:
            attempted.add(line.seq)
        if line.state == "sent":
            acknowledged.add(line.seq)
            lost += line.message_id not in mails.get(line.seq, ())
    delivered = mails.keys()
    return Counts(
        attempted=len(attempted),
        acknowledged=len(acknowledged),
        ok=len(delivered & attempted),
        unexpected=len(delivered - attempted),
        duplicated=sum(len(ids) - 1 for ids in mails.values()),
        lost=lost,
        recovered=len(delivered - acknowledged),
    )
