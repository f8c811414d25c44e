"""One-click links (RFC 8058): only POST unsubscribes; GET shows a page with a button.

Scanners of mail open every link by GET. Every answer is the same, whether a token is valid or not,
so that nobody learns anything by trying; no token of the operators' page is asked for, and nothing
is redirected. A link is answered without its mailing's journal, and without the address.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import anyio
from aiohttp import web
from aiolimiter import AsyncLimiter
from anyio import to_thread

from mailsluice.config.settings import SuppressionSettings
from mailsluice.model.errors import StoreError
from mailsluice.suppression import links
from mailsluice.suppression.store import Suppressions

logger = logging.getLogger(__name__)

PLACE = "/u/"
"""What the paths of links begin with."""

REQUESTS_PER_S = 100
"""Requests per second, of all clients; beyond them the answer is 429, and mail programs repeat."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}

_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Unsubscribe</title>
<meta name="viewport" content="width=device-width">
<p>Do you want to receive no more of these mails?</p>
<form method="post"><button name="List-Unsubscribe" value="One-Click">Unsubscribe</button></form>
</html>
"""

_DONE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Unsubscribed</title>
<p>You are unsubscribed: you will receive no more of these mails.</p></html>
"""


class Unsubscribing:
    """Answers links. Open with `unsubscribing`."""

    def __init__(self, store: Suppressions) -> None:
        self._store = store
        self._key = store.keys.links
        self._writing = anyio.Lock()
        self._limiter = AsyncLimiter(REQUESTS_PER_S, 1)

    @property
    def routes(self) -> list[web.RouteDef]:
        """Return the routes of an application."""
        path = f"{PLACE}{{token:[A-Za-z0-9]{{1,{links.TOKEN_CHARACTERS_MAX}}}}}"
        return [web.get(path, self._ask), web.post(path, self._unsubscribe)]

    async def _ask(self, _: web.Request) -> web.Response:
        await self._admit()
        return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS)

    async def _unsubscribe(self, request: web.Request) -> web.Response:
        await self._admit()
        asked = links.read(self._key, request.match_info["token"])
        if asked is not None:
            try:
                async with self._writing:
                    await to_thread.run_sync(
                        self._store.add_hash, asked.hash, asked.scope, time.time(), asked.source
                    )
            except StoreError as error:
                logger.warning("nobody can unsubscribe at present: %s", error)
                raise web.HTTPServiceUnavailable(text="try again later\n") from None
        return web.Response(text=_DONE, content_type="text/html", headers=_HEADERS)

    async def _admit(self) -> None:
        """Raise HTTPException if there are too many requests."""
        if not self._limiter.has_capacity():
            raise web.HTTPTooManyRequests(text="try again later\n", headers={"Retry-After": "2"})
        await self._limiter.acquire()


@contextmanager
def unsubscribing(settings: SuppressionSettings | None) -> Iterator[Unsubscribing | None]:
    """Open the store in which links are recorded; None: nothing. Raises StoreError."""
    if settings is None:
        yield None
        return
    with closing(Suppressions.open(settings.path, settings.keep)) as store:
        yield Unsubscribing(store)
