"""HTTP on aiohttp's low-level server, and the ways to break a connection.

Faults are made here, on the transport below HTTP: a reset, an end in the middle of a body, an
answer that never comes (docs/adr/0025).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from mailsluice.emulator.exchange import Answer, Request
from mailsluice.emulator.service import Ending, Reply

HEAD_LINE_BYTES_MAX = 64 * 1024
"""A longer request line or header is refused with 400."""

BODY_BYTES_MAX = 64 * 1024 * 1024
"""A longer body is refused with 413: a 40 MB message (SES quotas) in base64, and its entries."""


class Handler(Protocol):
    """Answers the requests of all connections."""

    def handle(self, request: Request) -> Reply:
        """Answer one request."""

    def request_id(self) -> str:
        """Return a new `x-amzn-RequestId`."""


class HttpServer(web.Server):
    """Accepts connections, and hands their requests to a `Handler`. Make it in the event loop.

    It is a protocol factory for `loop.create_server`. A request whose client has gone is cancelled.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__(
            self._answer,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            lingering_time=0,
            max_line_size=HEAD_LINE_BYTES_MAX,
            max_field_size=HEAD_LINE_BYTES_MAX,
        )
        self._handler = handler
        self.accepted = 0
        """Connections so far."""

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count a new connection."""
        self.accepted += 1
        super().connection_made(handler, transport)

    async def abort(self) -> None:
        """Close all connections at once."""
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await self.shutdown(0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if "transfer-encoding" in headers:
            return _refused(HTTPStatus.LENGTH_REQUIRED)
        if (request.content_length or 0) > BODY_BYTES_MAX:
            return _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if headers.get("expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await request.content.read()
        reply = self._handler.handle(Request(request.method, request.raw_path, headers, body))
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        if reply.answer is None:
            return await _break(request, reply.ending)
        response = self._response(reply.answer, whole=reply.ending is not Ending.CUT)
        if reply.ending is Ending.CUT:
            await response.prepare(request)
            await response.write(reply.answer.body[: len(reply.answer.body) // 2])
            return await _break(request, Ending.CLOSE)
        if reply.ending is Ending.CLOSE:
            response.force_close()
        if reply.stream is not None:
            return await _streamed(request, response, reply.stream)
        return response

    def _response(self, answer: Answer, *, whole: bool) -> web.StreamResponse:
        headers = {
            "Content-Type": answer.content_type,
            "x-amzn-RequestId": self._handler.request_id(),
        }
        if answer.code:
            headers["x-amzn-ErrorType"] = answer.code
        if whole:
            return web.Response(status=answer.http_status, body=answer.body, headers=headers)
        response = web.StreamResponse(status=answer.http_status, headers=headers)
        response.content_length = len(answer.body)
        return response


async def _streamed(
    request: web.BaseRequest, response: web.StreamResponse, pieces: Iterator[bytes]
) -> web.StreamResponse:
    """Write one piece per turn of the loop, so that a long ledger delays no other request."""
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    await stream.prepare(request)
    for piece in pieces:
        await stream.write(piece)
        await asyncio.sleep(0)
    return stream


async def _break(request: web.BaseRequest, ending: Ending) -> web.StreamResponse:
    """End the connection, which cancels this request: nothing more is written."""
    transport = request.transport
    if transport is not None and ending is Ending.RESET:
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    elif transport is not None:
        transport.close()
    await asyncio.get_running_loop().create_future()
    raise AssertionError("the connection is closed, and its request cancelled")


def _refused(status: HTTPStatus) -> web.Response:
    response = web.Response(status=status, text=status.phrase)
    response.force_close()
    return response
