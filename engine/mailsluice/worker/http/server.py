"""The worker's HTTP interface: probes, status, metrics, a page to leave open, and its buttons."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import anyio
import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mailsluice.checking.preview import NO_REMOTE_CONTENT
from mailsluice.config.worker import HttpSettings
from mailsluice.model.errors import ConfigurationError, SourceError
from mailsluice.worker.counters import Counters
from mailsluice.worker.http.connections import Connections
from mailsluice.worker.http.metrics import Metrics
from mailsluice.worker.http.status import Watch
from mailsluice.worker.http.unsubscribing import PLACE, Unsubscribing
from mailsluice.worker.queue.messages import BodyError
from mailsluice.worker.worker import Worker

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Interval between two updates of the page, seconds."""

ANSWER_S = 10.0
"""Time in which a client must take an answer or an event, seconds; a slower one is disconnected."""

BODY_BYTES_MAX = 64 * 1024
"""Longest request body: none is needed, and none is read."""

LINGER_S = 2.0
"""Time for discarding the rest of a request, so that the client sees the answer, seconds."""

PROBES = {"/livez", "/readyz"}
"""Paths served without a token."""

BACKLOG = 128
"""Connections waiting in the kernel."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """Serves the page of one worker."""

    def __init__(
        self,
        worker: Worker,
        counters: Counters,
        settings: HttpSettings,
        unsubscribing: Unsubscribing | None = None,
    ) -> None:
        self._worker = worker
        self._unsubscribing = unsubscribing
        self._settings = settings
        self._watch = Watch(worker, counters)
        self._connections: Connections
        self._streams = 0
        """Number of clients of `/events`."""
        self._looked = anyio.Event()
        self._over = False
        self._registry = CollectorRegistry()
        self._registry.register(Metrics(worker, counters))
        self._page = (resources.files(__package__) / "page.html").read_bytes()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Serve as long as the context lasts. Yields the URL.

        Raises ConfigurationError if it cannot serve there.
        """
        app = web.Application(middlewares=[self._answer])
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/livez", self._live),
                web.get("/readyz", self._ready),
                web.get("/status", self._status),
                web.get("/events", self._events),
                web.get("/metrics", self._metrics),
                web.get("/mailings/{name:[^/]+}/preview", self._preview),
                web.post("/{action:pause|resume}", self._act),
                web.post("/mailings/{name:[^/]+}/{action:pause|resume|cancel}", self._act),
            ]
        )
        if self._unsubscribing is not None:
            app.add_routes(self._unsubscribing.routes)
        runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=1.0,
            lingering_time=LINGER_S,
            logger=_Http(logger.name),
        )
        await runner.setup()
        assert runner.server is not None
        self._connections = Connections(runner.server)
        try:
            with self._listening() as listener:
                port = listener.getsockname()[1]
                url = self._settings.model_copy(update={"port": port}).url
                logger.info("serving %s", url)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._connections.serve, listener)
                    tasks.start_soon(self._look)
                    yield url
                    tasks.cancel_scope.cancel()
        finally:
            self._over = True
            self._looked.set()
            await runner.cleanup()

    def _listening(self) -> socket.socket:
        host = self._settings.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        port = self._settings.port
        try:
            made = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigurationError(f"[http] port: {port} cannot be used: {reason}") from error
        made.settimeout(0)
        return made

    async def _look(self) -> None:
        while True:
            self._watch.look()
            looked, self._looked = self._looked, anyio.Event()
            looked.set()
            await anyio.sleep(LOOK_S)

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write the whole answer within its time limit, or disconnect the client."""
        with self._connections.answering(request.transport):
            try:
                _require_short(request)
                if self._unsubscribing is None or not request.path.startswith(PLACE):
                    self._guard(request)
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=error.text, headers=error.headers)
            try:
                async with asyncio.timeout(ANSWER_S):
                    await response.prepare(request)
                    await response.write_eof()
            except ConnectionError:
                pass  # nobody waits for it any more
            except TimeoutError:
                _cut_off(request)
            return response

    def _guard(self, request: web.Request) -> None:
        """Raise HTTPException unless the client may make this request."""
        hosts, origin = request.headers.getall("Host", []), request.headers.get("Origin")
        host = hosts[0] if hosts else ""
        if len(hosts) > 1 or _name_in(f"//{host}") is None or _name_in(origin or "") is None:
            raise web.HTTPBadRequest(text="Host or Origin cannot be read\n")
        foreign = origin is not None and urlsplit(origin).netloc != host
        if foreign or _is_of_another_site(request):
            raise web.HTTPForbidden(text="another site's page may not do that\n")
        token = self._settings.token
        if token is None and not _is_loopback(host):
            # A name of somebody else's that leads here: his page would be of the same origin.
            raise web.HTTPForbidden(text="ask for 127.0.0.1 or localhost\n")
        if token is not None and request.path not in PROBES:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                given = request.query.get("token", "")  # a page cannot set headers
            if not hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode()):
                raise web.HTTPUnauthorized(text="a token is needed\n")

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._page,
            content_type="text/html",
            charset="utf-8",
            headers={
                "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src data:; "
                "frame-ancestors 'none'"
            },
        )

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self._worker.ready:
            return web.Response(text="ok\n")
        raise web.HTTPServiceUnavailable(text="it takes in nothing\n")

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self._watch.status())

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if request.method == "HEAD":
            return response
        if self._streams >= self._connections.most // 2:  # the others are for probes and operators
            raise web.HTTPServiceUnavailable(text="too many pages are open\n")
        self._streams += 1
        try:
            await self._stream(request, response)
        except ConnectionError:
            pass  # the page has been closed
        except TimeoutError:
            _cut_off(request)
        finally:
            self._streams -= 1
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        while not self._over:
            looked = self._looked
            async with asyncio.timeout(ANSWER_S):
                await response.write(b"data: " + orjson.dumps(self._watch.status()) + b"\n\n")
            await looked.wait()

    async def _preview(self, request: web.Request) -> web.Response:
        """Show a row's mail. Nothing in it runs, or is loaded from elsewhere."""
        name, row = request.match_info["name"], request.query.get("row", "1")
        if not re.fullmatch("[0-9]{1,6}", row) or not int(row):
            raise web.HTTPBadRequest(text="row must be a number from 1 to 999999\n")
        try:
            found = await self._worker.mailings.preview(name, int(row))
        except KeyError:
            raise web.HTTPNotFound(text=f"{name}: there is no such mailing here\n") from None
        except (ConfigurationError, SourceError, BodyError) as error:
            raise web.HTTPConflict(text=f"{name}: {error}\n") from None
        return web.Response(
            text=found.page(),
            content_type="text/html",
            headers={
                "Content-Security-Policy": f"sandbox; {NO_REMOTE_CONTENT}; frame-ancestors 'none'",
                "Cache-Control": "no-store",
            },
        )

    async def _act(self, request: web.Request) -> web.Response:
        name, action = request.match_info.get("name"), request.match_info["action"]
        mailings, what = self._worker.mailings, name or "the worker"
        try:
            if name is None:
                await self._worker.pause(paused=action == "pause")
            else:
                await getattr(mailings, action)(name)
        except KeyError:
            raise web.HTTPNotFound(text=f"{what}: there is no such mailing here\n") from None
        except LookupError:
            with_all = ": all are paused, and are resumed together" if self._worker.paused else ""
            text = f"{what}: there is nothing to {action}{with_all if name else ''}\n"
            raise web.HTTPConflict(text=text) from None
        except OSError as error:
            text = f"{what}: it cannot be recorded: {error.strerror}\n"
            raise web.HTTPServiceUnavailable(text=text) from None
        return web.json_response(self._watch.status())


class _Http(logging.LoggerAdapter[logging.Logger]):
    """The HTTP library's logger. Clients' mistakes are answered, not logged."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name))

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        theirs = HttpProcessingError | web.RequestPayloadError | ConnectionError
        if not isinstance(options.get("exc_info"), theirs):
            super().log(level, msg, *args, **options)


def _require_short(request: web.Request) -> None:
    """Raise HTTPException for a long body."""
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise web.HTTPRequestEntityTooLarge(BODY_BYTES_MAX, request.content_length or 0)


def _cut_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _name_in(url: str) -> str | None:
    """Return the host in a header, perhaps empty; None if it is malformed."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return None


def _is_of_another_site(request: web.Request) -> bool:
    """Return True if a browser marks the request as another site's; links may lead here."""
    said = {name: request.headers.get(f"Sec-Fetch-{name}", "") for name in ("Site", "Mode", "Dest")}
    followed = (request.method, request.path) == ("GET", "/") and (said["Mode"], said["Dest"]) == (
        "navigate",
        "document",
    )
    return said["Site"] == "cross-site" and not followed


def _is_loopback(host: str) -> bool:
    name = _name_in(f"//{host}")
    try:
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False
