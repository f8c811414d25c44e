"""HTTP to AWS, by each of our clients: whom we talk to, where we go, and how long we listen."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import os
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from mailsluice.model import Answer
from mailsluice.model.codes import NOT_SENT
from mailsluice.model.errors import ConfigurationError, MailsluiceError
from mailsluice.ses import AccountUnavailableError, aws
from mailsluice.ses import client as clients
from mailsluice.ses.aws import sqs as queues
from mailsluice.ses.aws.sqs import Queue
from mailsluice.ses.client import Client
from mailsluice.ses.direct import Direct
from mailsluice.ses.statuses import Action, classify
from mailsluice.sources import s3
from tests.support.peer import Exchange, Peer, Script, listening

BODY = b'{"BulkEmailEntries":[]}'

HOST = "127.0.0.1"

LIST = b"email\na@example.com\n"


class Ended(NamedTuple):
    """What a client makes of one call."""

    code: str | None
    """None: it was answered."""
    reason: str


Call = Callable[[str], Awaitable[Ended]]
"""One call of one client to an endpoint."""


def ses(url: str) -> Client:
    return Client(
        region="us-east-1", profile=None, endpoint_url=url, in_flight_max=1, timeout_s=2.0
    )


def ended(answer: Answer) -> Ended:
    return Ended(answer.code, answer.error or "")


async def bulk_direct(url: str) -> Ended:
    async with ses(url) as client:
        return ended(await (await Direct.over(client)).send_bulk_email(BODY, None))


async def bulk_sdk(url: str) -> Ended:
    async with ses(url) as client:
        return ended(await client.send_bulk_email(BODY, None))


async def account(url: str) -> Ended:
    async with ses(url) as client:
        try:
            await client.get_account()
        except AccountUnavailableError as error:
            return ended(error.answer)
    return Ended(None, "")


async def queue(url: str) -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SQS", url)
        made = Queue(f"{url}/1/queue", visibility_s=60, wait_s=0, region="us-east-1", profile=None)
        async with made as opened:
            try:
                await opened.receive(10)
            except Exception as error:  # noqa: BLE001  # the worker catches them all
                return Ended(type(error).__name__, str(error))
    return Ended(None, "")


async def list_in_s3(url: str) -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", url)
        blocks = s3.S3Blocks("s3://bucket/list.csv", region="us-east-1", profile=None)
        try:
            assert [bytes(block) async for block in blocks] == [LIST]
        except MailsluiceError as error:
            return Ended(type(error).__name__, str(error))
    return Ended(None, "")


async def web_identity(url: str) -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL_STS", url)
        patch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/sender")
        patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", __file__)
        return await credentials()


async def container(url: str) -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/credentials")
        patch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token")
        return await credentials()


async def instance(url: str) -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        return await credentials()


async def credentials() -> Ended:
    try:
        found = await aws.session(None, "us-east-1").get_credentials()
        assert (await found.get_frozen_credentials()).access_key == "AKID"
    except Exception as error:  # noqa: BLE001  # the SDK raises whatever there is
        return Ended(type(error).__name__, str(error))
    return Ended(None, "")


BULK: list[Call] = [bulk_direct, bulk_sdk]
OTHERS: list[Call] = [account, queue, list_in_s3, web_identity, container, instance]
each_call = pytest.mark.parametrize("call", BULK + OTHERS)


# --- a peer that answers as AWS does ---------------------------------------------------------

SENT = b'{"BulkEmailEntryResults":[]}'
ACCOUNT = b'{"SendQuota":{"MaxSendRate":1,"Max24HourSend":1,"SentLast24Hours":0}}'
CREDENTIALS = (
    b'{"AccessKeyId":"AKID","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}'
)
ASSUMED = (
    b"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>"
    b"<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/sender/x</Arn></AssumedRoleUser>"
    b"<Credentials><AccessKeyId>AKID</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
    b"<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
    b"</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
)


def head(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode()


def good(exchange: Exchange) -> None:
    """Answer as the service would that is asked."""
    if asked(exchange):
        answer_well(exchange)


def asked(exchange: Exchange) -> bool:
    if not exchange.read_head():
        return False
    exchange.read_body()
    return True


def answer_well(exchange: Exchange) -> None:
    line = exchange.head.split(b"\r\n", 1)[0]
    if line.startswith(b"HEAD "):
        body = b""
        length = len(LIST)
    else:
        bodies = {
            b"outbound-bulk-emails": SENT,
            b"/email/account": ACCOUNT,
            b"/credentials": CREDENTIALS,
            b"/latest/api/token": b"token",
            b"/security-credentials/ ": b"role",
            b"/security-credentials/role": CREDENTIALS,
            b"list.csv": LIST,
        }
        found = [each for path, each in bodies.items() if path in line]
        default = ASSUMED if b"WebIdentity" in exchange.body else b"{}"
        body = found[0] if found else default
        length = len(body)
    named = ['ETag: "1"', "Last-Modified: Fri, 27 Nov 2026 09:00:00 GMT"]
    exchange.connection.sendall(head(200, f"Content-Length: {length}", *named) + body)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    # The SDK's back-off between attempts says nothing here.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    monkeypatch.setattr("botocore.retryhandler.delay_exponential", lambda *_, **__: 0.0)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def trusted(pem: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one authority that the clients trust."""
    monkeypatch.setenv("AWS_CA_BUNDLE", pem)
    # The metadata services have the SDK's own bundle, whatever AWS_CA_BUNDLE says.
    monkeypatch.setattr("botocore.httpsession.where", lambda: pem)
    return pem


