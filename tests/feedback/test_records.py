"""Every shape of an SES event is read, and nothing that arrives makes the parser fail."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsluice.feedback import fate, records
from mailsluice.feedback.records import Kind, Notice, SesEvent, Tag, Unreadable, parse
from tests.feedback import mutated, shapes

SENT_AT = datetime.fromisoformat(shapes.SENT_AT).timestamp()
AT = datetime.fromisoformat(shapes.AT).timestamp()
TAG = Tag(shapes.RUN, shapes.ROW)

SAID: dict[str, dict[str, Any]] = {
    "Send": {"at": SENT_AT, "recipients": (shapes.TO,)},
    "Delivery": {"at": AT, "recipients": (shapes.TO,)},
    "Bounce": {
        "at": AT,
        "recipients": ("forwarded@example.net",),
        "type": "Permanent",
        "sub_type": "NoEmail",
        "detail": "5.1.1 smtp; 550 5.1.1 <forwarded@example.net>: user unknown",
        "feedback_id": "0102018f4a3c3000-bounce-000000",
    },
    "Complaint": {
        "at": AT,
        "recipients": (shapes.TO,),
        "type": "abuse",
        "feedback_id": "0102018f4a3c3003-complaint-000000",
    },
    "Reject": {"at": SENT_AT, "recipients": (shapes.TO,), "detail": "Bad content"},
    "Rendering Failure": {
        "at": SENT_AT,
        "recipients": (shapes.TO,),
        "detail": "Attribute 'name' is not present in the rendering data.",
    },
    "DeliveryDelay": {
        "at": AT,
        "recipients": (shapes.TO,),
        "type": "TransientCommunicationFailure",
        "detail": "4.4.1 smtp; 421 4.4.1 no answer",
    },
    "Open": {"at": AT, "recipients": (shapes.TO,)},
    "Click": {"at": AT, "recipients": (shapes.TO,)},
    "Subscription": {"at": AT, "recipients": (shapes.TO,)},
}


@pytest.mark.parametrize("wrap", shapes.WRAPPINGS, ids=lambda wrap: wrap.__name__)
@pytest.mark.parametrize("name", shapes.ALL)
def test_each_type_is_read_in_each_wrapping(
    name: str, wrap: Callable[[dict[str, Any]], bytes]
) -> None:
    assert parse(wrap(shapes.ALL[name])) == [
        SesEvent(
            kind=Kind(name),
            tag=TAG,
            message_id=shapes.MESSAGE_ID,
            sent_at=SENT_AT,
            sender="example.org",
            destinations=(shapes.TO,),
            **SAID[name],
        )
    ]


def test_an_identitys_notification_is_nobodys() -> None:
    [event] = parse(shapes.sns(shapes.NOTIFICATION))
    assert isinstance(event, SesEvent)
    assert (event.kind, event.tag, event.message_id) == (Kind.BOUNCE, None, shapes.MESSAGE_ID)


def test_an_object_has_an_event_in_each_line() -> None:
    lines = b"".join(shapes.firehose(event) for event in shapes.ALL.values())
    for body in (lines, gzip.compress(lines), gzip.compress(lines[:0]) + gzip.compress(lines)):
        found = parse(body)
        assert [each.kind for each in found if isinstance(each, SesEvent)] == list(SAID)


def test_a_broken_line_costs_no_other_line() -> None:
    good = shapes.firehose(shapes.SEND)
    found = parse(good + b'{"eventType": "Del\n' + b"\n" + good)
    assert [type(each) for each in found] == [SesEvent, Unreadable, SesEvent]
    assert found[1] == Unreadable("it is not JSON", b'{"eventType": "Del')


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_text_after_a_topic_was_connected_is_a_notice(*, wrapped: bool) -> None:
    text = shapes.VALIDATED
    body = orjson.dumps({"Type": "Notification", "Message": text.decode()}) if wrapped else text
    assert parse(body) == [Notice("Successfully validated SNS topic")]


def test_a_subscription_to_confirm_is_a_notice_with_its_link() -> None:
    assert parse(orjson.dumps(shapes.CONFIRMATION)) == [
        Notice("SubscriptionConfirmation", shapes.CONFIRMATION["SubscribeURL"])
    ]


def test_an_unknown_type_is_counted_and_named() -> None:
    [event] = parse(shapes.sns(shapes.record("Auto Validated", "validation", {"why": "LOW"})))
    assert isinstance(event, SesEvent)
    assert (event.kind, event.sub_type, event.tag) == (Kind.OTHER, "Auto Validated", TAG)


def test_the_type_is_that_of_eventbridge_if_the_detail_has_none() -> None:
    detail = {key: value for key, value in shapes.DELIVERY.items() if key != "eventType"}
    body = orjson.dumps({"detail-type": "Email Delivered", "source": "aws.ses", "detail": detail})
    [event] = parse(body)
    assert isinstance(event, SesEvent)
    assert event.kind is Kind.DELIVERY


def tagged(value: Any) -> Tag | None:
    event = shapes.record("Send", "send", {}, tags={"mailsluice-id": value})
    [found] = parse(shapes.raw(event))
    assert isinstance(found, SesEvent)
    return found.tag


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (["run-1"], Tag("run", 1)),
        ("run-1", Tag("run", 1)),
        (["a-b-_c-1099511627775"], Tag("a-b-_c", 2**40 - 1)),
        (["run-1099511627776"], None),
        (["run-0"], None),
        (["run-01"], None),
        (["run-"], None),
        (["run-1 "], None),
        (["run-1\n"], None),
        (["run-\u0661"], None),
        (["-1"], None),
        (["run-1", "run-2"], None),
        ([], None),
        ([1], None),
        (None, None),
    ],
)
def test_only_one_tag_of_our_form_names_a_recipient(value: Any, tag: Tag | None) -> None:
    assert tagged(value) == tag


def test_every_optional_field_may_be_missing() -> None:
    for name in shapes.ALL:
        bare = {"eventType": name, "mail": {"messageId": "id"}}
        assert parse(shapes.raw(bare)) == [SesEvent(Kind(name), None, "id", None, None)]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b" \n ", "it is empty"),
        (b"hello", "it is not JSON"),
        (b"[" * 900 + b"]" * 900, "it is JSON, and no object"),
        (b"7", "it is JSON, and no object"),
        (b"{}", "none of eventType, Message, detail, Records is in it"),
        (b'{"Records": [{}]}', "one of its Records has neither Sns nor body"),
        (b'{"Message": "hello"}', "its Message is not JSON"),
        (b'{"eventType": "Send"}', "it has no mail"),
        (b'{"eventType": "Send", "mail": {}}', "mail.messageId is missing, or not an id"),
        (
            gzip.compress(b"{}", mtime=0)[:-9],
            "it is cut off, damaged, or too large when unpacked (gzip)",
        ),
    ],
)
def test_what_cannot_be_read_says_why_and_keeps_the_body(body: bytes, why: str) -> None:
    assert parse(body) == [Unreadable(why, body)]


def test_wrappings_do_not_nest_for_ever() -> None:
    body = shapes.raw(shapes.SEND)
    for _ in range(6):
        body = orjson.dumps({"Message": body.decode()})
    assert parse(body) == [Unreadable("it is wrapped too often", body)]


def test_a_body_that_unpacks_to_too_much_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BODY_BYTES_MAX", 1_000)
    assert [type(each) for each in parse(gzip.compress(b" " * 1_001))] == [Unreadable]
    assert parse(gzip.compress(b" " * 900 + b"{")) != []


def test_a_diagnostic_that_is_no_utf8_is_read() -> None:
    body = shapes.raw(shapes.BOUNCE).replace(b"user unknown", b"b\xeete pleine")
    [event] = parse(body)
    assert isinstance(event, SesEvent)
    assert event.detail.endswith("b\ufffdte pleine")


def test_long_texts_are_cut() -> None:
    long = "x" * 10_000
    event = shapes.record("Bounce", "bounce", {"bounceType": long, "bounceSubType": long})
    event["bounce"]["bouncedRecipients"] = [{"emailAddress": long, "diagnosticCode": long}] * 200
    [found] = parse(shapes.raw(event))
    assert isinstance(found, SesEvent)
    assert (len(found.type), len(found.sub_type), len(found.detail)) == (80, 80, 200)
    assert (len(found.recipients), len(found.recipients[0])) == (100, 320)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OURS = st.sampled_from(
    [
        *("eventType", "notificationType", "mail", "tags", "mailsluice-id", "messageId"),
        *("timestamp", "bounce", "bouncedRecipients", "Message", "Type", "detail", "Records"),
        *("Sns", "body"),
    ]
)
SHAPED = st.recursive(
    JSON | st.sampled_from(["Bounce", "Send", "run-1", shapes.AT]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(OURS, inner, max_size=5),
    max_leaves=20,
)


def check(body: bytes) -> None:
    """All that holds of any body."""
    found = parse(body)
    assert found, "every body comes to something: it can be deleted"
    for each in found:
        if isinstance(each, SesEvent):
            assert each.message_id
            assert fate.join(fate.of(each), fate.of(each)) == fate.of(each)
            assert each.tag is None or f"{each.tag.run}-{each.tag.row}".isascii()


@settings(max_examples=300)
@given(SHAPED)
def test_no_json_makes_it_fail(value: Any) -> None:
    check(json.dumps(value).encode())


@given(st.binary())
def test_no_bytes_make_it_fail(body: bytes) -> None:
    check(body)
    check(b"\x1f\x8b" + body)


@given(st.integers())
def test_no_mutation_of_an_event_makes_it_fail(seed: int) -> None:
    for body in mutated.bodies(Random(seed), 50):
        check(body)
