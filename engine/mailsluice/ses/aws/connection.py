"""Connections to AWS: none that the other end has closed already is used for a call.

A kept-alive connection may have been closed by the other end while it was idle. A request written
to it is lost without an answer, and nobody can tell that from an answer that was lost: the batch
would be in doubt for nothing. aiohttp notices a close when the event loop gets round to reading it;
between that and the request lie the milliseconds in which the loop was busy. So the socket itself
is asked, right before the request is written. What is left is a close that is on its way when the
request leaves: that doubt the wire forces upon us (docs/adr/0009).
"""

from __future__ import annotations

import errno
import select
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_CLOSED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR | select.POLLNVAL
"""Poll events of a socket whose other end is closed. (POLLRDHUP: Linux; elsewhere POLLHUP.)"""

_depart: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar(
    "mailsluice_depart", default=None
)


@contextmanager
def departing(depart: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Make the request within this block wait for `depart` before it is written."""
    token = _depart.set(depart)
    try:
        yield
    finally:
        _depart.reset(token)


class Connector(aiohttp.TCPConnector):
    """aiohttp's connection pool, without connections that the other end has closed."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> Connection:
        """Return a connection on which the other end still listens.

        Raises ClientConnectorError, as for any failed connection, if the peer closes even new
        ones, or if a proxy breaks off: nothing has been sent.
        """
        for _ in range(self.limit + 1):  # the pool may hold `limit` that are closed
            try:
                connection = await super().connect(req, traces, timeout)
            except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError):
                raise
            except aiohttp.ClientError as error:
                # Its own text may hold the proxy's password.
                reason = f"through the proxy: {error.__cause__ or type(error).__name__}"
                broken = ConnectionAbortedError(errno.ECONNABORTED, reason)
                raise aiohttp.ClientConnectorError(req.connection_key, broken) from error
            if not _is_closed(connection):
                return connection
            connection.close()
        closed = ConnectionResetError(errno.ECONNRESET, "closed before the request was sent")
        raise aiohttp.ClientConnectorError(req.connection_key, closed)


class PacedConnector(Connector):
    """A pool whose connections are handed out when the request may leave: see `departing`.

    While connections are made, any number of requests becomes ready, and all of them may be ready
    at once. So they wait here, with a connection in hand.
    """

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> Connection:
        """Return a connection on which the request is to be written at once.

        Raises ClientConnectorError as `Connector.connect` does.
        """
        depart = _depart.get()
        while True:
            connection = await super().connect(req, traces, timeout)
            if depart is None:
                return connection
            try:
                await depart()
            except BaseException:
                connection.release()
                raise
            if not _is_closed(connection):  # while the request waited
                return connection
            connection.close()


def _is_closed(connection: Connection) -> bool:
    transport = connection.transport
    if transport is None:
        return True
    socket = transport.get_extra_info("socket")
    poll = select.poll()
    poll.register(socket.fileno(), _CLOSED)
    return bool(poll.poll(0))