@contextmanager
def serving(certificate: trustme.LeafCert, script: Script = good) -> Iterator[Peer]:
    """A peer with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with listening(script, context) as peer:
        yield peer


def of_another_name(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("email.us-east-1.example", "127.0.0.2")


def expired(authority: trustme.CA) -> trustme.LeafCert:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return authority.issue_cert(HOST, not_before=past, not_after=past + dt.timedelta(days=1))


def of_an_unknown_authority(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert(HOST)


@each_call
@pytest.mark.usefixtures("trusted")
async def test_a_certificate_of_that_name_is_accepted(call: Call, authority: trustme.CA) -> None:
    with serving(authority.issue_cert(HOST)) as peer:
        assert await call(f"https://{HOST}:{peer.port}") == Ended(None, "")
        assert peer.seen


@pytest.mark.parametrize(
    ("call", "impostor"),
    [
        *((call, of_another_name) for call in BULK + OTHERS),
        *((call, impostor) for call in BULK for impostor in (expired, of_an_unknown_authority)),
    ],
)
@pytest.mark.usefixtures("trusted")
async def test_nothing_is_sent_to_whom_no_valid_certificate_names(
    call: Call, impostor: Callable[[trustme.CA], trustme.LeafCert], authority: trustme.CA
) -> None:
    with serving(impostor(authority)) as peer:
        refused = await call(f"https://{HOST}:{peer.port}")
        assert peer.seen == 0
    if call is not instance:  # which the SDK passes over if it cannot be reached
        assert "certificate verify failed" in refused.reason
    if call in BULK:
        assert refused.code == NOT_SENT


@pytest.mark.parametrize("call", BULK)
@pytest.mark.usefixtures("trusted")
async def test_a_host_name_is_checked_as_an_address_is(call: Call, authority: trustme.CA) -> None:
    with serving(authority.issue_cert("localhost")) as peer:
        assert (await call(f"https://localhost:{peer.port}")).code is None
        assert (await call(f"https://{HOST}:{peer.port}")).code == NOT_SENT
        assert peer.seen == 1


@pytest.mark.parametrize("call", [bulk_sdk, queue])
async def test_an_empty_ca_bundle_trusts_nobody_more(
    call: Call, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "")
    with serving(authority.issue_cert(HOST)) as peer:
        try:
            reason = (await call(f"https://{HOST}:{peer.port}")).reason
        except ConfigurationError as error:  # botocore 1.43 refuses an empty one
            reason = str(error)
        assert re.search("certificate verify failed|Invalid CA bundle", reason)
        assert peer.seen == 0


@pytest.mark.parametrize("call", [bulk_direct, queue, web_identity])
async def test_a_profile_may_name_the_authorities(
    call: Call, authority: trustme.CA, pem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {pem}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with serving(authority.issue_cert(HOST)) as peer:
        assert await call(f"https://{HOST}:{peer.port}") == Ended(None, "")


@pytest.mark.parametrize("call", [bulk_direct, queue])
async def test_a_ca_bundle_that_cannot_be_read_is_named_at_the_start(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/ca.pem")
    with pytest.raises(ConfigurationError, match=r"/nonexistent/ca\.pem cannot be read.*PEM"):
        await call(f"https://{HOST}:1")


async def test_a_ca_bundle_that_has_changed_is_read_again(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    trustme.CA().cert_pem.write_to_path(bundle)
    with serving(authority.issue_cert(HOST)) as peer:
        assert (await bulk_sdk(f"https://{HOST}:{peer.port}")).code == NOT_SENT
        authority.cert_pem.write_to_path(bundle)
        os.utime(bundle, (1, 1))  # however soon after the first
        assert await bulk_sdk(f"https://{HOST}:{peer.port}") == Ended(None, "")


async def test_who_asks_the_sdk_not_to_verify_gets_that(authority: trustme.CA) -> None:
    with serving(of_another_name(authority)) as peer:
        made = aws.session(None, "us-east-1").client(
            "sesv2", endpoint_url=f"https://{HOST}:{peer.port}", verify=False
        )
        async with made as client:
            assert (await client.get_account())["SendQuota"]["MaxSendRate"] == 1


# --- proxies ------------------------------------------------------------------------------------


class Proxy:
    """The script of a peer that tunnels (CONNECT) for whoever has the password."""

    password = "user:secret%"

    def __init__(self) -> None:
        self.tunnels = 0

    def __call__(self, exchange: Exchange) -> None:
        if not exchange.read_head():
            return
        given = base64.b64encode(self.password.encode())
        if b"Proxy-Authorization: Basic " + given not in exchange.head:
            exchange.connection.sendall(head(407, "Content-Length: 0"))
            return
        target = re.match(rb"CONNECT ([^:]+):(\d+) ", exchange.head)
        assert target
        self.tunnels += 1
        with socket.create_connection((target[1].decode(), int(target[2]))) as onward:
            exchange.connection.sendall(head(200))
            back = threading.Thread(target=pump, args=(onward, exchange.connection))
            back.start()
            pump(exchange.connection, onward)
            back.join()
        exchange.close()


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            sink.sendall(received)
        sink.shutdown(socket.SHUT_WR)


PROXIED: list[Call] = [*BULK, queue, web_identity]
"""The container's metadata service is reached without a proxy."""


