"""One walk over a journal's records that puts each settlement beside its intent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mailsluice.journal import Event, Intent, Record, Resolution, Settlement, Taken


class Answered(NamedTuple):
    """A call with its answer."""

    intent: Intent
    settlement: Settlement


class Unanswered(NamedTuple):
    """A call without an answer at the end of the records."""

    intent: Intent


Step = Taken | Intent | Answered | Unanswered | Resolution | Event


def paired(records: Iterable[Record]) -> Iterator[Step]:
    """Yield the records in their order, each settlement with its intent; open intents come last."""
    under_way: dict[int, Intent] = {}
    for record in records:
        if isinstance(record, Settlement):
            yield Answered(under_way.pop(record.batch), record)
            continue
        if isinstance(record, Intent):
            under_way[record.batch] = record
        yield record
    for intent in under_way.values():
        yield Unanswered(intent)
