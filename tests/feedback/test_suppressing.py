"""Hard bounces and complaints suppress; soft bounces do after so many in a row."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.feedback.ingest import Ingest
from mailsluice.feedback.records import Kind, SesEvent, Tag
from mailsluice.feedback.store import FeedbackStore
from mailsluice.feedback.suppressing import Suppressing, read, whom
from mailsluice.model.errors import StoreError
from mailsluice.suppression.scopes import ALL, MAILINGS, Reason
from mailsluice.suppression.store import Suppressions
from tests.feedback import shapes
from tests.feedback.test_listener import event as record

ANN, BOB = "ann@example.com", "bob@example.com"
NOW = 1_795_683_600.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Suppressions]:
    with closing(Suppressions.open(tmp_path / "suppressions.db")) as opened:
        yield opened


def event(kind: Kind, type_: str = "", *, at: float = NOW, **more: Any) -> SesEvent:
    fields = {"message_id": f"id-{at}", "destinations": (ANN,), "recipients": (ANN,)}
    return SesEvent(kind, Tag("run", 7), at=at, sent_at=at, type=type_, **(fields | more))


def hard(**more: Any) -> SesEvent:
    return event(Kind.BOUNCE, "Permanent", sub_type="General", **more)


def soft(at: float = NOW, **more: Any) -> SesEvent:
    return event(Kind.BOUNCE, "Transient", sub_type="MailboxFull", at=at, **more)


def found(store: Suppressions, address: str = ANN) -> list[tuple[Reason, str, str]]:
    return [(each.reason, each.scope, each.source) for each in store.entries(address)]


def test_a_hard_bounce_suppresses_all_mail_and_a_complaint_all_mailings(
    store: Suppressions,
) -> None:
    act = Suppressing(store, 0)
    act([hard(), event(Kind.COMPLAINT, "abuse", destinations=(BOB,), recipients=(BOB,))])
    assert found(store) == [(Reason.BOUNCE, ALL, "run-7")]
    assert found(store, BOB) == [(Reason.COMPLAINT, MAILINGS, "run-7")]


@pytest.mark.parametrize(
    "told",
    [
        soft(),
        event(Kind.DELIVERY),
        event(Kind.COMPLAINT, "not-spam"),
        hard()._replace(sub_type="OnAccountSuppressionList"),
        hard(destinations=("bounce@simulator.amazonses.com",)),
        event(Kind.RENDERING_FAILURE),
    ],
    ids=lambda told: f"{told.kind} {told.type} {told.sub_type}",
)
def test_nothing_else_does(store: Suppressions, told: SesEvent) -> None:
    Suppressing(store, 0)([told])
    assert list(store.entries()) == []


@pytest.mark.parametrize(
    ("destinations", "recipients", "about"),
    [
        (("Ann <Ann@Example.com>",), ("forwarded@elsewhere.example",), [ANN]),
        ((ANN, BOB), (BOB,), [BOB]),
        ((ANN, BOB), ("forwarded@elsewhere.example",), []),
        ((), (ANN,), [ANN]),
    ],
)
def test_who_it_is_about(
    destinations: Sequence[str], recipients: Sequence[str], about: list[str]
) -> None:
    told = hard(destinations=tuple(destinations), recipients=tuple(recipients))
    assert whom(told) == about


def test_soft_bounces_in_a_row_suppress_and_a_delivery_ends_the_row(store: Suppressions) -> None:
    act = Suppressing(store, 3)
    act([soft(NOW), soft(NOW + 1)])
    act([soft(NOW), soft(NOW + 1)])  # the same twice
    assert found(store) == []
    act([event(Kind.DELIVERY, at=NOW + 2)])
    act([soft(NOW + 3), soft(NOW + 4)])
    assert found(store) == []
    act([soft(NOW + 5)])
    assert found(store) == [(Reason.BOUNCE, ALL, "3 soft bounces in a row")]


def test_who_is_allowed_again_begins_a_new_row(store: Suppressions) -> None:
    act = Suppressing(store, 2)
    act([soft(NOW), soft(NOW + 1)])
    store.remove(ANN)
    act([soft(NOW + 2)])
    assert found(store) == []


@given(st.lists(st.sampled_from(["hard", "soft", "delivered"]), max_size=8))
def test_without_a_row_only_hard_bounces_count(kinds: list[str]) -> None:
    events = {"hard": hard(), "soft": soft(), "delivered": event(Kind.DELIVERY)}
    told = read([events[kind] for kind in kinds])
    assert len(told.suppressions) == kinds.count("hard")


async def test_an_event_is_stored_then_suppresses_and_is_refused_until_both_are_durable(
    tmp_path: Path, store: Suppressions
) -> None:
    """The order store, suppress, delete: what cannot be suppressed must not be deleted."""
    with closing(FeedbackStore.open(tmp_path / "feedback.db")) as feedback:
        seen: list[int] = []

        def act(parsed: Any) -> None:
            seen.append(len(feedback.fates(shapes.RUN)))
            if len(seen) == 1:
                raise StoreError("the disk is full")
            Suppressing(store, 0)(parsed)

        ingest = Ingest(feedback, acts=[act], wall=time.time)
        body = shapes.raw(record(1, "Bounce"))
        with pytest.raises(StoreError):
            await ingest.put([body])
        assert list(store.entries()) == []
        await ingest.put([body])
    assert seen == [1, 1]
    assert [each.reason for each in store.entries()] == [Reason.BOUNCE]
