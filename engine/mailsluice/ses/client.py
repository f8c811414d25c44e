"""The aioboto3 transport: SES reached as every AWS SDK reaches it.

Credentials, region, profile and endpoint are the SDK's own resolution. The request's body was
encoded at intake; a `before-call` hook puts it in place of what the SDK would serialise, which
halves the CPU of a call (docs/adr/0004). The SDK never retries: SendBulkEmail has no idempotency
token, and botocore's default would send a batch up to five times when an answer is lost.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from aiobotocore.config import AioConfig

from mailsluice.model import Account, Answer
from mailsluice.model.codes import NO_CREDENTIALS, NOT_SENT
from mailsluice.model.errors import ConfigurationError
from mailsluice.ses import AccountUnavailableError, Depart, at_once
from mailsluice.ses.answers import account, bulk_answer
from mailsluice.ses.aws.credentials import (
    CredentialsUnavailableError,
    credentials_of,
    forget_refused,
)
from mailsluice.ses.connecting import answered, connected
from mailsluice.ses.exchange import Response, answer_limit_s, exchange

CONNECT_TIMEOUT_S = 10.0
"""Connect timeout. Nothing has been sent while it runs, so a short one causes no doubt."""

KEEPALIVE_S = 15.0
"""We close idle connections before AWS does (20 s): a request on a closed one is in doubt."""

CLOSED_ANSWER = Answer(code=NOT_SENT, error="the client is closed")

_body: contextvars.ContextVar[bytes] = contextvars.ContextVar("mailsluice_body")


class Client:
    """One SES client: `async with Client(...) as client`.

    `timeout_s` is how long SES may take from a request's first byte to the last one of its answer;
    then the batch is in doubt. Large requests have `UPLOAD_BYTES_PER_S_MIN` besides. Before that,
    credentials may take `CONNECT_TIMEOUT_S + timeout_s`, and each step of connecting
    `CONNECT_TIMEOUT_S`: then it is not sent. Raises ConfigurationError on entry where the region,
    the profile or the proxy cannot be used.
    """

    def __init__(
        self,
        *,
        region: str | None,
        profile: str | None,
        endpoint_url: str | None,
        in_flight_max: int,
        timeout_s: float,
    ) -> None:
        self._profile = profile
        self._region = region
        self._endpoint_url = endpoint_url
        self._timeout_s = timeout_s
        self._config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            # `exchange` limits the whole answer, and counts only what is spent on it.
            read_timeout=None,
            # One more than the batches: GetAccount never waits behind them.
            max_pool_connections=in_flight_max + 1,
            retries={"total_max_attempts": 1, "mode": "standard"},
            # The body is not the SDK's, so there is nothing for it to validate.
            parameter_validation=False,
            connector_args={"keepalive_timeout": KEEPALIVE_S},
        )
        self.closed = False
        """True once nothing can be sent any more."""
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        self._client = await self._stack.enter_async_context(
            connected(self._region, self._profile, self._endpoint_url, self._config)
        )
        retries = self._client.meta.config.retries
        if retries.get("total_max_attempts") != 1:
            raise ConfigurationError(f"the AWS SDK would retry by itself: {retries}")
        credentials_of(self._client).timeout_s = self._config.connect_timeout + self._timeout_s
        self._client.meta.events.register("before-call.sesv2.SendBulkEmail", _put_body)
        return self

    @property
    def sdk(self) -> Any:
        """The live aioboto3 client."""
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closed = True
        await self._stack.aclose()

    async def send_bulk_email(
        self, body: bytes, endpoint_id: str | None, depart: Depart = at_once, /
    ) -> Answer:
        """POST one request; see `ses.Transport`."""
        if self.closed:
            return CLOSED_ANSWER
        return await self.post(lambda: self.request(body, endpoint_id), depart, len(body))

    async def request(self, body: bytes, endpoint_id: str | None) -> Response:
        """Send a SendBulkEmail request through the SDK. Raises what the SDK raises."""
        _body.set(body)
        # The SDK still resolves the endpoint from its arguments.
        routing = {"EndpointId": endpoint_id} if endpoint_id else {}
        return await answered(
            self._client.send_bulk_email(DefaultContent={}, BulkEmailEntries=[], **routing)
        )

    async def post(
        self, request: Callable[[], Awaitable[Response]], depart: Depart, body_bytes: int
    ) -> Answer:
        """Send a SendBulkEmail request within its time limit."""
        limit_s = answer_limit_s(self._timeout_s, body_bytes)
        response = await exchange(request, depart, limit_s, self.secrets)
        if isinstance(response, Answer):
            return response
        answer = bulk_answer(response, self.secrets())
        forget_refused(self._client, answer.code)
        return answer

    async def get_account(self) -> Account:
        """Ask GetAccount.

        Raises AccountUnavailableError if it does not answer, ConfigurationError if there are
        no credentials that can sign.
        """
        try:
            await credentials_of(self._client).get_frozen_credentials()
        except CredentialsUnavailableError as error:
            answer = Answer(code=NO_CREDENTIALS, error=str(error))
            raise AccountUnavailableError(answer) from error
        response = await exchange(
            lambda: answered(self._client.get_account()), at_once, self._timeout_s, self.secrets
        )
        if isinstance(response, Answer):
            raise AccountUnavailableError(response)
        try:
            return account(response, self.secrets())
        except AccountUnavailableError as error:
            forget_refused(self._client, error.answer.code)
            raise

    def secrets(self) -> list[str]:
        """Return the secrets to mask in every text that is kept."""
        return credentials_of(self._client).secrets()


def _put_body(params: dict[str, Any], **_: Any) -> None:
    params["body"] = _body.get()
