"""Signatures: botocore signs, the emulator checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SdkCredentials
from botocore.exceptions import ClientError

from mailsluice.emulator import Credentials, signature
from mailsluice.emulator.exchange import RefusedError, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.emulator.conftest import Pair

    Start = Callable[..., Awaitable[Pair]]
    Connect = Callable[..., Awaitable[Any]]

BODY = b'{"a": "b"}'
TARGET = "/v2/email/outbound-bulk-emails"


def signed(
    target: str = TARGET,
    *,
    service: str = "ses",
    region: str = "eu-west-1",
    token: str | None = None,
) -> Request:
    request = AWSRequest("POST", f"http://127.0.0.1:9{target}", {"X-Odd": " a   b "}, BODY)
    credentials = SdkCredentials("AKIDEMULATOR", "emulator-secret", token)
    SigV4Auth(credentials, service, region).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Request("POST", target, headers | {"host": "127.0.0.1:9"}, BODY)


def code(request: Request, credentials: Credentials | None = None, **options: Any) -> str:
    """Why it is refused; empty where it is not."""
    moment = signature._epoch(request.headers.get("x-amz-date", "20261122T000000Z"))
    given = {"wall": moment} | options
    try:
        signature.verify(request, credentials or Credentials(), **given)
    except RefusedError as error:
        return f"{error.code} {error.answer.http_status}"
    return ""


@pytest.mark.parametrize("target", [TARGET, "/a%20b?z=1&a=%C3%A4&a=", "/?x"])
def test_what_botocore_signs_is_accepted(target: str) -> None:
    assert code(signed(target)) == ""


@pytest.mark.parametrize("off_s", [-300, 0, 300])
def test_clocks_may_differ_by_five_minutes(off_s: int) -> None:
    request = signed()
    assert code(request, wall=signature._epoch(request.headers["x-amz-date"]) + off_s) == ""


@pytest.mark.parametrize("off_s", [-301, 301])
def test_and_by_no_more(off_s: int) -> None:
    request = signed()
    moment = signature._epoch(request.headers["x-amz-date"]) + off_s
    assert code(request, wall=moment) == "InvalidSignatureException 403"


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(secret_access_key="another"),
        Credentials(secret_access_key="emulator-secret "),
    ],
)
def test_a_wrong_secret_does_not_match(credentials: Credentials) -> None:
    assert code(signed(), credentials) == "InvalidSignatureException 403"


def test_an_unknown_key_is_not_recognised() -> None:
    assert code(signed(), Credentials(access_key_id="OTHER")) == "UnrecognizedClientException 403"


@pytest.mark.parametrize(("sent", "wanted"), [(None, "t"), ("t", None), ("t", "u")])
def test_a_session_token_must_be_the_one_expected(sent: str | None, wanted: str | None) -> None:
    request = signed(token=sent)
    assert code(request, Credentials(session_token=wanted)) == "UnrecognizedClientException 403"


def test_the_right_session_token_is_accepted() -> None:
    assert code(signed(token="t"), Credentials(session_token="t")) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"body": BODY + b" "},
        {"target": TARGET + "?a=b"},
        {"method": "PUT"},
    ],
)
def test_a_request_changed_after_signing_does_not_match(change: dict[str, Any]) -> None:
    assert code(signed()._replace(**change)) == "InvalidSignatureException 403"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("authorization", None, "MissingAuthenticationTokenException 403"),
        ("authorization", "Basic YTpi", "IncompleteSignatureException 403"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=x", "IncompleteSignatureException 403"),
        ("x-odd", "another", "InvalidSignatureException 403"),
        ("host", "elsewhere", "InvalidSignatureException 403"),
        ("x-amz-content-sha256", "0" * 64, "InvalidSignatureException 403"),
    ],
)
def test_headers_that_are_missing_or_changed_are_refused(
    name: str, value: str | None, expected: str
) -> None:
    request = signed()
    headers = dict(request.headers)
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    assert code(request._replace(headers=headers)) == expected


def test_a_date_that_is_none_is_refused() -> None:
    request = signed()
    headers = dict(request.headers) | {"x-amz-date": "yesterday"}
    with pytest.raises(RefusedError, match="ISO-8601"):
        signature.verify(request._replace(headers=headers), Credentials(), wall=0)


def test_service_and_region_are_part_of_the_scope() -> None:
    assert code(signed(service="sns")) == "InvalidSignatureException 403"
    assert code(signed(), region="us-east-1") == "InvalidSignatureException 403"
    assert code(signed(), region="eu-west-1") == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException 403"),
        ({"aws_access_key_id": "AKIDOTHER"}, "UnrecognizedClientException 403"),
        ({"aws_session_token": "stale"}, "UnrecognizedClientException 403"),
    ],
)
async def test_bad_credentials_are_refused_over_http(
    start: Start, connect: Connect, arguments: dict[str, str], expected: str
) -> None:
    pair = await start()
    client = await connect(pair.emulator, **arguments)
    for call in (client.get_account(), client.send_bulk_email(**pair.bulk(["a@example.com"]))):
        with pytest.raises(ClientError) as caught:
            await call
        answer = caught.value.response
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        assert f"{answer['Error']['Code']} {status}" == expected
    assert len(pair.emulator.ledger) == 0


async def test_temporary_credentials_are_accepted_over_http(start: Start) -> None:
    pair = await start(credentials=Credentials(session_token="a/b+c=="))
    assert await pair.statuses("a@example.com") == ["SUCCESS"]


async def test_an_unsigned_request_is_refused_unless_no_signature_is_asked_for(
    start: Start,
) -> None:
    for credentials, status in ((Credentials(), 403), (None, 200)):
        pair = await start(credentials=credentials)
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{pair.emulator.url}/v2/email/account") as answer,
        ):
            assert answer.status == status
