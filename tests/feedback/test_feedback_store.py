"""`feedback.db` keeps what was heard, once, whatever comes how often and in which order."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.feedback import batch, fate
from mailsluice.feedback.batch import Change
from mailsluice.feedback.fate import Fate
from mailsluice.feedback.records import Parsed, Unreadable, parse
from mailsluice.feedback.store import FeedbackStore
from mailsluice.model.errors import StoreError
from tests.feedback import shapes

RUN = shapes.RUN
NOW = 1_795_683_607.0
SENT_AT = 1_795_683_600
AT = SENT_AT + 7


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    opened = FeedbackStore.open(tmp_path / "feedback.db")
    yield opened
    opened.close()


def events(*records: dict[str, Any]) -> list[Parsed]:
    return [each for record in records for each in parse(shapes.sns(record))]


def of(
    record: dict[str, Any], *, tag: str = shapes.TAG, id_: str = shapes.MESSAGE_ID, **mail: Any
) -> dict[str, Any]:
    """The same event of another mail."""
    tags = record["mail"].get("tags", {}) | {"mailsluice-id": [tag]}
    return record | {"mail": record["mail"] | {"tags": tags, "messageId": id_} | mail}


def test_a_mails_events_are_its_fate(store: FeedbackStore) -> None:
    changes = store.record(events(shapes.SEND, shapes.DELIVERY), NOW)
    assert changes == [
        Change(RUN, 17, shapes.MESSAGE_ID, fate.SENT | fate.DELIVERED, fate.SENT | fate.DELIVERED)
    ]
    changes = store.record(events(shapes.BOUNCE), NOW)
    bits = fate.SENT | fate.DELIVERED | fate.HARD
    assert changes == [Change(RUN, 17, shapes.MESSAGE_ID, fate.HARD, bits)]
    assert store.fates(RUN) == {17: {shapes.MESSAGE_ID: Fate(bits, SENT_AT, AT)}}
    assert store.fates(RUN, [16, 17]) == store.fates(RUN)
    assert store.fates(RUN, [16]) == store.fates("another") == {}


def test_copies_change_nothing(store: FeedbackStore) -> None:
    everything = events(*shapes.ALL.values())
    store.record(everything, NOW)
    before = store.fates(RUN), store.reports(RUN, 17), store.tally(RUN), store.heard_within(RUN)
    assert store.record(everything * 3, NOW + 600) == []
    after = store.fates(RUN), store.reports(RUN, 17), store.tally(RUN), store.heard_within(RUN)
    assert after == before
    assert store.heard(RUN) == dict.fromkeys(shapes.ALL, 4)


KINDS = [shapes.SEND, shapes.DELIVERY, shapes.BOUNCE, shapes.COMPLAINT, shapes.RENDERING_FAILURE]
SOME = [
    event
    for record in KINDS
    for tag in ("r-1", "r-2", "s-1")
    for id_ in (shapes.MESSAGE_ID, "another")
    for event in events(of(record, tag=tag, id_=id_))
]


def kept(batches: list[list[Parsed]]) -> tuple[Any, ...]:
    with tempfile.TemporaryDirectory() as name:
        store = FeedbackStore.open(Path(name) / "feedback.db")
        for each in batches:
            store.record(each, NOW)
        found = tuple(
            (store.fates(run), store.tally(run), [store.reports(run, row) for row in (1, 2)])
            for run in ("r", "s")
        )
        store.close()
        return found


def test_a_report_is_kept_for_each_row_that_it_names(store: FeedbackStore) -> None:
    rows = ("r-1", "r-2")
    store.record([each for tag in rows for each in events(of(shapes.COMPLAINT, tag=tag))], NOW)
    assert [len(store.reports("r", row)) for row in (1, 2)] == [1, 1]


@given(st.data())
def test_order_copies_and_batches_make_no_difference(data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(SOME), max_size=8))
    copies = data.draw(st.lists(st.sampled_from(some), max_size=6)) if some else []
    shuffled = data.draw(st.permutations([*some, *copies]))
    cut = data.draw(st.integers(0, len(shuffled)))
    assert kept([shuffled[:cut], shuffled[cut:]]) == kept([some])


def test_events_of_a_run_that_nobody_knows_are_kept_under_its_own_name(
    store: FeedbackStore,
) -> None:
    store.record(events(of(shapes.SEND, tag="stranger-3")), NOW)
    assert store.fates(RUN) == {}
    assert list(store.fates("stranger")) == [3]
    assert store.tally("stranger") == {fate.SENT: 1}


def test_a_mail_without_our_tag_is_counted_and_its_bounce_is_kept(
    store: FeedbackStore, tmp_path: Path
) -> None:
    assert store.record(events(shapes.NOTIFICATION, of(shapes.SEND, tag="no")), NOW) == []
    assert store.heard(None) == {"Bounce": 1, "Send": 1}
    assert store.heard(RUN) == {}
    with sqlite3.connect(tmp_path / "feedback.db") as other:
        [(row, message_id)] = other.execute("SELECT row, message_id FROM report")
    other.close()
    assert (row, message_id) == (None, shapes.MESSAGE_ID)


def test_two_bounces_of_one_mail_are_two_reports(store: FeedbackStore) -> None:
    second = shapes.BOUNCE | {"bounce": shapes.BOUNCE["bounce"] | {"feedbackId": "other"}}
    store.record(events(shapes.BOUNCE, second, shapes.BOUNCE), NOW)
    first, again = store.reports(RUN, 17)
    assert first == again
    assert first.sub_type == "NoEmail"
    assert first.detail == "5.1.1 smtp; 550 5.1.1 <<address>>: user unknown"


def test_a_second_message_id_has_a_fate_of_its_own(store: FeedbackStore) -> None:
    store.record(events(shapes.SEND, shapes.RENDERING_FAILURE), NOW)
    again = of(shapes.DELIVERY, id_="second", timestamp="2026-11-26T10:00:00Z")
    again |= {"delivery": {"timestamp": "2026-11-26T10:00:01Z"}}
    assert store.record(events(again), NOW) == [
        Change(RUN, 17, "second", fate.DELIVERED, fate.DELIVERED)
    ]
    store.record(events(of(shapes.COMPLAINT, id_="second")), NOW)
    fates = store.fates(RUN)[17]
    assert {id_: each.bits for id_, each in fates.items()} == {
        shapes.MESSAGE_ID: fate.SENT | fate.RENDER_FAILED,
        "second": fate.DELIVERED | fate.COMPLAINED,
    }


def test_the_tally_counts_a_row_once_and_by_its_last_mail(store: FeedbackStore) -> None:
    later = "2026-11-26T10:00:00Z"
    store.record(events(shapes.RENDERING_FAILURE, of(shapes.SEND, tag=f"{RUN}-1")), NOW)
    store.record(events(of(shapes.SEND, id_="second", timestamp=later)), NOW)
    assert store.tally(RUN) == Counter({fate.SENT: 2})


def test_how_late_rows_were_first_heard_of_is_known(store: FeedbackStore) -> None:
    sends = [of(shapes.SEND, tag=f"{RUN}-{row}", id_=f"id-{row}") for row in range(1, 4)]
    store.record(events(sends[0]), SENT_AT + 1.0)
    store.record(events(*sends[:2]), SENT_AT + 7.0)
    store.record(events(*sends), SENT_AT + 10.0**6)
    assert store.heard_within(RUN) == [(1, 1), (10, 1), (None, 1)]


def test_lags_of_bounces_are_sorted(store: FeedbackStore) -> None:
    for n, at in enumerate(("2026-11-26T09:00:59.250Z", "2026-11-26T09:00:05.250Z")):
        told = shapes.BOUNCE["bounce"] | {"timestamp": at, "feedbackId": str(n)}
        store.record(events(shapes.BOUNCE | {"bounce": told}), NOW)
    store.record(events(shapes.SOFT_BOUNCE), NOW)
    assert store.bounce_lags() == pytest.approx([5.0, 59.0], abs=1e-3)


def test_the_evidence_of_the_last_mails_of_a_sender_is_found(store: FeedbackStore) -> None:
    for run, kind in (("one", shapes.SEND), ("two", shapes.BOUNCE)):
        rows = [of(kind, tag=f"{run}-{row}", id_=f"{run}{row}") for row in range(1, 4)]
        store.record(events(*rows), NOW)
    store.record(events(of(shapes.SEND, tag="three-1", source="a@other.example")), NOW)
    assert store.past("example.org", 4) == [fate.SENT, fate.HARD, fate.HARD, fate.HARD]
    assert store.past("example.org", 100) == [fate.SENT] * 3 + [fate.HARD] * 3
    assert store.past("example.org", 100, since=AT) == [fate.HARD] * 3
    assert store.past("nobody.example", 100) == []


def test_what_cannot_be_read_is_kept_once_and_within_bounds(
    store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "UNREAD_MAX", 3)
    monkeypatch.setattr(batch, "UNREAD_BYTES_MAX", 10)
    long = Unreadable("why", b"x" * 100)
    store.record([long, long], 1.0)
    store.record([long], 2.0)
    assert store.unread() == [(1.0, "why", b"x" * 10)]
    store.record([Unreadable("why", b"%d" % n) for n in range(5)], 3.0)
    assert [body for _, _, body in store.unread()] == [b"2", b"3", b"4"]
    assert store.heard(None) == {"Unreadable": 8}


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    store = FeedbackStore.open(path)
    with sqlite3.connect(path) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON report BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    other.close()
    with pytest.raises(StoreError, match=r"feedback\.db: full"):
        store.record(events(shapes.SEND, shapes.BOUNCE), NOW)
    assert store.fates(RUN) == {}
    with sqlite3.connect(path) as other:
        other.execute("DROP TRIGGER full")
    other.close()
    store.record(events(shapes.SEND), NOW)  # the run's number was not taken for known
    assert list(store.fates(RUN)) == [17]
    store.close()


def test_two_processes_may_write(tmp_path: Path) -> None:
    stores = [FeedbackStore.open(tmp_path / "feedback.db") for _ in range(2)]
    stores[0].record(events(of(shapes.SEND, tag="a-1")), NOW)
    stores[1].record(events(of(shapes.SEND, tag="b-1"), of(shapes.BOUNCE, tag="a-1")), NOW)
    stores[0].record(events(of(shapes.DELIVERY, tag="b-1")), NOW)
    assert stores[0].fates("a") == stores[1].fates("a") != {}
    assert stores[0].fates("b") == stores[1].fates("b")
    for each in stores:
        each.close()


def test_what_was_recorded_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    if (child := os.fork()) == 0:
        store = FeedbackStore.open(path)
        store.record(events(shapes.SEND), NOW)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    store = FeedbackStore.open(path)
    assert list(store.fates(RUN)) == [17]
    store.close()


def test_a_forked_process_must_open_its_own(store: FeedbackStore) -> None:
    if (child := os.fork()) == 0:
        try:
            store.record([], NOW)
        except StoreError as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = FeedbackStore.open(tmp_path / "feedback.db")
        store.record(events(shapes.SEND), NOW)
    finally:
        os.umask(before)
    for each in tmp_path.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each
    assert {each.name for each in tmp_path.iterdir()} >= {"feedback.db", "feedback.db-wal"}
    store.close()
    assert [each.name for each in tmp_path.iterdir()] == ["feedback.db"]


def test_no_address_is_in_it(tmp_path: Path) -> None:
    store = FeedbackStore.open(tmp_path / "feedback.db")
    store.record(events(*shapes.ALL.values(), shapes.SOFT_BOUNCE, shapes.SUPPRESSED), NOW)
    store.close()
    content = (tmp_path / "feedback.db").read_bytes()
    assert b"ann@" not in content
    assert b"forwarded@" not in content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", r"the file is empty, which a feedback store never is"),
        (b"hello" * 1_000, r"file is not a database .*name the right one"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "feedback.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=why):
        FeedbackStore.open(path)
    assert path.read_bytes() == content


def test_another_programs_or_versions_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(StoreError, match="not a feedback store of mailsluice"):
        FeedbackStore.open(path)
    newer = tmp_path / "newer.db"
    FeedbackStore.open(newer).close()
    with sqlite3.connect(newer) as other:
        other.execute("PRAGMA user_version = 10")
    other.close()
    with pytest.raises(StoreError, match="its schema is version 10"):
        FeedbackStore.open(newer)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such folder"):
        FeedbackStore.open(tmp_path / "no" / "feedback.db")
