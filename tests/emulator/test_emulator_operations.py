"""The two operations as aioboto3 sees them: results, refusals, and what the ledger says."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest
from botocore.exceptions import ClientError

from mailsluice.emulator import AccountSettings, submission
from mailsluice.emulator.exchange import RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.emulator.conftest import Pair

    Start = Callable[..., Awaitable[Pair]]

GOOD = "ann@example.com"


async def post(url: str, body: Any) -> tuple[int, str, dict[str, Any]]:
    """Status, error code and JSON of a request as it stands, which no SDK would send."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/v2/email/outbound-bulk-emails", json=body) as answer,
    ):
        found: dict[str, Any] = await answer.json()
        return answer.status, answer.headers.get("x-amzn-ErrorType", ""), found


async def refused(pair: Pair, request: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        await pair.client.send_bulk_email(**request)
    assert len(pair.emulator.ledger) == 0
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def changed(request: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The request with the member at this path set, or removed where the value is None."""
    inner: Any = request
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        inner = inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part]
    inner[last] = value
    if value is None:
        del inner[last]
    return request


async def test_get_account_tells_the_quota_and_what_was_sent(start: Start) -> None:
    pair = await start(account=AccountSettings(rate_per_s=7, daily_max=1000, production=False))
    await pair.send("a@example.com", "b@example.com")
    answer = await pair.client.get_account()
    assert answer["SendQuota"] == {
        "Max24HourSend": 1000.0,
        "MaxSendRate": 7.0,
        "SentLast24Hours": 2.0,
    }
    assert answer["EnforcementStatus"] == "HEALTHY"
    assert answer["ProductionAccessEnabled"] is False
    assert answer["SendingEnabled"] is True


async def test_results_come_in_the_order_of_entries_and_the_ledger_has_the_same(
    start: Start,
) -> None:
    pair = await start()
    results = await pair.send(*(f"u{n}@example.com" for n in range(50)))
    assert {result["Status"] for result in results} == {"SUCCESS"}
    entries = list(pair.emulator.ledger.entries())
    assert [result["MessageId"] for result in results] == [entry.message_id for entry in entries]
    assert [entry.to for entry in entries] == [(f"u{n}@example.com",) for n in range(50)]
    assert [entry.tags["mailsluice-id"] for entry in entries] == [f"run-{n}" for n in range(1, 51)]
    assert {(entry.call, entry.template) for entry in entries} == {(1, "welcome")}


async def test_message_ids_look_like_those_of_ses(start: Start) -> None:
    pair = await start()
    results = [*await pair.send(GOOD, GOOD), *await pair.send(GOOD)]
    ids = [result["MessageId"] for result in results]
    assert len(set(ids)) == 3
    form = r"0100[0-9a-f]{12}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-000000"
    assert all(re.fullmatch(form, each) and len(each) == 60 for each in ids)


async def test_everything_that_the_api_knows_can_be_said(start: Start) -> None:
    pair = await start()
    request = pair.bulk([GOOD]) | {
        "FromEmailAddressIdentityArn": "arn:aws:ses:eu-west-1:1:identity/example.com",
        "ReplyToAddresses": ["help@example.com"],
        "FeedbackForwardingEmailAddress": "bounces@example.com",
        "FeedbackForwardingEmailAddressIdentityArn": "arn:aws:ses:eu-west-1:1:identity/b",
        "DefaultEmailTags": [{"Name": "campaign", "Value": "november"}],
        "ConfigurationSetName": "default",
        "TenantName": "tenant_1",
    }
    request["DefaultContent"]["Template"] |= {
        "Headers": [{"Name": "X-One", "Value": "1"}],
        "Attachments": [
            {
                "RawContent": b"\x00\xff",
                "FileName": "a.bin",
                "ContentDisposition": "ATTACHMENT",
                "ContentTransferEncoding": "BASE64",
                "ContentType": "application/octet-stream",
            }
        ],
    }
    request["BulkEmailEntries"][0] |= {
        "Destination": {
            "ToAddresses": ["Ann <ann@example.com>", '"Doe, J." <j@example.com>'],
            "CcAddresses": ["cc@xn--bcher-kva.example"],
            "BccAddresses": ["bcc@example.com"],
        },
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": '{"n": 1}'}},
        "ReplacementHeaders": [{"Name": "List-Unsubscribe", "Value": "<https://example.com/u>"}],
    }
    results = (await pair.client.send_bulk_email(**request))["BulkEmailEntryResults"]
    assert [result["Status"] for result in results] == ["SUCCESS"]
    (entry,) = pair.emulator.ledger.entries()
    assert entry.cc == ("cc@xn--bcher-kva.example",)
    assert entry.bcc == ("bcc@example.com",)
    assert entry.tags == {"campaign": "november", "mailsluice-id": "run-1"}
    (body,) = pair.emulator.requests
    raw = body["DefaultContent"]["Template"]["Attachments"][0]["RawContent"]
    assert base64.b64decode(raw) == b"\x00\xff"
    assert pair.emulator.account.statistics(0).accepted == 4


entry = "BulkEmailEntries.0"
template = "DefaultContent.Template"
header = {"Name": "X-A", "Value": "v"}
tag = {"Name": "a", "Value": "b"}
attachment = {"RawContent": "eA==", "FileName": "x"}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("FromEmailAddress", None, "'From'"),
        ("FromEmailAddress", 7, "'fromEmailAddress'"),
        ("FromEmailAddress", "nobody", "Missing final '@domain'"),
        ("FromEmailAddressIdentityArn", "", "'fromEmailAddressIdentityArn'"),
        ("ReplyToAddresses", "a@example.com", "'replyToAddresses'"),
        ("ReplyToAddresses", ["bad"], "Missing final '@domain'"),
        ("FeedbackForwardingEmailAddress", "x@", "Missing final '@domain'"),
        ("FeedbackForwardingEmailAddressIdentityArn", "", "greater than or equal to 1"),
        ("DefaultEmailTags", [{"Name": "a b", "Value": "v"}], "'defaultEmailTags.1.member.name'"),
        ("DefaultEmailTags", [{"Name": "a"}], "'defaultEmailTags.1.member.value'"),
        ("EndpointId", "", "'endpointId'"),
        ("TenantName", "", "'tenantName'"),
        ("TenantName", "a b", "regular expression"),
        ("TenantName", "t" * 65, "'tenantName'"),
        ("ConfigurationOverrides.Tracking.OpenTrackingEnabled", "YES", "[ENABLED, DISABLED]"),
        ("DefaultContent", None, "'defaultContent'"),
        (template, None, "Exactly one"),
        (f"{template}.TemplateName", None, "Exactly one"),
        (f"{template}.TemplateName", "", "'defaultContent.template.templateName'"),
        (f"{template}.TemplateArn", "arn:aws:ses:r:1:template/x", "Exactly one"),
        (f"{template}.TemplateContent", {"Subject": "s"}, "Exactly one"),
        (f"{template}.TemplateData", "[]", "must be a JSON object"),
        (f"{template}.TemplateData", "{", "must be a JSON object"),
        (f"{template}.TemplateData", '{"a":"' + "x" * 262_144 + '"}', "262144"),
        (f"{template}.Headers", [header] * 16, "15"),
        (f"{template}.Headers", [{"Name": "X:A", "Value": "v"}], "regular expression"),
        (f"{template}.Headers", [{"Name": "X-A", "Value": "a\r\nb"}], "regular expression"),
        (f"{template}.Headers", [{"Name": "X-A", "Value": ""}], "greater than or equal to 1"),
        (f"{template}.Headers", [{"Name": "X-A", "Value": "v" * 996}], "995"),
        (f"{template}.Headers", [{"Name": "X-Abc", "Value": "v" * 995}], "996"),
        (f"{template}.Attachments", [{"FileName": "x"}], "rawContent"),
        (f"{template}.Attachments", [attachment | {"RawContent": "not base64"}], "base64"),
        (f"{template}.Attachments", [attachment | {"FileName": "x" * 256}], "255"),
        (f"{template}.Attachments", [attachment | {"ContentId": ""}], "contentId"),
        (f"{template}.Attachments", [attachment | {"ContentType": "x" * 79}], "78"),
        (f"{template}.Attachments", [attachment | {"ContentDescription": "x" * 1001}], "1000"),
        (f"{template}.Attachments", [attachment | {"ContentDisposition": "x"}], "INLINE"),
        (f"{template}.Attachments", [attachment | {"ContentTransferEncoding": "x"}], "BASE64"),
        ("BulkEmailEntries", None, "'bulkEmailEntries'"),
        ("BulkEmailEntries", [], "greater than or equal to 1"),
        (
            "BulkEmailEntries",
            [{"Destination": {"ToAddresses": [GOOD]}}] * 51,
            "less than or equal to 50",
        ),
        (f"{entry}.Destination", None, "'bulkEmailEntries.1.member.destination'"),
        (f"{entry}.ReplacementTags", [{"Name": "a", "Value": "ä"}], "replacementTags.1.member"),
        (f"{entry}.ReplacementTags", [{"Name": "a", "Value": ""}], "greater than or equal to 1"),
        (f"{entry}.ReplacementTags", [{"Name": "a" * 257, "Value": "b"}], "256"),
        (f"{entry}.ReplacementTags", [{"Name": "a", "Value": "b\n"}], "regular expression"),
        (f"{entry}.ReplacementTags", [{"Name": "a", "Value": 3}], "be a string"),
        (f"{entry}.ReplacementHeaders", [header] * 16, "15"),
        (f"{entry}.ReplacementHeaders", [{"Name": "", "Value": "v"}], "name"),
        (
            f"{entry}.ReplacementEmailContent.ReplacementTemplate.ReplacementTemplateData",
            "[1]",
            "must be a JSON object",
        ),
        (
            f"{entry}.ReplacementEmailContent.ReplacementTemplate.ReplacementTemplateData",
            '{"a":"' + "x" * 262_144 + '"}',
            "262144",
        ),
    ],
)
def test_a_request_out_of_shape_is_refused_as_a_whole(
    good_request: dict[str, Any], path: str, value: Any, said: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        submission.read(orjson.dumps(changed(good_request, path, value)))
    assert caught.value.code == "BadRequestException"
    assert said in caught.value.text


async def test_what_an_sdk_lets_through_is_refused_as_the_sdk_knows_it(start: Start) -> None:
    pair = await start()
    with pytest.raises(pair.client.exceptions.BadRequestException, match="equal to 50"):
        await pair.client.send_bulk_email(**pair.bulk([GOOD] * 51))
    with pytest.raises(pair.client.exceptions.BadRequestException, match="regular expression"):
        await pair.client.send_bulk_email(
            **changed(pair.bulk([GOOD]), "DefaultEmailTags", [{"Name": "a b", "Value": "v"}])
        )
    assert len(pair.emulator.ledger) == 0


@pytest.mark.parametrize("text", ["{{#if a}}x{{/if}}", "{{ > part}}", "{{^none}}x{{/none}}"])
async def test_inline_content_knows_substitution_only(start: Start, text: str) -> None:
    pair = await start()
    request = pair.bulk([GOOD])
    request["DefaultContent"] = {"Template": {"TemplateContent": {"Subject": "s", "Html": text}}}
    assert await refused(pair, request) == (
        "BadRequestException",
        "Template contains unsupported operations.",
    )
    request["DefaultContent"]["Template"]["TemplateContent"]["Html"] = "Hello {{name}}"
    assert (await pair.client.send_bulk_email(**request))["BulkEmailEntryResults"]
    assert next(pair.emulator.ledger.entries()).template == ""


BAD_ADDRESSES = [
    "",
    "nobody",
    "@example.com",
    "nobody@",
    "a b@example.com",
    ".a@example.com",
    "a.@example.com",
    "a..b@example.com",
    "a@.example.com",
    "a@example..com",
    "a@example.com.",
    "a@localhost",
    "a@-bad.example",
    "jürgen@example.com",
    "a@bücher.example",
    "a@example.com\n",
    "a@example.com, b@example.com",
    "Ann <ann@example.com",
    "Bücher <a@example.com>",
    "Doe, J <j@example.com>",
    "x" * 65 + "@example.com",
    "a@" + "x" * 64 + ".example",
    "a@" + "x." * 160 + "example",
]


async def test_a_bad_address_fails_its_entry_alone(start: Start) -> None:
    pair = await start()
    for address in BAD_ADDRESSES:
        results = await pair.send("a@example.com", address, "b@example.com")
        statuses = [each["Status"] for each in results]
        assert statuses == ["SUCCESS", "INVALID_PARAMETER", "SUCCESS"], address
        assert results[1]["Error"]
        assert "MessageId" not in results[1]
    assert len(pair.emulator.ledger) == 2 * len(BAD_ADDRESSES)


async def test_a_bad_address_fails_the_call_where_so_chosen(start: Start) -> None:
    pair = await start(address_faults="call")
    code, message = await refused(pair, pair.bulk([GOOD, "bad"]))
    assert (code, message) == ("BadRequestException", "Missing final '@domain'")


@pytest.mark.parametrize(
    ("destination", "status"),
    [
        ({}, "INVALID_PARAMETER"),
        ({"ToAddresses": []}, "INVALID_PARAMETER"),
        ({"BccAddresses": [GOOD]}, "SUCCESS"),
        ({"ToAddresses": [GOOD] * 50}, "SUCCESS"),
        ({"ToAddresses": [GOOD] * 51}, "INVALID_PARAMETER"),
        ({"ToAddresses": [GOOD] * 25, "CcAddresses": [GOOD] * 26}, "INVALID_PARAMETER"),
    ],
)
async def test_an_entry_has_1_to_50_addresses(
    start: Start, destination: dict[str, Any], status: str
) -> None:
    pair = await start()
    request = changed(pair.bulk([GOOD]), f"{entry}.Destination", destination)
    answer = await pair.client.send_bulk_email(**request)
    assert [each["Status"] for each in answer["BulkEmailEntryResults"]] == [status]


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"resources": {"templates": ["other"]}}, "TEMPLATE_NOT_FOUND", "NotFoundException"),
        (
            {"resources": {"configuration_sets": ["other"]}},
            "CONFIGURATION_SET_NOT_FOUND",
            "NotFoundException",
        ),
        (
            {"resources": {"identities": ["other.example"]}},
            "MAIL_FROM_DOMAIN_NOT_VERIFIED",
            "MailFromDomainNotVerifiedException",
        ),
    ],
)
async def test_names_that_do_not_exist_refuse_by_entry_or_by_call(
    start: Start, options: dict[str, Any], status: str, code: str
) -> None:
    pair = await start(**options)
    request = pair.bulk([GOOD, "bad"]) | {"ConfigurationSetName": "default"}
    answer = await pair.client.send_bulk_email(**request)
    found = [each["Status"] for each in answer["BulkEmailEntryResults"]]
    assert found == [status, "INVALID_PARAMETER"]
    pair.emulator.change_account(conditions_refuse="call")
    assert (await refused(pair, request))[0] == code


async def test_names_that_exist_are_taken(start: Start) -> None:
    pair = await start(
        resources={
            "templates": ["welcome"],
            "configuration_sets": ["default"],
            "identities": ["example.com"],
        },
    )
    assert await pair.statuses(GOOD, ConfigurationSetName="default") == ["SUCCESS"]


async def test_a_stopped_account_says_so_by_entry_by_call_and_in_get_account(start: Start) -> None:
    pair = await start()
    pair.emulator.change_account(sending_enabled=False)
    assert await pair.statuses(GOOD) == ["ACCOUNT_SENDING_PAUSED"]
    assert (await pair.client.get_account())["SendingEnabled"] is False
    pair.emulator.change_account(enforcement="SHUTDOWN", conditions_refuse="call")
    assert (await refused(pair, pair.bulk([GOOD])))[0] == "AccountSuspendedException"
    assert (await pair.client.get_account())["EnforcementStatus"] == "SHUTDOWN"


async def test_default_tags_can_be_dropped_as_seen_in_boto3_4838(start: Start) -> None:
    pair = await start(default_tags=False)
    await pair.send(GOOD, DefaultEmailTags=[{"Name": "campaign", "Value": "november"}])
    assert next(pair.emulator.ledger.entries()).tags == {"mailsluice-id": "run-1"}


@pytest.mark.parametrize(
    ("address", "event"),
    [
        ("success@simulator.amazonses.com", ("Delivery", None)),
        ("ooto+label@simulator.amazonses.com", ("Delivery", None)),
        ("bounce@simulator.amazonses.com", ("Bounce", "General")),
        ("Bob <BOUNCE+a@Simulator.AmazonSES.com>", ("Bounce", "General")),
        ("suppressionlist@simulator.amazonses.com", ("Bounce", "Suppressed")),
        ("complaint+x@simulator.amazonses.com", ("Complaint", None)),
    ],
)
async def test_the_mailbox_simulator_counts_to_the_rate_only_and_the_ledger_knows_the_event(
    start: Start, address: str, event: tuple[str, str | None]
) -> None:
    pair = await start(account=AccountSettings(rate_per_s=3, daily_max=1))
    assert await pair.statuses(address, address, GOOD) == ["SUCCESS"] * 3
    assert (await pair.client.get_account())["SendQuota"]["SentLast24Hours"] == 1
    first, _, last = pair.emulator.ledger.entries()
    assert (first.event, first.sub_type) == event
    assert (last.event, last.sub_type) == ("Delivery", None)
    with pytest.raises(ClientError, match="Maximum sending rate exceeded"):
        await pair.send(address, address, address)


async def test_an_unknown_member_is_ignored(start: Start) -> None:
    pair = await start(credentials=None)
    request = pair.bulk([GOOD]) | {"NewMember": {"A": 1}}
    request["BulkEmailEntries"][0]["Destination"]["NewMember"] = 1
    status, _, answer = await post(pair.emulator.url, request)
    assert status == 200
    assert answer["BulkEmailEntryResults"][0]["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        (("POST", "/v2/email/outbound-bulk-emails", b"{"), 400, "SerializationException"),
        (("POST", "/v2/email/outbound-bulk-emails", b""), 400, "SerializationException"),
        (("POST", "/v2/email/outbound-bulk-emails", b"[]"), 400, "SerializationException"),
        (("POST", "/v2/email/outbound-emails", b"{}"), 404, "UnknownOperationException"),
        (("GET", "/v2/email/outbound-bulk-emails", b""), 404, "UnknownOperationException"),
        (("GET", "/_emulator/nothing", b""), 404, "UnknownOperationException"),
    ],
)
async def test_errors_have_the_wire_form_of_ses(
    start: Start, asked: tuple[str, str, bytes], status: int, code: str
) -> None:
    method, path, body = asked
    pair = await start(credentials=None)
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, pair.emulator.url + path, data=body) as answer,
    ):
        assert answer.status == status
        assert answer.headers["x-amzn-ErrorType"] == code
        assert re.fullmatch(
            r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["x-amzn-RequestId"]
        )
        assert list(await answer.json()) == ["message"]
