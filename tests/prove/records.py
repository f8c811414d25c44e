"""Records as a run makes them, in any number, for proofs that need a journal and no run."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from mailsluice.journal import AddressColumns, Event, Intent, Record, Settlement, Taken
from mailsluice.model import Remark, State

BATCH = 12
"""Recipients of a batch, at most: small records, so that a state is read quickly."""


def transactions(random: Random, commits: int) -> Iterator[list[Record]]:
    """So many transactions, each of the records that could share one."""
    yield [Event(1.0, "begun", ""), Taken(1.0, 1, BATCH, [])]
    read = BATCH
    open_: dict[int, list[int]] = {}
    for batch in range(1, commits):
        at = float(batch)
        answered = [number for number in open_ if random.random() < 0.7]
        records: list[Record] = [_settled(each, open_.pop(each), random, at) for each in answered]
        last = read + random.randint(1, 3 * BATCH)
        refused = [Remark(last, State.REFUSED, "no-at", None, "line 7: to: there is no @")]
        records.append(Taken(at, read + 1, last, refused))
        seqs = list(range(read + 1, min(last, read + 1 + BATCH)))
        read = last
        if seqs:
            open_[batch] = seqs
            to = AddressColumns([f"user{seq}@example.com" for seq in seqs])
            records.append(Intent(at, batch, seqs, to))
        yield records


def _settled(number: int, seqs: list[int], random: Random, at: float) -> Settlement:
    codes = "".join(random.choice("sssrfib") for _ in seqs)
    return Settlement(
        at,
        number,
        codes,
        ["SUCCESS" if code == "s" else "TRANSIENT_FAILURE" for code in codes],
        [f"id-{random.getrandbits(80):020x}" if code == "s" else None for code in codes],
        [None if code == "s" else "later" for code in codes],
    )
