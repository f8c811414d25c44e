"""Proof 1: what the engine makes of everything that can happen on the wire, and how often it asks.

Each row goes through the real transport (aioboto3, aiohttp, sockets) and the real engine to a peer
that misbehaves. `expected` is written from design.md §7, not from the engine's own table.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple
from unittest import mock

import anyio
import orjson
import trustme
from anyio import to_thread

from mailsluice import DeliverySettings, Engine, Mailing, QuotaSettings
from mailsluice.journal import Record, Settlement
from mailsluice.journal.memory import MemoryJournal
from mailsluice.model import Account, Answer, InDoubt
from mailsluice.model.codes import NO_ANSWER
from mailsluice.ses import Depart, Transport, statuses
from mailsluice.ses import client as clients
from mailsluice.ses.client import Client
from mailsluice.ses.direct import Direct
from tests.prove.figures import Figure, Proved, Size, at_least, exactly, told
from tests.support.peer import Exchange, Peer, Script, free_port, listening
from tests.support.ses import BODY, CREDENTIALS, OK, SUCCESS, answering, results

MAILING = Mailing(from_address="a@example.com", template="t")
RECIPIENTS = ("a@example.com", "b@example.com", "c@example.com")
TIMEOUT_S = 0.4
HOST = "unresolvable.example"


class Expected(NamedTuple):
    """What design.md §7 says."""

    seen: int
    """Requests that the peer has read to the end."""
    meaning: str
    hold: str
    """A code of the journal for each recipient, under `in_doubt = "hold"`."""
    resend: str


NOT_SENT = Expected(0, "RECONNECT", "ppp", "ppp")
UNSEEN_DOUBT = Expected(0, "DOUBT", "iii", "ddd")
DOUBT = Expected(1, "DOUBT", "iii", "ddd")
THROTTLED = Expected(1, "THROTTLE", "ppp", "ppp")
DAILY = Expected(1, "WAIT_DAILY", "ppp", "ppp")
BISECT = Expected(1, "BISECT", "ppp", "ppp")
HOLD = Expected(1, "HOLD", "ppp", "ppp")
REFUSED = Expected(1, "RECONNECT", "ppp", "ppp")
SENT = Expected(1, "SENT", "sss", "sss")
UNSIGNED = Expected(0, "HOLD", "ppp", "ppp")


Environment = Callable[[contextlib.ExitStack], dict[str, str | None]]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that can happen."""

    name: str
    script: Script | None
    """None: nobody listens."""
    expected: Expected
    scheme: str = "http"
    host: str = "127.0.0.1"
    certificate: Literal["good", "untrusted", "of another name", "expired"] = "good"
    """Of a peer that speaks TLS."""
    cancelled: bool = False
    environment: Environment | None = None
    """What else the environment has, for the length of the row; None: a variable that it has not.
    """


def refusing(status: int, code: str, text: str = "because") -> Script:
    """Answer by an error of SES."""
    return answering(status, orjson.dumps({"message": text}), code)


def after_request(act: str, *, sent: int = 0) -> Script:
    """Read the request, write the first bytes of an answer, then end or hang."""

    def script(exchange: Exchange) -> None:
        if exchange.read_head():
            exchange.read_body()
            if sent:
                exchange.answer(200, OK, sent=sent)
            getattr(exchange, act)()

    return script


def reset_before_body(exchange: Exchange) -> None:
    exchange.read_head()
    exchange.reset()


def reset_at_once(exchange: Exchange) -> None:
    exchange.reset()


def garbage(exchange: Exchange) -> None:
    exchange.connection.recv(1)
    exchange.connection.sendall(b"this is not TLS\r\n")
    exchange.close()


def entry(status: str, message_id: str | None = None) -> Script:
    """The second of three recipients gets another status than its neighbours."""
    odd = {"Status": status} | ({"MessageId": message_id} if message_id else {"Error": "odd"})
    return answering(200, results(SUCCESS[0], odd, SUCCESS[2]))


def redirect(status: int) -> Script:
    """Send the request elsewhere: to the same peer, which would count it."""

    def script(exchange: Exchange) -> None:
        if exchange.read_head():
            exchange.read_body()
            place = f"Location: http://127.0.0.1:{exchange.peer.port}/\r\nContent-Length: 0"
            exchange.connection.sendall(f"HTTP/1.1 {status} There\r\n{place}\r\n\r\n".encode())

    return script


REDIRECTS = (301, 302, 303, 307, 308)


def endless(exchange: Exchange) -> None:
    if exchange.read_head():
        exchange.read_body()
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            exchange.connection.sendall(65_536 * b" ")


