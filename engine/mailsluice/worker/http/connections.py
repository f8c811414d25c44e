"""The connections to the worker's HTTP interface: limited in number, and none idle for long.

Each takes a descriptor, which calls, journals and lists need as well. So clients get only a part of
the descriptors: the connection that was idle longest makes room for a new one, and if none is idle,
new ones wait in the kernel.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

logger = logging.getLogger(__name__)

MOST = 64
"""Connections at once; also at most a quarter of the process's descriptors."""

REQUEST_S = 10.0
"""Time in which a request's line and headers must arrive, seconds."""

ACCEPT_AGAIN_S = 1.0
"""Pause after a failed accept (no descriptor left), seconds: a retry at once would fail."""


def most_of(descriptors: int) -> int:
    """Return how many connections are allowed with so many descriptors; -1: any number of them."""
    return MOST if descriptors < 0 else max(2, min(MOST, descriptors // 4))


class Connections:
    """Accepts connections. `handler` makes the HTTP library's protocol for each."""

    def __init__(self, handler: Callable[[], asyncio.Protocol], most: int | None = None) -> None:
        self.most = most or most_of(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._handler = handler
        self._open: dict[asyncio.BaseTransport, _Connection] = {}
        """Open connections, the longest idle first."""
        self._room = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        failed = False
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                if not failed:
                    logger.warning("no connection can be accepted: %s; trying again", error)
                failed = True
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            failed = False
            try:
                await self._make_room()
                await loop.connect_accepted_socket(lambda: _Connection(self), accepted)
            except OSError:
                accepted.close()
            except asyncio.CancelledError:
                accepted.close()
                raise

    @contextmanager
    def answering(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """Mark a connection as busy while its request is answered."""
        connection = self._open.get(transport) if transport else None
        if connection is None:  # it is closed already
            yield
            return
        connection.work()
        try:
            yield
        finally:
            if transport in self._open:
                self.idle(connection)

    def protocol(self) -> asyncio.Protocol:
        """Make a protocol for a new connection."""
        return self._handler()

    def idle(self, connection: _Connection) -> None:
        """Mark a connection as idle: it has `REQUEST_S` to send a request."""
        self._open.pop(connection.transport, None)
        self._open[connection.transport] = connection
        connection.wait(REQUEST_S)
        self._room.set()

    def closed(self, connection: _Connection) -> None:
        """Forget a closed connection."""
        self._open.pop(connection.transport, None)
        self._room.set()

    async def _make_room(self) -> None:
        while len(self._open) >= self.most:
            longest = next((each for each in self._open.values() if each.is_idle), None)
            if longest is not None:
                longest.abort()
                self.closed(longest)
            else:
                self._room.clear()
                await self._room.wait()


class _Connection(asyncio.Protocol):
    """Passes everything on to the HTTP library's protocol, and enforces the time limit."""

    transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._protocol = connections.protocol()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """True if it waits for a request."""
        return self._timer is not None

    def wait(self, within_s: float) -> None:
        """Close the connection unless `work` is called in time."""
        self.work()
        self._timer = asyncio.get_running_loop().call_later(within_s, self.abort)

    def work(self) -> None:
        """Stop the clock: a request is being answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Close the connection at once, and drop what is still to be written."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit it
        self._connections.idle(self)
        self._protocol.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.work()
        self._connections.closed(self)
        self._protocol.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
