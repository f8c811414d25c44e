"""The direct transport asks for what the SDK would ask for, byte by byte, and reads the same."""

import datetime as dt
import re
import uuid
from typing import Any, NamedTuple

import aiohttp
import botocore.auth
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsluice import Mailing, Recipient
from mailsluice.emulator import CallFault, Emulator
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import assemble
from mailsluice.model.bitmap import Bitmap
from mailsluice.ses.aws.credentials import credentials_of
from mailsluice.ses.client import Client
from mailsluice.ses.direct import Direct
from mailsluice.sources import Row

NOW = dt.datetime(2026, 11, 24, 12, 0, 0)  # noqa: DTZ001  # botocore's is naive


def wall() -> float:
    return NOW.replace(tzinfo=dt.UTC).timestamp()


def client(endpoint_url: str | None = None) -> Client:
    return Client(
        region=None, profile=None, endpoint_url=endpoint_url, in_flight_max=2, timeout_s=2.0
    )


class Asked(NamedTuple):
    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    proxy: str | None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def asked(*bodies: bytes, direct: bool) -> list[Asked]:
    """What the SDK would have aiohttp send, or we."""
    seen: list[Asked] = []

    async def note(
        _: object, method: str, url: object, *, headers: Any, data: bytes, **options: Any
    ) -> Any:
        sent = {name.lower(): _text(value) for name, value in headers.items()}
        # m/…: letters for what the SDK has used so far, in any order.
        sent["user-agent"] = re.sub(r" m/\S*", "", sent["user-agent"])
        sent.pop("content-length", None)  # aiohttp counts it where it is not given
        assert not options.get("chunked")
        seen.append(Asked(method, str(url), sent, data, options["proxy"]))
        raise aiohttp.ClientConnectionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiohttp.ClientSession, "_request", note)
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: NOW)
        async with client() as opened:
            transport = await Direct.over(opened, wall) if direct else opened
            for body in bodies:
                answer = await transport.send_bulk_email(body, None)
                assert answer.code == "NOT_SENT"
    return seen