def _odd(**fields: object) -> Script:
    return answering(200, orjson.dumps({"BulkEmailEntryResults": [SUCCESS[0], fields, SUCCESS[2]]}))


def refuse_to_connect(exchange: Exchange) -> None:
    """As a proxy that wants to know who asks."""
    exchange.read_head()
    exchange.answer(407, b"<html>Who are you?</html>")
    exchange.close()


_WITHOUT: dict[str, str | None] = {
    "AWS_ACCESS_KEY_ID": None,
    "AWS_SECRET_ACCESS_KEY": None,
    "AWS_SESSION_TOKEN": None,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_MAX_ATTEMPTS": "1",
}


def _file(stack: contextlib.ExitStack, text: str) -> str:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "file"
    path.write_text(text)
    return str(path)


def web_identity(sts: Script | None) -> Environment:
    """A web identity whose STS does that; None: whose token file is gone."""

    def environment(stack: contextlib.ExitStack) -> dict[str, str | None]:
        port = free_port() if sts is None else stack.enter_context(listening(sts)).port
        return _WITHOUT | {
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/mail",
            "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent" if sts is None else _file(stack, "token"),
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{port}",
        }

    return environment


def container(script: Script) -> Environment:
    """A container whose credentials endpoint does that."""

    def environment(stack: contextlib.ExitStack) -> dict[str, str | None]:
        port = stack.enter_context(listening(script)).port
        return _WITHOUT | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/"}

    return environment


def process(command: str) -> Environment:
    """A profile with that `credential_process`."""

    def environment(stack: contextlib.ExitStack) -> dict[str, str | None]:
        config = _file(stack, f"[default]\ncredential_process = {command}\n")
        return _WITHOUT | {"AWS_CONFIG_FILE": config}

    return environment


def key_id(value: str) -> Environment:
    """That access key id."""
    return lambda _: {"AWS_ACCESS_KEY_ID": value}


def through_proxy(script: Script) -> Environment:
    """A proxy that does that."""

    def environment(stack: contextlib.ExitStack) -> dict[str, str | None]:
        url = f"http://user:hush@127.0.0.1:{stack.enter_context(listening(script)).port}"
        return {"HTTPS_PROXY": url, "NO_PROXY": None, "no_proxy": None}

    return environment


