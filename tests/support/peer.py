"""A peer that misbehaves on the wire: a server of threads and plain sockets, one script a request.

It is not the emulator: what it does lies below HTTP, and nothing here is shared with the engine.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

RECEIVED_BYTES = 64 * 1024

Script = Callable[["Exchange"], None]
"""What is done with one connection or request."""


class Exchange:
    """One request, as far as the peer has read it, and the ways to answer it."""

    def __init__(self, connection: socket.socket, peer: Peer) -> None:
        self.connection = connection
        self.peer = peer
        self.head = b""
        self.body = b""

    def read_head(self) -> bool:
        """Read up to the end of the head; False where the connection ends."""
        while b"\r\n\r\n" not in self.head:
            received = self.connection.recv(RECEIVED_BYTES)
            if not received:
                return False
            self.head += received
        self.head, _, self.body = self.head.partition(b"\r\n\r\n")
        return True

    def read_body(self) -> None:
        """Read the rest, and count the request as seen."""
        found = re.search(rb"content-length: *(\d+)", self.head, re.IGNORECASE)
        length = int(found[1]) if found else 0
        while len(self.body) < length:
            self.body += self.connection.recv(RECEIVED_BYTES)
        self.peer.saw()

    def answer(self, status: int, body: bytes, code: str | None = None, sent: int = -1) -> None:
        """Write an answer; only its first `sent` bytes where that is not negative."""
        error = f"x-amzn-ErrorType: {code}\r\n" if code else ""
        head = (
            f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n{error}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        whole = head.encode() + body
        self.connection.sendall(whole if sent < 0 else whole[:sent])

    def close(self) -> None:
        """End the connection in order (FIN)."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End the connection by a reset (RST)."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def hang(self) -> None:
        """Never answer."""
        self.peer.stopped.wait()


class Peer:
    """Listens on loopback and does as its script says, for each request of each connection."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.seen = 0
        """Requests received to their last byte."""
        self.stopped = threading.Event()
        self._tls = tls
        self._came = threading.Condition()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def saw(self) -> None:
        """Count one request."""
        with self._came:
            self.seen += 1
            self._came.notify_all()

    def wait_for(self, seen: int, timeout_s: float) -> bool:
        """Wait until so many requests have been seen."""
        with self._came:
            return self._came.wait_for(lambda: self.seen >= seen, timeout_s)

    def close_connections(self) -> None:
        """Close what is open; when this returns, loopback has delivered it."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def stop(self) -> None:
        """Listen no more, and end everything."""
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._connections.add(connection)
            while not self.stopped.is_set():
                exchange = Exchange(connection, self)
                self.script(exchange)
                if connection.fileno() < 0 or not (exchange.head or exchange.body):
                    return


@contextmanager
def listening(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """A peer for the length of a block."""
    peer = Peer(script, tls)
    try:
        yield peer
    finally:
        peer.stop()


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