ENVIRONMENTS = {
    "a region": {"AWS_REGION": "eu-west-1"},
    "a session token": {"AWS_REGION": "us-east-1", "AWS_SESSION_TOKEN": "token/+="},
    "FIPS": {"AWS_REGION": "us-east-1", "AWS_USE_FIPS_ENDPOINT": "true"},
    "dual-stack": {"AWS_REGION": "us-west-2", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "China": {"AWS_REGION": "cn-north-1"},
    "an endpoint": {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:99/path"},
    "a proxy": {"AWS_REGION": "us-east-1", "HTTPS_PROXY": "http://proxy.test:3128"},
    "SES's endpoint": {
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_SESV2": "https://ses.test:8443",
    },
}


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))  # the id of a call, signed too
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=list(ENVIRONMENTS))
async def test_it_is_reached_and_signed_as_the_sdk_does(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    body = b'{"BulkEmailEntries": []}'
    (direct,) = await asked(body, direct=True)
    assert [direct] == await asked(body, direct=False)
    assert "Credential=AKIDEXAMPLE/20261124/" in direct.headers["authorization"]


words = st.text(max_size=20)
mailings = st.builds(
    Mailing,
    from_address=st.just("News <news@example.com>"),
    template=st.sampled_from(["welcome", "Grüße"]),
    data=st.dictionaries(words, words, max_size=3),
    tags=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"])),
)
recipients = st.lists(
    st.builds(
        Recipient,
        to=st.sampled_from(["a@example.com", "Ann <b@example.com>", "c@bücher.example"]),
        data=st.dictionaries(words, words, max_size=3),
    ),
    min_size=1,
    max_size=5,
)


def body_of(mailing: Mailing, rows: list[Recipient]) -> bytes:
    intake = Intake(mailing, "a" * 16, "none", Bitmap())
    entries = intake.take([Row(n, recipient) for n, recipient in enumerate(rows, 1)]).entries
    return assemble(mailing.prefix(), entries)


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(bodies=st.lists(st.builds(body_of, mailings, recipients), min_size=1, max_size=8))
async def test_any_mailing_is_the_same_request(
    monkeypatch: pytest.MonkeyPatch, bodies: list[bytes]
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert await asked(*bodies, direct=True) == await asked(*bodies, direct=False)


ANSWERS = [
    CallFault(
        fault="error", code="TooManyRequestsException", message="Maximum sending rate exceeded."
    ),
    CallFault(fault="error", code="BadRequestException", message="no"),
    CallFault(fault="error", code="AccessDeniedException", message="not you"),
    CallFault(fault="error", code="InternalServiceErrorException"),
    CallFault(fault="error", http_status=503),
    CallFault(fault="error", http_status=500, message="<html>oops</html>"),
    *(
        CallFault(fault=kind)
        for kind in ("lost", "reset_before", "reset_after", "cut", "broken", "short")
    ),
]


@pytest.mark.parametrize(
    "fault", ANSWERS, ids=lambda f: f.code or f"{f.fault}{f.http_status or ''}"
)
async def test_it_reads_an_answer_as_the_sdk_does(ses_emulator: Emulator, fault: CallFault) -> None:
    mailing = Mailing(from_address="a@example.com", template="t")
    body = body_of(mailing, [Recipient(to="a@example.com")])
    ses_emulator.faults.add(fault)
    async with client(ses_emulator.url) as opened:
        sdk = await opened.send_bulk_email(body, None)
        direct = await (await Direct.over(opened)).send_bulk_email(body, None)
    assert (direct.code, direct.http_status, direct.results) == (
        sdk.code,
        sdk.http_status,
        sdk.results,
    )
    assert (sdk.code, sdk.results) != ("InvalidSignatureException", ())
    if sdk.http_status:
        assert direct.error == sdk.error


async def test_what_it_cannot_sign_goes_through_the_sdk(ses_emulator: Emulator) -> None:
    async with client(ses_emulator.url) as opened:
        direct = await Direct.over(opened)
        assert await direct.send_bulk_email(b"{}", "abc.def") == await opened.send_bulk_email(
            b"{}", "abc.def"
        )


async def test_the_day_changes_and_credentials_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    seen: list[str] = []

    async def note(*_: object, headers: Any, **__: object) -> Any:
        seen.append(headers["Authorization"])
        raise aiohttp.ClientConnectionError

    monkeypatch.setattr(aiohttp.ClientSession, "_request", note)
    now = [NOW]

    def at() -> float:
        return now[0].replace(tzinfo=dt.UTC).timestamp()

    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: now[0])
    async with client() as opened:
        direct = await Direct.over(opened, at)
        for transport in (direct, opened):
            now[0] = NOW
            await transport.send_bulk_email(b"{}", None)
            now[0] = NOW + dt.timedelta(days=1)
            await transport.send_bulk_email(b"{}", None)
            with monkeypatch.context() as renewed:
                renewed.setenv("AWS_SECRET_ACCESS_KEY", "renewed")
                renewed.setenv("AWS_SESSION_TOKEN", "another")
                credentials_of(opened.sdk).forget()
                await transport.send_bulk_email(b"{}", None)
            credentials_of(opened.sdk).forget()
    assert len(set(seen)) == 3
    assert seen[:3] == seen[3:]


async def test_a_signature_that_is_not_understood_is_left_to_the_sdk(
    monkeypatch: pytest.MonkeyPatch, ses_emulator: Emulator
) -> None:
    body = body_of(Mailing(from_address="a@example.com", template="t"), [Recipient(to="a@e.org")])
    monkeypatch.setattr("mailsluice.ses.signature.Signer.like", lambda *_: None)
    async with client(ses_emulator.url) as opened:
        answer = await (await Direct.over(opened)).send_bulk_email(body, None)
    assert [result.status for result in answer.results] == ["SUCCESS"]
