"""The mailing: its limits by table, its request against botocore's own validator and serializer."""

from __future__ import annotations

import json
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import serialize, validate
from botocore.model import OperationModel
from pydantic import ValidationError

from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import SUFFIX, Attachment, Content, Mailing, Tracking, assemble
from mailsluice.model import Recipient
from mailsluice.model.errors import ConfigurationError
from mailsluice.sources import Row

FROM = {"from": "News <news@example.com>"}
MINIMAL = FROM | {"template": "welcome"}

FULL_TABLE: dict[str, Any] = {
    "from": "Nëws <news@example.com>",
    "from_arn": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
    "reply_to": ["help@example.com", "Help <b@münchen.de>"],
    "feedback_forwarding": "bounces@example.com",
    "feedback_forwarding_arn": "arn:aws:ses:eu-west-1:123456789012:identity/example.org",
    "template": "welcome",
    "data": {"city": 'Lissabon \u2028 "é"', "n": [1, 2.5, None, True], "deep": {"a": {}}},
    "tags": {"campaign": "november"},
    "headers": {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    "configuration_set": "default",
    "tenant": "tenant-1",
    "endpoint_id": "abc123.456",
    "attachments": [
        "terms.pdf",
        {
            "path": "logo.png",
            "file_name": "Logo.png",
            "description": "our logo",
            "disposition": "INLINE",
            "content_id": "logo",
            "transfer_encoding": "BASE64",
            "content_type": "image/png",
        },
    ],
}


@pytest.fixture(scope="module")
def operation() -> OperationModel:
    model = botocore.session.get_session().get_service_model("sesv2")
    return model.operation_model("SendBulkEmail")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "terms.pdf").write_bytes(b"%PDF \xff")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG")
    return tmp_path