def sts_error(status: int, code: str) -> Script:
    """STS refuses; its errors are XML."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>"
    return answering(status, f"<ErrorResponse>{error}</ErrorResponse>".encode())


HANG = after_request("hang")
FINE = answering(200, OK)

BEFORE = [
    Row("no credentials", FINE, UNSIGNED, environment=lambda _: dict(_WITHOUT)),
    *(
        Row(f"STS: {code}", FINE, UNSIGNED, environment=web_identity(sts_error(status, code)))
        for status, code in (
            (400, "InvalidIdentityToken"),
            (400, "Throttling"),
            (403, "AccessDenied"),
            (429, "TooManyRequestsException"),
            (500, "InternalFailure"),
        )
    ),
    Row("STS: a page", FINE, UNSIGNED, environment=web_identity(answering(200, b"<html>"))),
    Row("STS: never answers", FINE, UNSIGNED, environment=web_identity(HANG)),
    Row("the token file is gone", FINE, UNSIGNED, environment=web_identity(None)),
    Row("credential_process: no JSON", FINE, UNSIGNED, environment=process("/bin/echo hello")),
    Row("credential_process: fails", FINE, UNSIGNED, environment=process("/bin/false")),
    Row("credential_process: is not there", FINE, UNSIGNED, environment=process("/nonexistent")),
    Row("container: 500", FINE, UNSIGNED, environment=container(answering(500, b"no"))),
    Row("container: a page", FINE, UNSIGNED, environment=container(answering(200, b"<html>"))),
    Row("container: a list", FINE, UNSIGNED, environment=container(answering(200, b"[1]"))),
    Row("container: never answers", FINE, UNSIGNED, environment=container(HANG)),
    Row("a line break in the key id", FINE, UNSIGNED, environment=key_id("anyone\n")),
    Row("a blank key id", FINE, UNSIGNED, environment=key_id(" ")),
    Row(
        "a proxy that refuses to connect",
        FINE,
        NOT_SENT,
        scheme="https",
        environment=through_proxy(refuse_to_connect),
    ),
]  # fmt: skip

HALF = len(OK) // 2 + 100  # the head has about 90 bytes

WIRE = [
    Row("connection refused", None, NOT_SENT),
    Row("DNS failure", None, NOT_SENT, host=HOST),
    Row("TLS: the peer speaks something else", garbage, NOT_SENT, scheme="https"),
    Row("TLS: reset in the handshake", reset_at_once, NOT_SENT, scheme="https"),
    *(
        Row(f"TLS: certificate {bad}", answering(200, OK), NOT_SENT, "https", certificate=bad)
        for bad in ("untrusted", "of another name", "expired")
    ),
    Row("TLS: reset after the request", after_request("reset"), DOUBT, scheme="https"),
    Row("TLS: all is well", answering(200, OK), SENT, scheme="https"),
    Row("reset before the body", reset_before_body, UNSEEN_DOUBT),
    Row("reset after the body", after_request("reset"), DOUBT),
    Row("close without an answer", after_request("close"), DOUBT),
    Row("hang past the timeout", after_request("hang"), DOUBT),
    Row("hang in the middle of the answer", after_request("hang", sent=HALF), DOUBT),
    Row("half a head, then closed", after_request("close", sent=30), DOUBT),
    Row("half an answer, then closed", after_request("close", sent=HALF), DOUBT),
    Row("half an answer, then reset", after_request("reset", sent=HALF), DOUBT),
    Row("200 with broken JSON", answering(200, OK[:-10]), DOUBT),
    Row("200 with no body", answering(200, b""), DOUBT),
    Row("200 with a page", answering(200, b"<html>Hello</html>"), DOUBT),
    Row("200 with no results", answering(200, b"{}"), DOUBT),
    Row("200 with null for results", answering(200, b'{"BulkEmailEntryResults":null}'), DOUBT),
    Row("200 with a list for an error", _odd(Error=["no"]), DOUBT),
    Row("200 with a number for a MessageId", _odd(MessageId=7), DOUBT),
    Row("200 with an object for a status", _odd(Status={}), DOUBT),
    Row("200 with an object for results", answering(200, b'{"BulkEmailEntryResults":{}}'), DOUBT),
    Row("results one short", answering(200, results(*SUCCESS[:2])), DOUBT),
    Row("results one more", answering(200, results(*SUCCESS, SUCCESS[0])), DOUBT),
    *(Row(f"{status} to another place", redirect(status), HOLD) for status in REDIRECTS),
    Row("an answer without end", endless, DOUBT),
    Row("cancelled during the call", after_request("hang"), DOUBT, cancelled=True),
    Row("all is well", answering(200, OK), SENT),
]

CALLS = [
    (429, "TooManyRequestsException", "Maximum sending rate exceeded.", THROTTLED),
    (429, "TooManyRequestsException", "Daily message quota exceeded.", DAILY),
    (429, "", "", REFUSED),
    (400, "ThrottlingException", "Maximum sending rate exceeded.", THROTTLED),
    (400, "ThrottlingException", "Daily message quota exceeded", DAILY),
    (400, "BadRequestException", "", BISECT),
    (400, "MessageRejected", "", BISECT),
    (400, "LimitExceededException", "", BISECT),
    (400, "ValidationException", "", BISECT),
    (400, "", "", HOLD),
    (404, "", "", HOLD),
    (407, "", "", HOLD),
    (413, "", "", HOLD),
    (451, "", "", HOLD),
    (400, "AccountSuspendedException", "", HOLD),
    (400, "SendingPausedException", "", HOLD),
    (400, "MailFromDomainNotVerifiedException", "", HOLD),
    (400, "RequestExpired", "", HOLD),
    (404, "NotFoundException", "", HOLD),
    (403, "AccessDeniedException", "", HOLD),
    (403, "ExpiredTokenException", "", HOLD),
    (403, "SignatureDoesNotMatch", "", HOLD),
    (403, "UnrecognizedClientException", "", HOLD),
    (403, "", "", HOLD),
    (500, "InternalFailure", "", DOUBT),
    (500, "InternalServiceErrorException", "", DOUBT),
    (500, "", "", DOUBT),
    (502, "", "", DOUBT),
    (504, "", "", DOUBT),
    (503, "ServiceUnavailable", "", REFUSED),
    (503, "", "", DOUBT),
]
"""HTTP status, error code, text: the answers to whole calls. Without a code: a page of a proxy."""

ENTRIES = [
    ("SUCCESS", "id-1", "s"),
    ("SUCCESS", None, "i"),
    ("TRANSIENT_FAILURE", None, "b"),
    ("FAILED", None, "b"),
    ("ACCOUNT_THROTTLED", None, "p"),
    ("ACCOUNT_DAILY_QUOTA_EXCEEDED", None, "p"),
    ("MESSAGE_REJECTED", None, "r"),
    ("INVALID_PARAMETER", None, "r"),
    ("INVALID_PARAMETER_VALUE", None, "r"),
    ("ACCOUNT_SUSPENDED", None, "p"),
    ("ACCOUNT_SENDING_PAUSED", None, "p"),
    ("CONFIGURATION_SET_SENDING_PAUSED", None, "p"),
    ("CONFIGURATION_SET_NOT_FOUND", None, "p"),
    ("CONFIGURATION_SET_DOES_NOT_EXIST", None, "p"),
    ("TEMPLATE_NOT_FOUND", None, "p"),
    ("TEMPLATE_DOES_NOT_EXIST", None, "p"),
    ("MAIL_FROM_DOMAIN_NOT_VERIFIED", None, "p"),
    ("INVALID_SENDING_POOL_NAME", None, "p"),
    ("NEVER_HEARD_OF", None, "f"),
    ("NEVER_HEARD_OF", "id-1", "s"),
]
"""Status, MessageId, code in the journal: the answers to the second of three recipients."""


def rows() -> Iterator[Row]:
    """All of them."""
    yield from WIRE
    yield from BEFORE
    for status, code, text, expected in CALLS:
        script = refusing(status, code, text) if code else answering(status, b"<html>no</html>")
        yield Row(f"{status} {code or 'without a code'} {text}".strip(), script, expected)
    for name, message_id, code in ENTRIES:
        named = f"entry {name}{' with' if message_id else ' without'} a MessageId"
        resend = "sds" if code == "i" else f"s{code}s"
        yield Row(named, entry(name, message_id), Expected(1, "SENT", f"s{code}s", resend))


class Found(NamedTuple):
    """What came of a row in one mode."""

    seen: int
    meaning: str
    codes: str


class _Transport:
    """A real one, but for GetAccount, which is not what is proved here."""

    def __init__(self, real: Transport) -> None:
        self._real = real
        self.answers: list[Answer] = []

    async def send_bulk_email(
        self, body: bytes, endpoint_id: str | None, depart: Depart, /
    ) -> Answer:
        answer = await self._real.send_bulk_email(body, endpoint_id, depart)
        self.answers.append(answer)
        return answer

    async def get_account(self) -> Account:
        return Account(rate_per_s=1000, daily_max=-1, daily_sent=0)


class _Journal(MemoryJournal):
    """Stops the engine as soon as the first call is settled."""

    engine: Engine | None = None

    def commit(self, records: Sequence[Record]) -> None:
        super().commit(records)
        if self.engine is not None and any(isinstance(each, Settlement) for each in records):
            self.engine.stop()


async def happen(row: Row, *, direct: bool) -> tuple[Found, Found]:
    """Let it happen to one call of the engine, under "hold" and under "resend"."""
    with _peer(row) as peer, _environment(row):
        port = peer.port if peer else free_port()
        client = Client(
            region="us-east-1",
            profile=None,
            endpoint_url=f"{row.scheme}://{row.host}:{port}",
            in_flight_max=1,
            timeout_s=TIMEOUT_S,
        )
        async with client:
            real = await Direct.over(client) if direct else client
            return await _call(real, peer, row, "hold"), await _call(real, peer, row, "resend")


async def _call(real: Transport, peer: Peer | None, row: Row, in_doubt: InDoubt) -> Found:
    transport, journal = _Transport(real), _Journal()
    seen_before = peer.seen if peer else 0
    journal.engine = engine = Engine(
        transport=transport,
        journal=journal,
        delivery=DeliverySettings(in_doubt=in_doubt, timeout_s=TIMEOUT_S),
        quota=QuotaSettings(),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, MAILING, RECIPIENTS)
        if row.cancelled and peer:
            await to_thread.run_sync(partial(peer.wait_for, seen_before + 1, timeout_s=10.0))
            tasks.cancel_scope.cancel()
    settlement = next(each for each in journal.replay(details=True) if isinstance(each, Settlement))
    answers = transport.answers or [Answer(code=NO_ANSWER)]
    meaning = statuses.classify(answers[0], len(RECIPIENTS))[0].rule.action.name
    return Found(peer.seen - seen_before if peer else 0, meaning, settlement.states)


@contextmanager
def _peer(row: Row) -> Iterator[Peer | None]:
    if row.script is None:
        yield None
        return
    tls = None
    if row.scheme == "https" and row.script not in (garbage, reset_at_once):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        name = "ses.example" if row.certificate == "of another name" else "127.0.0.1"
        ends = EXPIRED if row.certificate == "expired" else None
        _authority().issue_cert(name, not_after=ends).configure_cert(tls)
    with listening(row.script, tls) as peer:
        yield peer


EXPIRED = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

_AUTHORITIES: list[trustme.CA] = []


def _authority() -> trustme.CA:
    """Made once: it takes a tenth of a second."""
    if not _AUTHORITIES:
        _AUTHORITIES.append(trustme.CA())
    return _AUTHORITIES[0]


@contextmanager
def _environment(row: Row) -> Iterator[None]:
    changes = dict(CREDENTIALS)
    with contextlib.ExitStack() as stack:
        if row.scheme == "https" and row.certificate != "untrusted":
            pem = stack.enter_context(_authority().cert_pem.tempfile())
            changes["AWS_CA_BUNDLE"] = pem
        stack.enter_context(mock.patch.dict(os.environ, changes))
        # Credentials have so long, and `TIMEOUT_S`.
        stack.enter_context(mock.patch.object(clients, "CONNECT_TIMEOUT_S", 1.0))
        for name, value in (row.environment(stack) if row.environment else {}).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if row.host == HOST:
            stack.enter_context(mock.patch.object(socket, "getaddrinfo", _unresolvable))
        yield


def _unresolvable(*_: object, **__: object) -> list[object]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Stale(NamedTuple):
    """Calls on a kept-alive connection that the peer closes about then."""

    closed_before: int
    """Calls for which the close had been delivered when a connection was chosen."""
    doubts_before: int
    """Of these, in doubt: nothing forces that."""
    closed_about: int
    """Calls for which it came later, if at all."""
    doubts_about: int
    """Of these, in doubt: the request had left, and nobody can tell any more."""


async def stale(before: int, about: int) -> Stale:
    """`before` calls after the close, and `about` within a millisecond of it."""
    with listening(answering(200, OK)) as peer, mock.patch.dict(os.environ, CREDENTIALS):
        client = Client(
            region="us-east-1",
            profile=None,
            endpoint_url=f"http://127.0.0.1:{peer.port}",
            in_flight_max=1,
            timeout_s=10.0,
        )
        async with client:
            certain = [await _call_after_close(client, peer) for _ in range(before)]
            random = Random(1)
            racing = [
                await _call_about_close(client, peer, random.uniform(-1e-3, 1e-3))
                for _ in range(about)
            ]
    return Stale(before, sum(certain), about, sum(racing))


async def _call_after_close(client: Client, peer: Peer) -> bool:
    """Whether a call is in doubt whose connection was closed while the event loop was busy."""
    await _warm(client)
    # From here to the choice of a connection the loop does not turn: it cannot know of the close.
    peer.close_connections()
    return _in_doubt(await client.send_bulk_email(BODY, None))


async def _call_about_close(client: Client, peer: Peer, late_s: float) -> bool:
    await _warm(client)
    begin = time.perf_counter() + 2e-3
    closer = threading.Thread(target=_close_at, args=(peer, begin + late_s))
    closer.start()
    _spin_until(begin)
    answer = await client.send_bulk_email(BODY, None)
    await to_thread.run_sync(closer.join)
    return _in_doubt(answer)


async def _warm(client: Client) -> None:
    assert not _in_doubt(await client.send_bulk_email(BODY, None))


def _in_doubt(answer: Answer) -> bool:
    return statuses.classify(answer, len(SUCCESS))[0].rule.action is statuses.Action.DOUBT


def _close_at(peer: Peer, moment: float) -> None:
    _spin_until(moment)
    peer.close_connections()


def _spin_until(moment: float) -> None:
    while time.perf_counter() < moment:
        pass


async def prove(size: Size) -> Proved:
    """All rows in both modes, and calls on connections that the peer has closed."""
    right, details = 0, []
    table = [(row, direct) for row in rows() for direct in (True, False)]
    if size == "short":
        table = table[::5]  # two rows of five, by turns through either
    for row, direct in table:
        hold, resend = await happen(row, direct=direct)
        expected = row.expected
        good = hold == (expected.seen, expected.meaning, expected.hold) and resend == (
            expected.seen,
            expected.meaning,
            expected.resend,
        )
        right += good
        way = "direct" if direct else "SDK   "
        details.append(
            f"{'right' if good else 'WRONG'}  {row.name:<62} {way} {hold.seen} {hold.meaning:<11}"
            f"{hold.codes}  {resend.codes}"
        )
    calls = await stale(*((200, 1000) if size == "full" else (20, 20)))
    figures: list[Figure] = [
        exactly("rows of the truth table that are right, both transports", len(table), right),
        at_least("calls after the peer closed their idle connection", 20, calls.closed_before),
        exactly("  of these in doubt", 0, calls.doubts_before),
        told(
            "calls within 1 ms of such a close: in doubt, as the wire forces it",
            f"{calls.doubts_about:,} of {calls.closed_about:,}",
        ),
    ]
    return Proved(figures, details)