@pytest.fixture(params=["http", "https"])
def proxy(
    request: pytest.FixtureRequest, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """A proxy that wants a password, reached by plain HTTP or by TLS."""
    script = Proxy()
    secure = request.param == "https"
    certificate = authority.issue_cert("localhost")
    with serving(certificate, script) if secure else listening(script) as peer:
        url = f"{request.param}://user:secret%25@localhost:{peer.port}"
        monkeypatch.setenv("HTTPS_PROXY", url)
        yield script


@pytest.mark.parametrize("call", PROXIED)
@pytest.mark.usefixtures("trusted")
async def test_through_a_proxy_a_right_certificate_is_accepted(
    call: Call, proxy: Proxy, authority: trustme.CA
) -> None:
    with serving(authority.issue_cert(HOST)) as peer:
        assert await call(f"https://{HOST}:{peer.port}") == Ended(None, "")
        assert peer.seen
    assert proxy.tunnels


@pytest.mark.parametrize("call", PROXIED)
@pytest.mark.usefixtures("trusted")
async def test_through_a_proxy_nothing_is_sent_to_an_impostor(
    call: Call, proxy: Proxy, authority: trustme.CA
) -> None:
    with serving(of_another_name(authority)) as peer:
        refused = await call(f"https://{HOST}:{peer.port}")
        assert peer.seen == 0
    assert proxy.tunnels
    assert "secret" not in refused.reason
    assert refused.code
    if call in BULK:
        assert refused.code == NOT_SENT


@pytest.mark.parametrize("call", BULK)
@pytest.mark.usefixtures("trusted")
async def test_a_proxy_with_a_certificate_for_another_name_is_told_nothing(
    call: Call, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(of_another_name(authority), Proxy()) as peer:
        monkeypatch.setenv("HTTPS_PROXY", f"https://user:secret%25@localhost:{peer.port}")
        assert (await call(f"https://{HOST}:1")).code == NOT_SENT


@pytest.mark.parametrize("call", BULK)
async def test_a_proxy_that_never_answers_is_given_up_with_nothing_sent(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "CONNECT_TIMEOUT_S", 0.1)
    with listening(Exchange.hang) as peer:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{HOST}:{peer.port}")
        assert (await call(f"https://{HOST}:1")).code == NOT_SENT


# --- redirects ----------------------------------------------------------------------------------


@each_call
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(call: Call, status: int) -> None:
    with listening(good) as elsewhere:
        there = f"Location: http://{HOST}:{elsewhere.port}/taken"

        def redirect(exchange: Exchange) -> None:
            if asked(exchange):
                exchange.connection.sendall(head(status, there, "Content-Length: 0"))

        with listening(redirect) as peer:
            answered = await call(f"http://{HOST}:{peer.port}")
        assert elsewhere.seen == 0
    assert answered.code is not None
    if call in {*BULK, account}:
        verdict = classify(Answer(code=answered.code, http_status=status), 1)[0]
        assert verdict.rule.action is Action.HOLD
        assert "/taken" in answered.reason
    if call is list_in_s3:
        assert "region" in answered.reason


async def test_s3_is_asked_again_in_the_region_that_it_names() -> None:
    regions: list[bytes] = []
    with listening(good) as elsewhere:
        there = f"Location: http://{HOST}:{elsewhere.port}/taken"

        def redirect(exchange: Exchange) -> None:
            if not asked(exchange):
                return
            signed = re.search(rb"/(\S+)/s3/aws4_request", exchange.head)
            assert signed
            regions.append(signed[1].split(b"/")[-1])
            if regions[-1] == b"eu-west-1":
                answer_well(exchange)
            else:
                named = "x-amz-bucket-region: eu-west-1"
                exchange.connection.sendall(head(307, there, named, "Content-Length: 0"))

        with listening(redirect) as peer:
            assert await list_in_s3(f"http://{HOST}:{peer.port}") == Ended(None, "")
        assert elsewhere.seen == 0
    assert regions[:2] == [b"us-east-1", b"eu-west-1"]


@pytest.mark.parametrize("given", [b"", LIST[:-1], LIST + b"b@example.com", 2 * 1024 * 1024 * b"x"])
async def test_s3_gives_neither_more_nor_less_of_a_list_than_was_asked(given: bytes) -> None:
    def otherwise(exchange: Exchange) -> None:
        if asked_for_a_body(exchange):
            exchange.connection.sendall(head(206, f"Content-Length: {len(given)}") + given)

    with listening(otherwise) as peer:
        answered = await list_in_s3(f"http://{HOST}:{peer.port}")
    assert answered.code == "SourceUnavailableError"
    assert re.search(r"answered [\d,]+$|is longer than", answered.reason)


# --- answers without end ------------------------------------------------------------------------


def asked_for_a_body(exchange: Exchange) -> bool:
    """Answer to HEAD, which has none, as S3 does."""
    if not asked(exchange):
        return False
    if exchange.head.startswith(b"HEAD "):
        answer_well(exchange)
        return False
    return True


def endless(*headers: str, status: int = 200) -> Script:
    """Answer by a body that ends only with the connection."""

    def script(exchange: Exchange) -> None:
        if asked_for_a_body(exchange):
            exchange.connection.sendall(head(status, *headers))
            while True:
                exchange.connection.sendall(b"10000\r\n" + 65_536 * b" " + b"\r\n")

    return script


def endless_head(exchange: Exchange) -> None:
    """Answer by headers without end."""
    if asked(exchange):
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            exchange.connection.sendall(
                b"".join(b"h%d: %s\r\n" % (n, 4000 * b"x") for n in range(9))
            )


BOMB = gzip.compress(64 * 1024 * 1024 * b" ", 1)


def bomb(exchange: Exchange) -> None:
    """Answer by little that is much when it is decompressed."""
    if asked_for_a_body(exchange):
        said = head(200, "Content-Encoding: gzip", f"Content-Length: {len(BOMB)}")
        exchange.connection.sendall(said + BOMB)


ENDLESS = {
    "in chunks": endless("Transfer-Encoding: chunked"),
    "compressed": endless("Transfer-Encoding: chunked", "Content-Encoding: gzip"),
    "of a great length": endless(f"Content-Length: {10**12}"),
    "of no length": endless("Connection: close"),
    "in chunks, of a small length": endless("Transfer-Encoding: chunked", "Content-Length: 10"),
    "that is an error": endless(f"Content-Length: {10**12}", status=400),
    "that is a redirect": endless(f"Content-Length: {10**12}", "Location: /", status=302),
    "in its head": endless_head,
    "that is a bomb": bomb,
}

REASONS = {
    "in chunks, of a small length": "Content-Length can't be present",
    "in its head": "Too many headers",
    "that is a bomb": "cannot be read",
}
"""If it is not the length."""


def endless_answers(calls: list[Call]) -> pytest.MarkDecorator:
    """Each kind of answer to each of these calls."""
    return pytest.mark.parametrize(
        ("call", "name"), [(call, name) for call in calls for name in ENDLESS]
    )


@endless_answers(BULK)
async def test_an_answer_without_end_is_a_doubt_with_its_reason(call: Call, name: str) -> None:
    with listening(ENDLESS[name]) as peer:
        answered = await call(f"http://{HOST}:{peer.port}")
        assert peer.seen == 1
    assert classify(Answer(code=answered.code), 1)[0].rule.action is Action.DOUBT
    assert re.search(REASONS.get(name, "longer than 1,048,576 bytes"), answered.reason)


@endless_answers(OTHERS)
async def test_another_answer_without_end_is_given_up(call: Call, name: str) -> None:
    with listening(ENDLESS[name]) as peer:
        answered = await call(f"http://{HOST}:{peer.port}")
        assert peer.seen
    assert answered.code is not None
    if call is not queue:  # whose error is the SDK's own
        assert len(answered.reason) < 3_000
    if name not in REASONS:
        assert re.search(r"longer than [\d,]+ bytes", answered.reason)


def trickling(exchange: Exchange) -> None:
    """Answer byte by byte, so that no silence is long."""
    if asked_for_a_body(exchange):
        exchange.connection.sendall(head(200, "Content-Length: 1000000"))
        while not exchange.peer.stopped.wait(0.02):
            exchange.connection.sendall(b" ")


def trickling_head(exchange: Exchange) -> None:
    """As `trickling`, from the first byte of the answer."""
    if asked(exchange):
        exchange.connection.sendall(b"HTTP/1.1 200 ")
        while not exchange.peer.stopped.wait(0.02):
            exchange.connection.sendall(b"O")


@pytest.mark.parametrize("script", [trickling, trickling_head])
@pytest.mark.parametrize("call", [call for call in OTHERS if call is not instance])
async def test_a_trickled_answer_ends_with_a_time_limit(
    call: Call, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (aws, clients):
        monkeypatch.setattr(place, "CONNECT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(aws, "READ_TIMEOUT_S", 0.5)
    monkeypatch.setattr(queues, "ANSWER_MARGIN_S", 0.5)
    monkeypatch.setattr(s3, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.TIMEOUT_SECONDS", 0.2)
    with listening(script) as peer:
        answered = await call(f"http://{HOST}:{peer.port}")
    assert answered.code is not None