def full_request() -> dict[str, Any]:
    """What `FULL_TABLE` with one recipient says, written down as the SDK's parameters."""
    return {
        "FromEmailAddress": "=?utf-8?b?TsOrd3M=?= <news@example.com>",
        "FromEmailAddressIdentityArn": FULL_TABLE["from_arn"],
        "ReplyToAddresses": ["help@example.com", "Help <b@xn--mnchen-3ya.de>"],
        "FeedbackForwardingEmailAddress": "bounces@example.com",
        "FeedbackForwardingEmailAddressIdentityArn": FULL_TABLE["feedback_forwarding_arn"],
        "DefaultEmailTags": [{"Name": "campaign", "Value": "november"}],
        "DefaultContent": {
            "Template": {
                "TemplateName": "welcome",
                "TemplateData": json.dumps(
                    FULL_TABLE["data"], ensure_ascii=False, separators=(",", ":")
                ),
                "Headers": [
                    {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"}
                ],
                "Attachments": [
                    {
                        "RawContent": b"%PDF \xff",
                        "FileName": "terms.pdf",
                        "ContentDisposition": "ATTACHMENT",
                        "ContentTransferEncoding": "BASE64",
                        "ContentType": "application/pdf",
                    },
                    {
                        "RawContent": b"\x89PNG",
                        "FileName": "Logo.png",
                        "ContentDescription": "our logo",
                        "ContentDisposition": "INLINE",
                        "ContentId": "logo",
                        "ContentTransferEncoding": "BASE64",
                        "ContentType": "image/png",
                    },
                ],
            }
        },
        "BulkEmailEntries": [
            {
                "Destination": {
                    "ToAddresses": ["a@example.com"],
                    "CcAddresses": ["b@example.com", "c@example.com"],
                    "BccAddresses": ["d@example.com"],
                },
                "ReplacementTags": [
                    {"Name": "campaign", "Value": "own"},
                    {"Name": "kind", "Value": "x"},
                    {"Name": "mailsluice-id", "Value": "run-1"},
                ],
                "ReplacementEmailContent": {
                    "ReplacementTemplate": {"ReplacementTemplateData": '{"name":"Ænn"}'}
                },
                "ReplacementHeaders": [{"Name": "X-Own", "Value": "1"}],
            }
        ],
        "ConfigurationSetName": "default",
        "EndpointId": "abc123.456",
        "TenantName": "tenant-1",
    }


def body(mailing: Mailing, *recipients: Recipient) -> bytes:
    chunk = Intake(mailing, "run").take([Row(0, recipient) for recipient in recipients])
    assert not chunk.remarks
    return assemble(mailing.prefix(), chunk.entries)


def test_a_request_with_everything_in_it_equals_what_the_sdk_would_send(
    operation: OperationModel, folder: Path
) -> None:
    recipient = Recipient(
        to="a@example.com",
        cc=["b@example.com", "c@example.com"],
        bcc="d@example.com",
        data={"name": "Ænn"},
        tags={"campaign": "own", "kind": "x"},
        headers={"X-Own": "1"},
    )
    sent = body(Mailing.from_table(FULL_TABLE, folder), recipient)
    by_sdk = serialize.create_serializer("rest-json").serialize_to_request(
        full_request(), operation
    )
    assert json.loads(sent) == json.loads(by_sdk["body"])


@pytest.mark.parametrize(
    "way",
    [
        {"template": "welcome"},
        {"template_arn": "arn:aws:ses:eu-west-1:123456789012:template/welcome"},
        {"content": {"subject": "Hi {{name}}", "text": "text", "html": "<p>é</p>"}},
    ],
    ids=lambda way: next(iter(way)),
)
def test_each_way_to_name_the_template_passes_the_sdks_own_validator(
    operation: OperationModel, way: dict[str, Any]
) -> None:
    mailing = Mailing.model_validate(FROM | way)
    request = json.loads(body(mailing, Recipient("a@example.com"), Recipient("b@example.com")))
    assert operation.input_shape is not None
    report = validate.ParamValidator().validate(request, operation.input_shape)
    assert not report.has_errors(), report.generate_report()
    assert len(request["BulkEmailEntries"]) == 2


def test_inline_content_is_said_in_the_apis_shape() -> None:
    mailing = Mailing(from_address="a@example.com", content=Content(subject="S", html="<p>"))
    template = json.loads(mailing.prefix() + SUFFIX)["DefaultContent"]["Template"]
    assert template == {"TemplateContent": {"Subject": "S", "Html": "<p>"}, "TemplateData": "{}"}


def test_a_minimal_request_holds_nothing_that_was_not_said() -> None:
    assert json.loads(Mailing.model_validate(MINIMAL).prefix() + SUFFIX) == {
        "FromEmailAddress": "News <news@example.com>",
        "DefaultContent": {"Template": {"TemplateName": "welcome", "TemplateData": "{}"}},
        "BulkEmailEntries": [],
    }


def test_tracking_overrides_only_what_it_says() -> None:
    mailing = Mailing(
        from_address="a@example.com", template="t", tracking=Tracking(opens=False, clicks=None)
    )
    request = json.loads(mailing.prefix() + SUFFIX)
    assert request["ConfigurationOverrides"] == {"Tracking": {"OpenTrackingEnabled": "DISABLED"}}


CONTENT: dict[str, Any] = {"template": None, "content": {"subject": "Hi", "html_file": "news.html"}}


def test_content_comes_from_files_beside_the_mailing(folder: Path) -> None:
    (folder / "news.html").write_bytes(b"\xef\xbb\xbf<p>{{name}} \xc3\xa9</p>")
    (folder / "news.txt").write_text("plain")
    content = CONTENT["content"] | {"text_file": "news.txt"}
    mailing = Mailing.from_table(MINIMAL | CONTENT | {"content": content}, folder)
    template = json.loads(mailing.prefix() + SUFFIX)["DefaultContent"]["Template"]
    assert template["TemplateContent"] == {
        "Subject": "Hi",
        "Html": "<p>{{name}} é</p>",
        "Text": "plain",
    }


@pytest.mark.parametrize(
    ("stored", "more", "reason"),
    [
        (None, {}, "html_file: there is no file"),
        (b"<p>\xe9</p>", {}, "news.html is not UTF-8 text; save it as UTF-8"),
        (b"<p>", {"html": "<p>"}, "html or html_file is needed, and not both"),
        (b"x" * 1024 * 1025, {}, "it has more than 1,048,576 bytes"),
        (b"", {}, "text or html is needed"),
    ],
)
def test_a_content_file_that_cannot_be_used_is_named(
    folder: Path, stored: bytes | None, more: dict[str, str], reason: str
) -> None:
    if stored is not None:
        (folder / "news.html").write_bytes(stored)
    content = CONTENT["content"] | more
    with pytest.raises(ConfigurationError, match=reason):
        Mailing.from_table(MINIMAL | CONTENT | {"content": content}, folder)


@pytest.mark.parametrize(
    ("html", "warnings"),
    [("news.html", 1), ("a/b.HTM", 1), ("<p>x.html", 0), ("see x.html", 0)],
)
def test_a_path_in_place_of_markup_is_warned_of(
    html: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    Content(subject="Hi", html=html)
    said = [record.getMessage() for record in caplog.records]
    assert [f'html_file = "{html}" reads it' in each for each in said] == [True] * warnings


def test_an_attachment_can_be_given_in_memory() -> None:
    mailing = Mailing(
        from_address="a@example.com",
        template="t",
        attachments=[Attachment(content=b"\x00\xff", file_name="data.tar.gz")],
    )
    template = json.loads(mailing.prefix() + SUFFIX)["DefaultContent"]["Template"]
    assert template["Attachments"] == [
        {
            "RawContent": "AP8=",
            "FileName": "data.tar.gz",
            "ContentDisposition": "ATTACHMENT",
            "ContentTransferEncoding": "BASE64",
            "ContentType": "application/octet-stream",
        }
    ]


def test_an_attachment_that_has_gone_since_is_a_configuration_error(folder: Path) -> None:
    mailing = Mailing.from_table(MINIMAL | {"attachments": ["terms.pdf"]}, folder)
    (folder / "terms.pdf").unlink()
    with pytest.raises(ConfigurationError, match=r"terms\.pdf: No such file"):
        mailing.prefix()


def test_a_message_over_40_mib_in_base64_is_refused(folder: Path) -> None:
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(30 * 1024 * 1024)
    Mailing.from_table(MINIMAL | {"attachments": ["huge.bin"]}, folder)
    with pytest.raises(ConfigurationError, match="attachments: the message has 41,943,048 bytes"):
        Mailing.from_table(MINIMAL | {"attachments": ["huge.bin", "logo.png"]}, folder)


def test_fields_are_named_from_address_in_code_and_from_in_a_file() -> None:
    in_code = Mailing(from_address="News <news@example.com>", template="welcome")
    assert in_code == Mailing.model_validate(MINIMAL)


def test_what_is_private_does_not_appear_in_an_error() -> None:
    with pytest.raises(ValidationError) as raised:
        Mailing.model_validate(FROM | {"data": {"secret": float("nan")}, "reply_to": "s3cret"})
    assert "secret" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


ONE_TEMPLATE = "[mailing]: exactly one of template, template_arn and content is needed"
TAG_NAME = "[mailing] tags: a tag name may hold 1 to 256 of A-Z a-z 0-9 _ - and nothing else"
TAG_VALUE = "[mailing] tags: the value of tag a may hold 1 to 256 of"
HEADER_NAME = "[mailing] headers: a header name must be 1 to 126 ASCII characters"
HEADER_VALUE = "[mailing] headers: the value of header X must be 1 to 995 printable ASCII"
NAME = "it may hold 1 to 64 of A-Z a-z 0-9 _ - and nothing else"

CONTROL = "it has a line break or another control character"


def attached(**fields: str) -> dict[str, Any]:
    return {"attachments": [{"path": "logo.png", **fields}]}


REFUSED = [
    ({"from": None}, "[mailing] from: it must be text, in double quotes"),
    ({"from": "news"}, "[mailing] from: there is no @"),
    ({"reply_to": ["a@example.com", "b\n@c.de"]}, "[mailing] reply_to.1: it has a line break"),
    ({"feedback_forwarding": "ä@b.de"}, "[mailing] feedback_forwarding: the part before @"),
    ({"template": None}, ONE_TEMPLATE),
    ({"template_arn": "arn"}, ONE_TEMPLATE),
    ({"template": ""}, "[mailing] template: it must not be empty"),
    (
        {"template": None, "content": {"subject": "S"}},
        "[mailing] content: text or html is needed",
    ),
    (
        {"template": None, "content": {"subject": "S", "text": "x" * 1024 * 1024}},
        "[mailing] content: 1,048,601 bytes as JSON; an inline template may have 1,048,576",
    ),
    ({"data": [1]}, "[mailing] data: it must be a table of keys and values"),
    ({"data": {"a": float("inf")}}, "[mailing] data: it cannot be written as JSON: a number is"),
    ({"data": {"a": "x" * 262_144}}, "[mailing] data: 262,152 characters as JSON; SES takes"),
    ({"tags": {"a b": "x"}}, TAG_NAME),
    ({"tags": {"": "x"}}, TAG_NAME),
    ({"tags": {"x" * 257: "x"}}, TAG_NAME),
    ({"tags": {"a": ""}}, TAG_VALUE),
    ({"tags": {"a": "é"}}, TAG_VALUE),
    ({"tags": {"a": "x\n"}}, TAG_VALUE),
    ({"tags": {"mailsluice-id": "x"}}, "[mailing]: tags: mailsluice-id is set by mailsluice"),
    ({"headers": {"X Y": "1"}}, HEADER_NAME),
    ({"headers": {"X:": "1"}}, HEADER_NAME),
    ({"headers": {"X" * 127: "1"}}, HEADER_NAME),
    ({"headers": {"X": "1\r\nBcc: b@c.de"}}, "[mailing] headers: the value of header X has a line"),
    ({"headers": {"X": ""}}, HEADER_VALUE),
    ({"headers": {"X": "é"}}, HEADER_VALUE),
    ({"headers": {"X": "x" * 996}}, HEADER_VALUE),
    ({"headers": {"XY": "x" * 995}}, "[mailing] headers: header XY: name and value exceed 996"),
    ({"headers": {"X": "1", "x": "2"}}, "[mailing] headers: a header comes twice"),
    (
        {"headers": {f"X-{i}": "1" for i in range(16)}},
        "[mailing] headers: 16 headers; SES takes 15",
    ),
    ({"configuration_set": "a b"}, f"[mailing] configuration_set: {NAME}"),
    ({"tenant": "x" * 65}, f"[mailing] tenant: {NAME}"),
    ({"endpoint_id": ""}, "[mailing] endpoint_id: it must not be empty"),
    ({"attachments": ["none.pdf"]}, "[mailing] attachments.0.path: there is no file"),
    ({"attachments": [{"file_name": "a"}]}, "[mailing] attachments.0: either path or content"),
    (
        {"attachments": [{"path": "logo.png", "file_name": "a\nb"}]},
        f"[mailing] attachments.0.file_name: {CONTROL}",
    ),
    (
        {"attachments": [{"path": "logo.png", "file_name": "x" * 256}]},
        "[mailing] attachments.0.file_name: it may have 255 characters at most",
    ),
    (
        {"attachments": [{"path": "logo.png", "disposition": "inline"}]},
        '[mailing] attachments.0.disposition: it must be "ATTACHMENT" or "INLINE"',
    ),
    ({"attachments": [7]}, "[mailing] attachments.0: it must be a table of keys and values"),
    ({"tag": {}}, '[mailing] tag: unknown key; did you mean "tags"?'),
    (attached(description="a\r\nb"), f"[mailing] attachments.0.description: {CONTROL}"),
    (attached(content_id="a\nb"), f"[mailing] attachments.0.content_id: {CONTROL}"),
    (
        attached(content_type="text/html\r\nX: y"),
        f"[mailing] attachments.0.content_type: {CONTROL}",
    ),
    (attached(file_name="日" * 70), "[mailing] attachments.0: file_name has 344 characters as it"),
    (
        {"template": None, "content": {"subject": "a\nBcc: b@c.de", "text": "x"}},
        f"[mailing] content.subject: {CONTROL}",
    ),
    ({"headers": {"subject": "x"}}, "[mailing] headers: header subject is written by SES itself"),
    ({"headers": {"Content-Type": "x"}}, "[mailing] headers: header Content-Type is written by"),
    ({"headers": {"From": "x"}}, "[mailing] headers: header From is written by SES itself"),
    ({"tags": {"ses:other": "x"}}, TAG_NAME),
    (
        {"from": f"{'日本' * 40} <a@example.com>"},
        "[mailing] from: it has 413 bytes with its display name encoded; SES takes 320",
    ),
    ({"reply_to": [f"{'x' * 310} <a@example.com>"]}, "[mailing] reply_to.0: it has 326 bytes"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_the_api_would_refuse_is_refused_with_its_field_named(
    change: dict[str, Any], message: str, folder: Path
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Mailing.from_table(MINIMAL | change, folder)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Mailing.from_table({"from": "x", "template": "", "tennant": "x"}, Path())
    assert len(str(raised.value).splitlines()) == 3


def test_what_is_exactly_at_a_limit_is_taken() -> None:
    Mailing.model_validate(
        MINIMAL
        | {
            "data": {"a": "é" * (262_144 - len('{"a":""}'))},
            "tags": {"x" * 256: "y" * 256},
            "headers": {"X": "y" * 995} | {f"X-{i}": "1" for i in range(14)},
            "tenant": "x" * 64,
        }
    )


def test_the_tags_of_sess_feedback_id_are_allowed() -> None:
    tags = {"ses:feedback-id-a": "campaign", "ses:feedback-id-b": "november"}
    assert b"ses:feedback-id-b" in Mailing.model_validate(MINIMAL | {"tags": tags}).prefix()


def test_names_outside_ascii_are_encoded_words_of_at_most_75_characters() -> None:
    name = "Übersicht über die Geschäftsjahre 2024, 2025 und 2026 für Müller & Söhne.pdf"
    attachment = Attachment(content=b"x", file_name=name, description=name)
    for field in ("FileName", "ContentDescription"):
        sent = attachment.request()[field]
        assert sent.isascii()
        assert max(map(len, sent.split())) <= 75
        assert str(make_header(decode_header(sent))) == name


def test_a_sender_of_exactly_320_bytes_is_taken() -> None:
    name = "x" * (320 - len(" <a@example.com>"))
    assert len(Mailing(from_address=f"{name} <a@example.com>", template="t").from_address) == 320
