"""HTTP to AWS: only the intended server answers, and every answer ends.

aiobotocore's session leaves three things open. Its TLS context does not check the host name:
botocore leaves that to urllib3, and aiohttp leaves it to the context, so any certificate of any
trusted CA passes; through a proxy it checks no certificate at all. It follows redirects, with the
session token and the body, to whatever host the answer names. And it reads an answer for as long
and as far as the peer writes one. Our clients, and those that the SDK makes to obtain credentials,
go through the session below instead (docs/adr/0017).
"""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import aiohttp
from botocore.exceptions import HTTPClientError
from botocore.httpsession import (
    MAX_POOL_CONNECTIONS,
    create_urllib3_context,
    get_cert_path,
)

from mailsluice.model.errors import ConfigurationError
from mailsluice.ses.aws.connection import Connector
from mailsluice.ses.aws.private import HttpBase, body_of, set_body

ANSWER_BYTES_MAX = 1024 * 1024
"""Bytes of one answer. SES answers 50 recipients with 8 kB; credentials are 2 kB."""

CONNECT_PHASES = 4
"""Phases that may each take the connect timeout: DNS, TCP, the proxy's CONNECT, TLS."""


class AnswerTooLongError(aiohttp.ClientError):
    """The peer sends more than any answer of AWS."""


class Response(aiohttp.ClientResponse):
    """A response whose `read` takes at most `bytes_max`; the stream `content` is not limited."""

    @property
    def bytes_max(self) -> int:
        """Longest body, bytes."""
        return ANSWER_BYTES_MAX

    async def read(self) -> bytes:
        """Read the whole body. Raises AnswerTooLongError if it is longer than `bytes_max`.

        The session decompresses nothing, so the length is that of the bytes on the wire.
        """
        if body_of(self) is None and not self._is_known_to_fit():
            set_body(self, await self._read_bounded())
        return await super().read()

    def _is_known_to_fit(self) -> bool:
        length = self.headers.get("Content-Length")
        return (
            length is not None
            and int(length) <= self.bytes_max
            and "Transfer-Encoding" not in self.headers  # which would overrule the length
        )

    async def _read_bounded(self) -> bytes:
        body = bytearray()
        try:
            while len(body) <= self.bytes_max and (block := await self.content.readany()):
                body += block
        except BaseException:
            self.close()
            raise
        if len(body) > self.bytes_max:
            self.close()
            raise AnswerTooLongError(f"the answer is longer than {self.bytes_max:,} bytes")
        return bytes(body)


class Http:
    """An aiohttp session that follows no redirect: a redirect is the answer."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def request(self, method: str, url: Any, **options: Any) -> Any:
        """Make a request as `aiohttp.ClientSession.request` does."""
        return self._session.request(method, url, allow_redirects=False, **options)


class HttpSession(HttpBase):
    """The SDK's HTTP session, mended as the module's docstring says.

    `total` says whether a whole exchange has a time limit, which is that of connecting and that of
    reading together; without it the caller sets a limit. Raises ConfigurationError on entry if the
    CA certificates cannot be read.
    """

    def __init__(  # noqa: PLR0913  # the SDK's own options, and ours
        self,
        *,
        verify: bool | str | None = True,
        timeout: float | tuple[float | None, float | None] | None = None,
        max_pool_connections: int = MAX_POOL_CONNECTIONS,
        connector_args: dict[str, Any] | None = None,
        response_class: type[Response] = Response,
        connector_class: type[Connector] = Connector,
        total: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(timeout=timeout, **options)
        # botocore checks no certificate if AWS_CA_BUNDLE is empty. Only `False` asks for that.
        self._authorities: bool | str = False if verify is False else verify or True
        self._limits = _limits(timeout, total=total)
        self._connections_max = max_pool_connections
        self._connector_options = connector_args or {}
        self._response_class = response_class
        self._connector_class = connector_class
        self._tls: ssl.SSLContext | bool = False
        self._open = AsyncExitStack()
        self._by_proxy: dict[str | None, Http] = {}

    async def __aenter__(self) -> Self:
        self._tls = _context(get_cert_path(self._authorities)) if self._authorities else False
        return self

    async def __aexit__(self, *_: object) -> None:
        self._by_proxy.clear()
        await self._open.aclose()

    async def http_through(self, proxy_url: str | None) -> Http:
        """Return the session for requests through this proxy; None: through none."""
        if proxy_url not in self._by_proxy:
            session = aiohttp.ClientSession(
                connector=self._connector_class(
                    limit=self._connections_max, ssl=self._tls, **self._connector_options
                ),
                timeout=self._limits,
                response_class=self._response_class,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers={"Content-Type"},
                auto_decompress=False,
            )
            self._by_proxy[proxy_url] = Http(await self._open.enter_async_context(session))
        return self._by_proxy[proxy_url]

    async def send(self, request: Any) -> Any:
        """Make a request as the SDK does.

        AnswerTooLongError is not translated: the SDK retries errors that it does not know.
        """
        try:
            return await super().send(request)
        except HTTPClientError as error:
            cause = error.kwargs.get("error")
            if isinstance(cause, AnswerTooLongError):
                raise cause from error
            raise


class MetadataHttp:
    """HTTP to the metadata services: each request has a session of its own."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def acquire(self) -> HttpSession:
        """Return an async context with the session, as the SDK's fetchers ask for it."""
        return HttpSession(**self._options)


def _limits(
    timeout: float | tuple[float | None, float | None] | None, *, total: bool
) -> aiohttp.ClientTimeout:
    connect, read = timeout if isinstance(timeout, list | tuple) else (timeout, timeout)
    connect_s = CONNECT_PHASES * (connect or 0)  # 0: no limit
    return aiohttp.ClientTimeout(
        total=connect_s + (read or 0) if total else None,
        # Without it, a proxy may take for ever to answer CONNECT.
        connect=connect_s,
        sock_connect=connect,
        sock_read=read,
    )


def _context(authorities: str) -> ssl.SSLContext:
    try:
        return _loaded(authorities, Path(authorities).stat().st_mtime_ns)
    except OSError as error:
        raise ConfigurationError(
            f"the CA certificates in {authorities} cannot be read: {error}; set AWS_CA_BUNDLE, or "
            "`ca_bundle` in the AWS profile, to a file of PEM certificates"
        ) from error


@lru_cache(maxsize=8)
def _loaded(authorities: str, _changed_at_ns: int) -> ssl.SSLContext:
    """Return the context for this version of a file. Sessions share it: loading takes 25 ms."""
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True
    context.load_verify_locations(authorities)
    return context
