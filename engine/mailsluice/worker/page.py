"""The worker's HTTP interface: probes, status, metrics, a page to leave open, and its buttons."""

from __future__ import annotations

import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from ipaddress import ip_address
from urllib.parse import urlsplit

import anyio
import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mailsluice.config import HttpSettings
from mailsluice.errors import ConfigurationError
from mailsluice.worker.metrics import Metrics
from mailsluice.worker.totals import Totals
from mailsluice.worker.watch import Watch
from mailsluice.worker.worker import Worker

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two updates of the page."""

PROBES = {"/livez", "/readyz"}
"""Open to all: they say nothing."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """Serves one worker."""

    def __init__(self, worker: Worker, totals: Totals, settings: HttpSettings) -> None:
        self._worker = worker
        self._settings = settings
        self._watch = Watch(worker, totals)
        self._looked = anyio.Event()
        self._over = False
        self._registry = CollectorRegistry()
        self._registry.register(Metrics(worker, totals))
        self._page = (resources.files(__package__) / "page.html").read_bytes()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Serve as long as the context lasts; its URL.

        Raises ConfigurationError if it cannot serve there.
        """
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/livez", self._live),
                web.get("/readyz", self._ready),
                web.get("/status", self._status),
                web.get("/events", self._events),
                web.get("/metrics", self._metrics),
                web.post("/{action:pause|resume}", self._act),
                web.post("/mailings/{name:[^/]+}/{action:pause|resume|cancel}", self._act),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._settings.host, self._settings.port)
            try:
                await site.start()
            except OSError as error:
                raise ConfigurationError(
                    f"[http] port: {self._settings.port} cannot be used: {error.strerror or error}"
                ) from error
            port = runner.addresses[0][1]
            url = self._settings.model_copy(update={"port": port}).url
            logger.info("serving %s", url)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._look)
                yield url
                tasks.cancel_scope.cancel()
        finally:
            self._over = True
            self._looked.set()
            await runner.cleanup()

    async def _look(self) -> None:
        while True:
            self._watch.look()
            looked, self._looked = self._looked, anyio.Event()
            looked.set()
            await anyio.sleep(LOOK_S)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = self._settings.token
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="another site's page may not do that\n")
        if token is None and not _is_loopback(request.host):
            # A name of somebody else's that leads here: his page would be of the same origin.
            raise web.HTTPForbidden(text="ask for 127.0.0.1 or localhost\n")
        if token is not None and request.path not in PROBES:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                given = request.query.get("token", "")  # a page cannot set headers
            if not hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode()):
                raise web.HTTPUnauthorized(text="a token is needed\n")
        return await handler(request)

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
        await response.prepare(request)
        while not self._over:
            looked = self._looked
            await response.write(b"data: " + orjson.dumps(self._watch.status()) + b"\n\n")
            await looked.wait()
        return response

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


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
