"""What was heard of a run: its events by kind, how late they came, how many recipients are silent.

Silence proves nothing of one recipient. How often recipients that are known as sent are silent says
how much the silence of one in doubt is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailsluice.journal import STATES_BY_CODE, Journal, Resolution
from mailsluice.journal.walk import Answered, paired
from mailsluice.model import State
from mailsluice.model.bitmap import Bitmap

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a feedback store knows of one run, or of all."""

    kinds: dict[str, int]
    """Events by kind, copies included."""
    within_s: dict[float, int | None]
    """By quantile of the recipients heard of: in how many seconds at most after SES had accepted
    the mail; None: longer than any class."""
    sent: int | None
    """Recipients that the journal knows as sent; None without a journal."""
    heard: int | None
    """Recipients of those that any event has come for."""

    @property
    def silent(self) -> int | None:
        """Recipients known as sent of which nothing has been heard."""
        return None if self.sent is None or self.heard is None else self.sent - self.heard


def of(
    kinds: dict[str, int],
    classes: Sequence[tuple[int | None, int]],
    journal: Journal | None,
    rows: Iterable[int],
) -> Heard:
    """Put together what the store has with what the journal knows.

    `classes` are recipients by seconds until they were first heard of, `rows` all heard of.
    """
    sent = None if journal is None else sent_rows(journal)
    quantiles = QUANTILES if classes else ()
    return Heard(
        kinds=kinds,
        within_s={quantile: _within(classes, quantile) for quantile in quantiles},
        sent=None if sent is None else sent.total,
        heard=None if sent is None else sum(row in sent.rows for row in rows),
    )


@dataclass(frozen=True, slots=True)
class Sent:
    """The rows that a journal knows as sent."""

    rows: Bitmap
    total: int


def sent_rows(journal: Journal) -> Sent:
    """Read the whole journal."""
    rows, total = Bitmap(), 0
    for step in paired(journal.replay(details=False)):
        if isinstance(step, Answered):
            pairs = zip(step.intent.seqs, step.settlement.states, strict=True)
            found = [seq for seq, code in pairs if STATES_BY_CODE.get(code) is State.SENT]
        elif isinstance(step, Resolution) and step.state is State.SENT:
            found = list(step.seqs)
        else:
            continue
        rows.add(found)
        total += len(found)
    return Sent(rows, total)


def _within(classes: Sequence[tuple[int | None, int]], quantile: float) -> int | None:
    needed = quantile * sum(count for _, count in classes)
    so_far = 0
    for edge, count in classes:
        so_far += count
        if so_far >= needed:
            return edge
    return None
