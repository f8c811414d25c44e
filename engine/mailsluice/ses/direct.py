"""The direct transport: SendBulkEmail without the SDK's way from arguments to bytes and back.

The endpoint, the connection and the signature all come from the live SDK client:
endpoint rules, credentials and their refresh, SigV4, proxies, TLS, the pool of connections. What is
left out is what costs most of a call's CPU and does nothing here: serialising, validating and
parsing by the service model, and a dozen hooks. A test holds the request equal to the SDK's, byte
by byte (docs/adr/0013).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, Self

from botocore.awsrequest import AWSRequest
from yarl import URL

from mailsluice.model import Account, Answer
from mailsluice.ses import Depart, at_once
from mailsluice.ses.aws.credentials import credentials_of
from mailsluice.ses.aws.http import Http
from mailsluice.ses.aws.private import http_of, prepared, sign
from mailsluice.ses.client import CLOSED_ANSWER, Client
from mailsluice.ses.exchange import Response
from mailsluice.ses.signature import Signer

logger = logging.getLogger(__name__)

OPERATION = "SendBulkEmail"


class Direct:
    """SendBulkEmail over a live `Client`, whose connections and credentials it uses.

    `await Direct.over(client)`; it lives as long as the client does. What it cannot sign (sigv4a,
    which an `endpoint_id` needs) goes through the client.
    """

    def __init__(
        self,
        client: Client,
        request: dict[str, Any],
        http: Http,
        by: dict[str, Any],
        wall: Callable[[], float],
    ) -> None:
        self._client = client
        self._request = request
        self._http = http
        self._wall = wall
        self._url = URL(request["url"], encoded=True)
        self._by = by
        self._credentials: Any = None
        """The credentials of `_signer`."""
        self._signer: Signer | None = None
        self._told = False

    @classmethod
    async def over(cls, client: Client, wall: Callable[[], float] = time.time) -> Self:
        """Let the SDK prepare one request; all others differ from it only in the body.

        `wall` gives seconds since the epoch, for the signature.
        """
        nothing: dict[str, Any] = {"DefaultContent": {}, "BulkEmailEntries": []}
        request = await prepared(client.sdk, OPERATION, nothing)
        http = http_of(client.sdk)
        proxy = http.proxies.proxy_url_for(request["url"])
        by = {"proxy": proxy, "proxy_headers": http.proxies.proxy_headers_for(request["url"])}
        return cls(client, request, await http.http_through(proxy), by, wall)

    async def send_bulk_email(
        self, body: bytes, endpoint_id: str | None, depart: Depart = at_once, /
    ) -> Answer:
        """POST one request; see `ses.Transport`."""
        if self._client.closed:
            return CLOSED_ANSWER

        async def request() -> Response:
            headers = None if endpoint_id else await self._signed(body)
            if headers is None:
                return await self._through_the_sdk(body, endpoint_id)
            post = self._http.request("POST", self._url, data=body, headers=headers, **self._by)
            async with post as response:
                return Response(response.status, response.headers, await response.read())

        return await self._client.post(request, depart, len(body))

    async def get_account(self) -> Account:
        """Call GetAccount through the SDK: it is called too seldom to be worth another way."""
        return await self._client.get_account()

    async def _signed(self, body: bytes) -> dict[str, str] | None:
        """Return a request's headers, as the SDK would set them; None if only it can sign."""
        credentials = await credentials_of(self._client.sdk).get_frozen_credentials()
        if credentials != self._credentials:
            self._signer = await self._learnt(body, credentials.secret_key)
            self._credentials = credentials
        if self._signer is None:
            return None
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._wall()))
        headers = self._signer.sign(body, date)
        # They are no part of the signature.
        headers["amz-sdk-invocation-id"] = str(uuid.uuid4())
        headers["amz-sdk-request"] = "attempt=1"
        headers["Accept-Encoding"] = "identity"
        return headers

    async def _learnt(self, body: bytes, secret: str) -> Signer | None:
        """Let the SDK sign one request with these credentials; return a signer like it."""
        request = AWSRequest("POST", self._request["url"], self._request["headers"], data=body)
        request.context.update(self._request["context"])
        await sign(self._client.sdk, OPERATION, request)
        signed = request.prepare()
        headers = {name: _text(value) for name, value in signed.headers.items()}
        del headers["Content-Length"]
        return Signer.like(signed.url, headers, body, secret)

    async def _through_the_sdk(self, body: bytes, endpoint_id: str | None) -> Response:
        if not self._told:
            logger.info(
                "only the SDK can sign these calls (endpoint_id: sigv4a): they go through it"
            )
            self._told = True
        return await self._client.request(body, endpoint_id)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
