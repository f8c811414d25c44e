"""A request waits for its turn with a connection in hand, in both transports."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest
import trustme
from anyio import to_thread

from mailsluice.ses import Transport
from mailsluice.ses.client import Client
from mailsluice.ses.direct import Direct
from tests.support.peer import Exchange, Peer, listening
from tests.support.ses import BODY, OK, answering
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["direct", "sdk"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Turn:
    """The account's rate: says who asks, and lets them go one by one."""

    def __init__(self) -> None:
        self.asked = 0
        self._asks = asyncio.Condition()
        self._goes = asyncio.Semaphore(0)

    async def __call__(self) -> None:
        async with self._asks:
            self.asked += 1
            self._asks.notify_all()
        await self._goes.acquire()

    async def has_asked(self, times: int) -> None:
        with anyio.fail_after(PATIENCE_S):
            async with self._asks:
                await self._asks.wait_for(lambda: self.asked >= times)

    def go(self) -> None:
        self._goes.release()


class Handshake:
    """TLS whose handshakes end when they are told to."""

    def __init__(self, authority: trustme.CA) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.over = threading.Event()
        self.number = 0
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._tls)

    def wrap_socket(self, connection: object, *, server_side: bool) -> ssl.SSLSocket:
        self.number += 1
        self.begun.set()
        assert self.may_end.wait(PATIENCE_S)
        return self._tls.wrap_socket(connection, server_side=server_side)  # type: ignore[arg-type]


@contextmanager
def a_peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Peer, Handshake]]:
    authority = trustme.CA()
    handshake = Handshake(authority)
    answer = answering(200, OK)

    def script(exchange: Exchange) -> None:
        handshake.over.set()  # for the peer, too: it knows the connection
        answer(exchange)

    with (
        authority.cert_pem.tempfile() as pem,
        listening(script, handshake) as peer,  # type: ignore[arg-type]
    ):
        monkeypatch.setenv("AWS_CA_BUNDLE", pem)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield peer, handshake


@asynccontextmanager
async def a_transport(kind: str, port: int) -> AsyncIterator[Transport]:
    client = Client(
        region="us-east-1",
        profile=None,
        endpoint_url=f"https://127.0.0.1:{port}",
        in_flight_max=2,
        timeout_s=PATIENCE_S,
    )
    async with client:
        yield await Direct.over(client) if kind == "direct" else client


async def test_it_asks_for_its_turn_when_the_handshake_is_over(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = Turn()
    with a_peer(monkeypatch) as (peer, handshake):
        async with a_transport(kind, peer.port) as transport:
            call = asyncio.create_task(transport.send_bulk_email(BODY, None, turn))
            assert await to_thread.run_sync(handshake.begun.wait, PATIENCE_S)
            assert turn.asked == 0
            handshake.may_end.set()
            await turn.has_asked(1)
            assert peer.seen == 0
            turn.go()
            assert (await call).code is None
    assert (turn.asked, peer.seen, handshake.number) == (1, 1, 1)


async def test_it_asks_again_where_the_connection_is_closed_while_it_waits(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = Turn()
    with a_peer(monkeypatch) as (peer, handshake):
        handshake.may_end.set()
        async with a_transport(kind, peer.port) as transport:
            call = asyncio.create_task(transport.send_bulk_email(BODY, None, turn))
            await turn.has_asked(1)
            assert await to_thread.run_sync(handshake.over.wait, PATIENCE_S)
            peer.close_connections()
            turn.go()
            await turn.has_asked(2)
            assert peer.seen == 0
            turn.go()
            assert (await call).code is None
    assert (turn.asked, peer.seen, handshake.number) == (2, 1, 2)


async def test_a_connection_of_a_request_that_is_cancelled_while_it_waits_is_the_next_ones(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = Turn()
    with a_peer(monkeypatch) as (peer, handshake):
        handshake.may_end.set()
        async with a_transport(kind, peer.port) as transport:
            call = asyncio.create_task(transport.send_bulk_email(BODY, None, turn))
            await turn.has_asked(1)
            call.cancel()
            await asyncio.wait([call])
            turn.go()
            assert (await transport.send_bulk_email(BODY, None, turn)).code is None
    assert (turn.asked, peer.seen, handshake.number) == (2, 1, 1)
