"""What a queue's message may say; the JSON Schema in docs/ says the same."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mailsluice.worker.queue import messages

SCHEMA = Path("docs/message.schema.json")

MAILING = {"from": "News <news@example.com>", "template": "welcome"}
ONE = {"mailing": MAILING, "to": "ann@example.com"}
PDF = {"content": base64.b64encode(b"%PDF").decode(), "file_name": "invoice.pdf"}

GOOD: list[dict[str, Any]] = [
    ONE,
    ONE | {"to": ["ann@example.com", "bob@example.com"], "cc": "cid@example.com", "lane": "bulk"},
    ONE | {"data": {"n": [1, {"a": None}]}, "tags": {"a": "b"}, "headers": {"X-A": "b"}},
    ONE | {"key": "order-7"},
    ONE | {"mailing": MAILING | {"attachments": [PDF]}},
    {"mailing": MAILING, "recipients": [{"to": "ann@example.com"}, {"to": "bob@example.com"}]},
    {"mailing": MAILING, "recipients": {"path": "s3://lists/a.csv"}},
    {
        "mailing": MAILING,
        "recipients": {"path": "s3://lists/a.ndjson.gz", "address": "mail", "key": "id"},
        "delivery": {"in_doubt": "resend"},
        "key": "november-2026",
    },
]

READS_A_FILE = {
    "from": "a@example.com",
    "content": {"subject": "Hi", "html_file": "/etc/passwd"},
}

BAD: list[tuple[Any, str]] = [
    (ONE | {"mailing": READS_A_FILE}, "mailing.content.html_file: unknown key"),
    ([ONE], "it is not a JSON object"),
    ({"to": "ann@example.com"}, "mailing: it is missing"),
    ({"mailing": MAILING}, "to: it is missing"),
    (ONE | {"mailing": "welcome"}, "mailing"),
    (ONE | {"too": 1}, "too: unknown key"),
    (ONE | {"to": 7}, "to"),
    (ONE | {"key": ""}, "key"),
    (ONE | {"lane": "fast"}, "lane"),
    (ONE | {"mailing": MAILING | {"attachments": ["a.pdf"]}}, "mailing.attachments.0"),
    (ONE | {"mailing": MAILING | {"attachments": [{"path": "a.pdf"}]}}, "mailing.attachments.0"),
    ({"mailing": MAILING, "recipients": []}, "recipients"),
    ({"mailing": MAILING, "recipients": [{"email": "ann@example.com"}]}, "recipients.0"),
    ({"mailing": MAILING, "recipients": {"path": "list.csv"}}, "recipients.path"),
    ({"mailing": MAILING, "recipients": {"path": "/etc/passwd"}}, "recipients.path"),
    ({"mailing": MAILING, "recipients": {"path": "/dev/stdin"}}, "recipients.path"),
    ({"mailing": MAILING, "recipients": {"path": "-"}}, "recipients.path"),
    ({"mailing": MAILING, "recipients": {"path": "file:///s3://a/b"}}, "recipients.path"),
    ({"mailing": MAILING, "recipients": {"path": "s3://a/b"}, "key": "../up"}, "key"),
]


def valid(read: Any) -> bool:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid(read)


def test_the_schema_in_the_documentation_is_that_of_the_models() -> None:
    assert json.loads(SCHEMA.read_text()) == messages.schema(), (
        "write it again: python -m mailsluice.worker.queue.messages > docs/message.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(messages.schema())


@pytest.mark.parametrize("read", GOOD, ids=json.dumps)
def test_a_good_message_is_read_and_the_schema_says_so_too(read: dict[str, Any]) -> None:
    assert messages.parse(json.dumps(read)).mailing.template == "welcome"
    assert valid(read)


@pytest.mark.parametrize(("read", "why"), BAD, ids=lambda each: json.dumps(each)[:60])
def test_a_bad_message_is_refused_with_the_field_and_by_the_schema_too(read: Any, why: str) -> None:
    with pytest.raises(messages.BodyError) as refused:
        messages.parse(json.dumps(read))
    assert str(refused.value).startswith(why)
    assert not valid(read)


@pytest.mark.parametrize(
    "mailing", [{"from": "nobody"}, {"from": "a@example.com"}, MAILING | {"tags": {"ä": "b"}}]
)
def test_what_no_schema_can_say_is_checked_all_the_same(mailing: dict[str, Any]) -> None:
    with pytest.raises(messages.BodyError, match="mailing"):
        messages.parse(json.dumps(ONE | {"mailing": mailing}))


def test_an_attachment_comes_out_of_its_base64() -> None:
    read = messages.parse(json.dumps(ONE | {"mailing": MAILING | {"attachments": [PDF]}}))
    (attachment,) = read.mailing.attachments
    assert (attachment.content, attachment.file_name) == (b"%PDF", "invoice.pdf")
    assert b'"FileName":"invoice.pdf"' in read.mailing.prefix()


def test_messages_of_one_mailing_share_it() -> None:
    first, second = (
        messages.parse(json.dumps(ONE | {"to": to})) for to in ("a@b.example", "c@d.example")
    )
    assert first.mailing is second.mailing


def test_each_recipient_has_a_key_of_its_own() -> None:
    many = {
        "mailing": MAILING,
        "recipients": [{"to": "a@b.example"}, {"to": "c@d.example", "key": "k"}],
    }
    read = messages.parse(json.dumps(many))
    assert isinstance(read, messages.Many)
    assert [part.message.key for part in messages.parts(read, "id-1")] == ["id-1/1", "k"]
