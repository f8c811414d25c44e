"""The connections to the worker's HTTP interface: so many at most, and none idle for long.

Each takes a descriptor, and those are what calls, journals and lists need as well. So no more than
a part of them is given away, whatever the number of clients: the longest idle connection makes
room for a new one, and where none is idle the rest wait in the kernel.
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
"""Connections at once, and no more than a quarter of the process's descriptors."""

REQUEST_S = 10.0
"""Within which a request must be there, line and headers, however it trickles in."""

ACCEPT_AGAIN_S = 1.0
"""After a failure, such as no descriptor being left; asked at once it would fail at once."""


def most_of(descriptors: int) -> int:
    """How many connections a process may have that may have as many descriptors; -1: any number."""
    return MOST if descriptors < 0 else max(2, min(MOST, descriptors // 4))


class Connections:
    """Accepts for `handler`, which makes a protocol of the HTTP library for each connection."""

    def __init__(self, handler: Callable[[], asyncio.Protocol], most: int | None = None) -> None:
        self.most = most or most_of(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._handler = handler
        self._open: dict[asyncio.BaseTransport, _Connection] = {}
        """The longest idle first."""
        self._room = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled."""
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
        """While the context lasts a request of that connection is answered: it is not idle."""
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
        """One more of the HTTP library's."""
        return self._handler()

    def idle(self, connection: _Connection) -> None:
        """It waits for a request from now on, for `REQUEST_S`."""
        self._open.pop(connection.transport, None)
        self._open[connection.transport] = connection
        connection.wait(REQUEST_S)
        self._room.set()

    def closed(self, connection: _Connection) -> None:
        """It is no more."""
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
    """Hands everything on to the HTTP library's protocol, and watches the time."""

    transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._protocol = connections.protocol()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._timer is not None

    def wait(self, within_s: float) -> None:
        """Close it unless `work` is called in time."""
        self.work()
        self._timer = asyncio.get_running_loop().call_later(within_s, self.abort)

    def work(self) -> None:
        """A request is being answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Close it at once, whatever is still to be written."""
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
