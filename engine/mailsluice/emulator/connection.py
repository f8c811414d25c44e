"""One HTTP/1.1 connection: bytes to requests, replies to bytes, and the ways to break it.

The parser is our own because faults are made here, below HTTP: a reset, an end in the middle of a
body, an answer that never comes. (Speed alone would not be worth it: 22 µs a call of 16 kB, where
aiohttp's low-level server takes 40 µs, and judging the call 225 µs.) It takes what an AWS SDK or
curl sends: `Content-Length` bodies, keep-alive, `Expect: 100-continue`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from mailsluice.emulator import exchange
from mailsluice.emulator.exchange import Request
from mailsluice.emulator.service import Ending, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_BYTES_MAX = 64 * 1024
"""A longer head is refused with 431."""

BODY_BYTES_MAX = 64 * 1024 * 1024
"""A longer body is refused with 413: a 40 MB message (SES quotas) in base64, and its entries."""

BUFFER_BYTES_MAX = 2 * (HEAD_BYTES_MAX + BODY_BYTES_MAX)
"""A client that sends more without waiting for an answer is disconnected."""

_header = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*\r\n").findall
_request_line = re.compile(r"([A-Z]+) (/[!-~]*) HTTP/1\.1\r\n").match


class Server(Protocol):
    """The server that owns a connection."""

    def handle(self, request: Request) -> Reply:
        """Answer one request."""

    def opened(self, connection: Connection) -> None:
        """Register a new connection."""

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""

    def request_id(self) -> str:
        """Return a new `x-amzn-RequestId`."""


class Connection(asyncio.Protocol):
    """Takes one request after the other; the next one waits until the last is answered."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._needed = 0
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._stream: Iterator[bytes] | None = None
        self._busy = False
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP is both
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what is under way, silently, whichever side has closed the connection."""
        del exc
        self._busy = True
        self._buffer.clear()
        self._stream = None
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, and answer the requests that they complete."""
        self._buffer += data
        if len(self._buffer) > BUFFER_BYTES_MAX:
            self.abort()
        else:
            self._advance()

    def pause_writing(self) -> None:
        """Stop a stream while its reader is slow."""
        self._paused = True

    def resume_writing(self) -> None:
        """Resume the stream."""
        self._paused = False
        if self._stream is not None:
            self._write_stream()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _advance(self) -> None:
        while not self._busy and (request := self._next_request()) is not None:
            self._busy = True
            reply = self._server.handle(request)
            if reply.ending is Ending.KEEP and _is_last(request):
                reply = reply._replace(ending=Ending.CLOSE)
            if reply.delay_s:
                loop = asyncio.get_running_loop()
                self._waiting = loop.call_later(reply.delay_s, self._write_late, reply)
            else:
                self._write(reply)

    def _next_request(self) -> Request | None:
        buffer = self._buffer
        if self._head is None and not self._read_head():
            return None
        if self._head is None or len(buffer) < self._needed:
            return None
        method, target, headers = self._head
        length = int(headers.get("content-length", 0))
        body = bytes(buffer[self._needed - length : self._needed])
        del buffer[: self._needed]
        self._head = None
        return Request(method, target, headers, body)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
        if end < 0:
            if len(self._buffer) >= HEAD_BYTES_MAX:
                self._refuse(431)
            return False
        head = self._buffer[: end + 2].decode("latin-1")
        line = _request_line(head)
        if line is None:
            return self._refuse(400)
        headers = {name.lower(): value for name, value in _header(head, line.end())}
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers:
            return self._refuse(411)
        if not (length.isascii() and length.isdigit()):
            return self._refuse(400)
        if int(length) > BODY_BYTES_MAX:
            return self._refuse(413)
        self._head = line[1], line[2], headers
        self._needed = end + 4 + int(length)
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _refuse(self, http_status: int) -> bool:
        text = HTTPStatus(http_status).phrase
        self._busy = True
        self._write(Reply(exchange.Answer(http_status, text.encode()), ending=Ending.CLOSE))
        return False

    def _write_late(self, reply: Reply) -> None:
        self._waiting = None
        self._write(reply)
        self._advance()

    def _write(self, reply: Reply) -> None:
        if self._transport.is_closing():
            return
        if reply.ending is Ending.RESET:
            self._reset()
            return
        if reply.answer is not None:
            self._write_answer(reply, reply.answer)
        if reply.stream is not None:
            self._stream = reply.stream
            self._write_stream()
        elif reply.ending is Ending.KEEP:
            self._busy = False
        else:
            self._transport.close()

    def _write_answer(self, reply: Reply, answer: exchange.Answer) -> None:
        http_status, body, code, content_type = answer
        error = f"x-amzn-ErrorType: {code}\r\n" if code else ""
        size = "Transfer-Encoding: chunked" if reply.stream else f"Content-Length: {len(body)}"
        closing = "Connection: close\r\n" if reply.ending is Ending.CLOSE else ""
        head = (
            f"{_status_line(http_status)}Date: {_date(int(time.time()))}\r\n"
            f"Content-Type: {content_type}\r\n{size}\r\n{closing}{error}"
            f"x-amzn-RequestId: {self._server.request_id()}\r\n\r\n"
        )
        sent = body[: len(body) // 2] if reply.ending is Ending.CUT else body
        self._transport.write(head.encode("latin-1") + sent)

    def _write_stream(self) -> None:
        """Write one piece per turn of the loop, so that a long ledger delays no other request."""
        if self._stream is None or self._paused or self._transport.is_closing():
            return
        piece = next(self._stream, b"")
        self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if piece:
            asyncio.get_running_loop().call_soon(self._write_stream)
        else:
            self._stream = None
            self._busy = False
            self._advance()

    def _reset(self) -> None:
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _is_last(request: Request) -> bool:
    return request.headers.get("connection", "").lower() == "close"


@lru_cache(maxsize=64)
def _status_line(http_status: int) -> str:
    try:
        phrase = HTTPStatus(http_status).phrase
    except ValueError:
        phrase = "Unknown"
    return f"HTTP/1.1 {http_status} {phrase}\r\n"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
