"""What events add up to, and what they prove."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.feedback import fate
from mailsluice.feedback.fate import Fate, Proof
from mailsluice.feedback.records import SesEvent, parse
from mailsluice.model import State
from tests.feedback import shapes


def event(record: dict[str, Any]) -> SesEvent:
    [found] = parse(shapes.raw(record))
    assert isinstance(found, SesEvent)
    return found


def bounce(type_: str, sub_type: str) -> SesEvent:
    told = {"bounceType": type_, "bounceSubType": sub_type}
    return event(shapes.record("Bounce", "bounce", told))


@pytest.mark.parametrize(
    ("record", "word", "state"),
    [
        (shapes.SEND, "sent", State.SENT),
        (shapes.DELIVERY, "delivered", State.SENT),
        (shapes.BOUNCE, "bounced", State.SENT),
        (shapes.SOFT_BOUNCE, "soft bounced", State.SENT),
        (shapes.SUPPRESSED, "suppressed by SES", State.SENT),
        (shapes.COMPLAINT, "complained", State.SENT),
        (shapes.NOT_SPAM, "sent", State.SENT),
        (shapes.DELAY, "delayed", State.SENT),
        (shapes.OPEN, "delivered", State.SENT),
        (shapes.CLICK, "delivered", State.SENT),
        (shapes.SUBSCRIPTION, "delivered", State.SENT),
        (shapes.REJECT, "rejected", State.REJECTED),
        (shapes.RENDERING_FAILURE, "render failed", State.FAILED),
    ],
)
def test_each_event_alone_proves_this(record: dict[str, Any], word: str, state: State) -> None:
    found = fate.of(event(record))
    assert fate.word(found.bits) == word
    assert fate.proof({"id": found}) == Proof(state, ("id",))


@pytest.mark.parametrize(
    ("type_", "sub_type", "bit"),
    [
        ("Permanent", "General", fate.HARD),
        ("Permanent", "NoEmail", fate.HARD),
        ("Permanent", "Suppressed", fate.HARD),  # SES's global list: AWS counts it
        ("Permanent", "SomethingNew", fate.HARD),
        ("Permanent", "OnAccountSuppressionList", fate.SUPPRESSED_BY_SES),
        ("Permanent", "UnsubscribedRecipient", fate.SUPPRESSED_BY_SES),
        ("Transient", "MailboxFull", fate.SOFT),
        ("Undetermined", "Undetermined", fate.SOFT),
        ("", "", fate.SOFT),
    ],
)
def test_only_an_address_that_does_not_work_is_a_hard_bounce(
    type_: str, sub_type: str, bit: int
) -> None:
    assert fate.of(bounce(type_, sub_type)).bits == bit


def test_a_complaint_about_a_suppressed_address_is_none() -> None:
    told = {"complaintSubType": "OnAccountSuppressionList"}
    found = event(shapes.record("Complaint", "complaint", told))
    assert fate.of(found).bits == fate.SUPPRESSED_BY_SES


@pytest.mark.parametrize(
    ("destinations", "bits"),
    [
        (["a@gmail.com"], fate.UNHEARD_COMPLAINTS),
        (["A <a@GoogleMail.com>"], fate.UNHEARD_COMPLAINTS),
        (["a@gmail.com", "b@example.com"], 0),
        (["a@notgmail.com.example"], 0),
        (["bounce+1@simulator.amazonses.com"], fate.EXEMPT),
        ([], 0),
    ],
)
def test_whom_aws_does_not_count_is_marked(destinations: list[str], bits: int) -> None:
    found = event(shapes.record("Send", "send", {}, destination=destinations))
    assert fate.of(found).bits == fate.SENT | bits


def test_an_unknown_event_proves_nothing() -> None:
    found = fate.of(event(shapes.record("Weighed", "weighing", {})))
    assert found.bits == 0
    assert fate.proof({"id": found}) is None
    assert fate.word(0) == ""


def test_silence_proves_nothing() -> None:
    assert fate.proof({}) is None


EVENTS = [event(record) for record in (*shapes.ALL.values(), shapes.SOFT_BOUNCE, shapes.SUPPRESSED)]
FATES = st.builds(
    Fate,
    st.integers(0, 2047),
    st.none() | st.integers(0, 2**33),
    st.none() | st.integers(0, 2**33),
)


def folded(events: list[SesEvent]) -> Fate:
    found = fate.of(events[0])
    for each in events[1:]:
        found = fate.join(found, fate.of(each))
    return found


@given(st.data())
def test_order_and_copies_make_no_difference(data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=8))
    copies = data.draw(st.lists(st.sampled_from(some), max_size=8))
    shuffled = data.draw(st.permutations([*some, *copies]))
    assert folded(shuffled) == folded(some)


@given(FATES, FATES, FATES)
def test_joining_is_a_semilattice(one: Fate, two: Fate, three: Fate) -> None:
    assert fate.join(one, one) == one
    assert fate.join(one, two) == fate.join(two, one)
    assert fate.join(fate.join(one, two), three) == fate.join(one, fate.join(two, three))


def test_the_worst_of_a_mail_is_shown() -> None:
    late = folded([event(shapes.COMPLAINT), event(shapes.DELIVERY), event(shapes.SEND)])
    assert fate.word(late.bits) == "complained"
    assert late.last_at is not None
    assert late.first_at is not None
    assert late.last_at - late.first_at == 7


@pytest.mark.parametrize(
    ("bits", "state"),
    [
        ((fate.SENT | fate.RENDER_FAILED,), State.FAILED),
        ((fate.RENDER_FAILED | fate.DELIVERED,), State.SENT),
        ((fate.RENDER_FAILED | fate.HARD,), State.SENT),
        ((fate.REJECTED | fate.SENT,), State.REJECTED),
        ((fate.RENDER_FAILED, fate.RENDER_FAILED), State.FAILED),
        ((fate.RENDER_FAILED, fate.SENT), State.SENT),
        ((fate.RENDER_FAILED, fate.REJECTED), State.REJECTED),
        ((fate.RENDER_FAILED | fate.EXEMPT,), State.FAILED),
    ],
)
def test_nothing_is_sent_again_that_may_have_been_delivered(
    bits: tuple[int, ...], state: State
) -> None:
    fates = {f"id-{n}": Fate(each, 1, 1) for n, each in enumerate(bits)}
    assert fate.proof(fates) == Proof(state, tuple(sorted(fates)))


@given(st.integers(0, 2047))
def test_a_fate_that_was_delivered_is_never_proven_unsent(bits: int) -> None:
    found = fate.proof({"id": Fate(bits, 1, 1)})
    if found is not None and found.state is State.FAILED:
        assert bits & fate.RENDER_FAILED
        assert not bits & (fate.DELIVERED | fate.HARD | fate.SOFT | fate.COMPLAINED | fate.DELAYED)


def test_events_of_attempts_that_were_answered_prove_nothing_of_the_one_in_doubt() -> None:
    failed = Fate(fate.RENDER_FAILED, 1, 1)
    fates = {"first": failed}
    assert fate.proof(fates, known={"first"}) is None
    fates["second"] = Fate(fate.SENT, 2, 2)
    assert fate.proof(fates, known={"first"}) == Proof(State.SENT, ("second",))


def test_the_last_mail_of_a_recipient_is_what_counts() -> None:
    failed, sent = Fate(fate.RENDER_FAILED, 1, 90), Fate(fate.DELIVERED, 50, 60)
    assert fate.latest({"b": failed, "a": sent}) == sent
    assert fate.latest({"b": failed}) == failed
