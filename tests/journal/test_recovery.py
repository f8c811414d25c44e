"""What a process that ended left open in its journal. Each test names its incident."""

from __future__ import annotations

from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from mailsluice import JournalError
from mailsluice.journal import Intent, Record, Settlement, Taken
from mailsluice.journal import recovery as resume
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.journal.standing import Standing
from mailsluice.model import InDoubt


def open_run(batches: int, *, open_last: bool) -> list[Record]:
    """A run of batches of one, all answered, or all but the last."""
    records: list[Record] = [Taken(0.0, 1, batches, [])]
    for number in range(1, batches + 1):
        records.append(Intent(0.0, number, [number]))
        if number < batches or not open_last:
            records.append(Settlement(0.0, number, "s", ["SUCCESS"], ["id"], [None]))
    return records


def test_recovery_finds_the_last_open_call_behind_any_number_of_settled_ones(
    tmp_path: Path,
) -> None:
    """River (changelog): the rescuer's pages were starved by rows that were not its business."""
    with closing(SqliteJournal.open(tmp_path / "run.journal")) as journal:
        journal.commit(open_run(3_000, open_last=True))
        standing = resume.standing_of(journal)
    [orphan] = resume.recovered(standing, "hold", 1.0)
    assert isinstance(orphan, Settlement)
    assert orphan.batch == 3_000


def test_a_late_settlement_never_overwrites_what_recovery_has_settled() -> None:
    """River#1302, PR#1373: the rescuer overwrote jobs that had been completed meanwhile."""
    policies: tuple[InDoubt, ...] = ("hold", "resend")
    answers = map("".join, product("srfip", repeat=3))
    for states, policy, late in product(answers, policies, (True, False)):
        standing = Standing().apply_all([Taken(0.0, 1, 3, []), Intent(0.0, 1, [1, 2, 3])])
        answer = Settlement(0.0, 1, states, [], [], [])
        [recovery] = resume.orphans(standing, policy, 1.0)
        first, second = (recovery, answer) if late else (answer, recovery)
        standing.apply(first)
        counts, settled = standing.counts, list(standing.settled)
        with pytest.raises(JournalError, match="settled but not open"):
            standing.apply(second)
        assert (counts, settled) == (standing.counts, list(standing.settled))
