"""What every journal must do. Another backend joins by one line in `backends.BACKENDS`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailsluice import journal as journals
from mailsluice.journal import (
    AddressColumns,
    Addresses,
    Event,
    Intent,
    Journal,
    Record,
    Resolution,
    RunHeader,
    Settlement,
    Taken,
)
from mailsluice.journal.standing import Standing
from mailsluice.model import Batch, Counts, Entry, Outcome, Remark, SourceIdentity, State
from mailsluice.model.errors import JournalError
from tests.journal.backends import BACKENDS, Backend
from tests.journal.machine import plain

RUN = RunHeader(
    id="abcdefgh234567aa",
    begun_at=1000.5,
    source=SourceIdentity(name="list.csv", size=10, modified=3.25, tag='"ff"'),
    mailing_digest="00",
)

RECORDS: list[Record] = [
    Event(1.0, "begun", ""),
    Taken(
        2.0,
        1,
        6,
        [
            Remark(3, State.REFUSED, "no-at", None, "line 4: email: there is no @"),
            Remark(5, State.DUPLICATE, "a@example.com", "k5", "the same address as before"),
        ],
    ),
    Intent(
        3.0,
        1,
        [1, 2, 4],
        AddressColumns.of(
            [
                Addresses(["a@example.com"], [], [], None),
                Addresses(["b@example.com", "c@example.com"], ["d@example.com"], [], "key-2"),
                Addresses([], [], ["e@example.com"], None),
            ]
        ),
    ),
    Settlement(
        4.0,
        1,
        "sbr",
        ["SUCCESS", "TRANSIENT_FAILURE", "MESSAGE_REJECTED"],
        ["id-1", None, None],
        [None, "later", "virus"],
    ),
    Intent(5.0, 2, range(2, 3), AddressColumns([["b@example.com"]], key=["key-2"])),
    Settlement(6.0, 2, "i", ["NO_ANSWER"], [None], ["closed"]),
    Resolution(7.0, [2], State.SENT, "RESOLVED", "an operator says so"),
    Event(8.0, "held", "TEMPLATE_NOT_FOUND: no such template"),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
def journal(backend: Backend) -> Iterator[Journal]:
    made = backend.open()
    yield made
    made.close()


def test_it_gives_back_every_record_in_the_order_of_commit(journal: Journal) -> None:
    journal.begin(RUN)
    journal.commit(RECORDS[:3])
    journal.commit(RECORDS[3:])
    assert [plain(each) for each in RECORDS] == [
        plain(each) for each in journal.replay(details=True)
    ]


def test_it_adds_up_to_the_same_standing_with_and_without_details(journal: Journal) -> None:
    journal.begin(RUN)
    journal.commit(RECORDS)
    bare = Standing().apply_all(journal.replay(details=False))
    full = Standing().apply_all(journal.replay(details=True))
    assert full.counts == bare.counts
    assert (full.burned, full.open) == (bare.burned, bare.open)
    for state, rows in full.revisable.items():
        assert list(rows) == list(bare.revisable[state])
    assert Counts(read=6, refused=1, duplicate=1, sent=2, rejected=1, pending=1) == bare.counts
    assert bare.counts.conserved


def test_its_run_is_bound_by_the_first_row_taken(journal: Journal) -> None:
    runs = [journal.run]
    for run in (replace(RUN, id="b" * 16), RUN):
        journal.begin(run)
        runs.append(journal.run)
    assert runs == [None, replace(RUN, id="b" * 16), RUN]
    journal.commit(RECORDS[:2])
    with pytest.raises(JournalError):
        journal.begin(RUN)


def test_records_made_of_a_batch_say_what_the_batch_was(journal: Journal) -> None:
    batch = Batch(9, (Entry(4, 2, ("x@example.com",), ("y@example.com",), (), "k", b"{}"),))
    outcomes = [Outcome(State.PENDING, "FAILED", None, "why", burned=True)]
    journal.begin(RUN)
    journal.commit([journals.intent(batch, 1.0), journals.settlement(9, outcomes, 2.0)])
    intent, settlement = journal.replay(details=True)
    assert isinstance(intent, Intent)
    assert isinstance(settlement, Settlement)
    assert (intent.batch, list(intent.seqs), intent.addresses.at(0).key) == (9, [4], "k")
    assert (
        settlement.states,
        list(settlement.statuses),
        list(settlement.errors),
    ) == ("b", ["FAILED"], ["why"])


def test_text_that_is_no_unicode_is_kept_readable(journal: Journal) -> None:
    journal.begin(RUN)
    journal.commit([Taken(1.0, 1, 1, [Remark(1, State.REFUSED, "\udcff", None, "bytes \udcff")])])
    [taken] = journal.replay(details=True)
    assert isinstance(taken, Taken)
    assert taken.remarks[0].reason.startswith("bytes ")


def test_an_empty_commit_changes_nothing(journal: Journal) -> None:
    journal.begin(RUN)
    journal.commit([])
    assert list(journal.replay(details=True)) == []


def test_what_was_committed_survives_a_crash(backend: Backend) -> None:
    journal = backend.open()
    journal.begin(RUN)
    journal.commit(RECORDS[:4])
    after = backend.crash()
    after.commit(RECORDS[4:])
    assert [plain(each) for each in after.replay(details=True)] == [plain(each) for each in RECORDS]
    assert after.run == RUN
    after.close()
    journal.close()


def test_a_replay_does_not_see_what_comes_after_it_and_hinders_no_commit(journal: Journal) -> None:
    journal.begin(RUN)
    journal.commit(RECORDS[:3])
    replay = journal.replay(details=True)
    assert plain(next(replay)) == plain(RECORDS[0])
    journal.commit(RECORDS[3:])
    assert len(list(journal.replay(details=True))) == len(RECORDS)


def test_closing_twice_is_harmless(journal: Journal) -> None:
    journal.close()
    journal.close()
