"""The aioboto3 transport: SES reached as every AWS SDK reaches it.

Credentials, region, profile and endpoint are the SDK's own resolution. The request's body was
encoded at intake; a `before-call` hook puts it in place of what the SDK would serialise, which
halves the CPU of a call (docs/adr/0004). The SDK never retries: SendBulkEmail has no idempotency
token, and botocore's default would send a batch up to five times when an answer is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiobotocore.config import AioConfig
from botocore import exceptions as botocore_errors

from mailsluice import aws
from mailsluice.aws.connection import departing
from mailsluice.aws.credentials import CredentialsUnavailableError, credentials_of, forget_refused
from mailsluice.aws.proxy import require_usable_proxy
from mailsluice.errors import ConfigurationError
from mailsluice.model import Account, Answer, EntryResult
from mailsluice.ses import AccountUnavailableError, Depart, at_once
from mailsluice.statuses import BROKEN_ANSWER, NO_ANSWER, NO_CREDENTIALS, NOT_SENT

CONNECT_TIMEOUT_S = 10.0
"""Nothing has been sent while this runs, so a short one costs no doubt."""

KEEPALIVE_S = 15.0
"""Idle connections are closed by us before AWS closes them (20 s), which would be a doubt."""

ERROR_CHARS_MAX = 500
"""Characters of SES's or the SDK's text that are kept."""

REGION_OF_OWN_ENDPOINTS = "us-east-1"
"""Signed for where only an endpoint is configured, as for an emulator."""

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_SESV2", "AWS_ENDPOINT_URL")

CLOSED_ANSWER = Answer(code=NOT_SENT, error="the client is closed")

_NO_REGION = (
    "no AWS region is configured: set AWS_REGION, or `region` in the [ses] table, "
    "or a default region in the AWS profile"
)

_NEVER_LEFT = (
    botocore_errors.ConnectTimeoutError,
    botocore_errors.SSLError,
    botocore_errors.ProxyConnectionError,
    # As aiohttp raises them where no redirect is followed.
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
)

_new = tuple.__new__

_body: contextvars.ContextVar[bytes] = contextvars.ContextVar("mailsluice_body")


class Client:
    """One SES client: `async with Client(...) as client`.

    `timeout_s` is how long SES may be silent before the batch is in doubt. Raises
    ConfigurationError on entry where the region or the profile cannot be resolved.
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
        # Every AWS SDK reads AWS_REGION but botocore, which knows AWS_DEFAULT_REGION only.
        self._region = region or os.environ.get("AWS_REGION")
        self._endpoint_url = endpoint_url
        self._account_timeout_s = CONNECT_TIMEOUT_S + timeout_s
        """Of GetAccount as a whole, credentials included."""
        self._timeout_s = timeout_s
        self._config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=timeout_s,
            # One more than the batches: GetAccount never waits behind them.
            max_pool_connections=in_flight_max + 1,
            retries={"total_max_attempts": 1, "mode": "standard"},
            # The body is not the SDK's, so there is nothing for it to validate.
            parameter_validation=False,
            connector_args={"keepalive_timeout": KEEPALIVE_S},
        )
        self.closed = False
        """Whether nothing can be sent any more."""
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        try:
            self._client = await self._connect(self._region)
        except botocore_errors.NoRegionError as error:
            if not self._has_own_endpoint():
                raise ConfigurationError(_NO_REGION) from error
            self._client = await self._connect(REGION_OF_OWN_ENDPOINTS)
        except ConfigurationError:
            raise
        except Exception as error:
            # A profile's `credential_process` is run now, and may raise anything.
            raise ConfigurationError(
                f"the AWS SDK cannot be set up: {_text(error)}; look at the AWS profile, its "
                "`credential_process` if it has one, and the AWS_* variables"
            ) from error
        retries = self._client.meta.config.retries
        if retries.get("total_max_attempts") != 1:
            raise ConfigurationError(f"the AWS SDK would retry by itself: {retries}")
        require_usable_proxy(self._client)
        credentials_of(self._client).timeout_s = self._config.connect_timeout + self._timeout_s
        events = self._client.meta.events
        events.register("before-call.sesv2.SendBulkEmail", _put_body)
        events.register("after-call.sesv2.GetAccount", _keep_pricing)
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

    async def _connect(self, region: str | None) -> Any:
        session = aws.session(self._profile, region)
        client = session.client("sesv2", endpoint_url=self._endpoint_url, config=self._config)
        return await self._stack.enter_async_context(client)

    def _has_own_endpoint(self) -> bool:
        return bool(self._endpoint_url or any(os.environ.get(name) for name in _ENDPOINT_VARIABLES))

    async def send_bulk_email(
        self, body: bytes, endpoint_id: str | None, depart: Depart = at_once, /
    ) -> Answer:
        """POST one request; see `ses.Transport`."""
        if self.closed:
            return CLOSED_ANSWER
        _body.set(body)
        # The SDK still resolves the endpoint from its arguments.
        routing = {"EndpointId": endpoint_id} if endpoint_id else {}
        try:
            with departing(depart):
                response = await self._client.send_bulk_email(
                    DefaultContent={}, BulkEmailEntries=[], **routing
                )
            return Answer(results=entry_results(response["BulkEmailEntryResults"]))
        except Exception as error:  # noqa: BLE001  # the parser meets whatever a peer may send
            return self.answer_of(error)

    def answer_of(self, error: Exception) -> Answer:
        """What the SDK has raised, as an answer. Credentials that SES refuses are forgotten."""
        answer = answer_of(error)
        forget_refused(self._client, answer.code)
        return answer

    async def get_account(self) -> Account:
        """Ask GetAccount.

        Raises AccountUnavailableError where it does not answer, ConfigurationError where there are
        no credentials that can sign.
        """
        try:
            async with asyncio.timeout(self._account_timeout_s):
                return _account(await self._client.get_account())
        except ConfigurationError:
            raise
        except TimeoutError as error:
            late = f"no whole answer within {self._account_timeout_s:g} s"
            raise AccountUnavailableError(Answer(code=NO_ANSWER, error=late)) from error
        except Exception as error:
            raise AccountUnavailableError(self.answer_of(error)) from error


def _put_body(params: dict[str, Any], **_: Any) -> None:
    params["body"] = _body.get()


async def _keep_pricing(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    """Hand on PricingAttributes, which the service model of botocore 1.40 does not know yet."""
    with contextlib.suppress(ValueError):  # no JSON: the rest says so
        body = orjson.loads(await http_response.content)
        if isinstance(body, dict):
            parsed.setdefault("PricingAttributes", body.get("PricingAttributes"))


def entry_results(results: Iterable[dict[str, Any]]) -> tuple[EntryResult, ...]:
    """An answer's `BulkEmailEntryResults`."""
    return tuple(
        [
            # A call of a NamedTuple takes three times as long, and nearly all have no error.
            _new(EntryResult, (result.get("Status") or "", result.get("MessageId"), None))
            if "Error" not in result
            else _refused_result(result)
            for result in results
        ]
    )


def _refused_result(result: dict[str, Any]) -> EntryResult:
    error = result["Error"]
    return EntryResult(
        result.get("Status") or "", result.get("MessageId"), error and error[:ERROR_CHARS_MAX]
    )


def _account(response: dict[str, Any]) -> Account:
    quota = response["SendQuota"]
    return Account(
        rate_per_s=_finite(quota["MaxSendRate"]),
        daily_max=_finite(quota.get("Max24HourSend", -1)),
        daily_sent=_finite(quota.get("SentLast24Hours", 0)),
        sending_enabled=bool(response.get("SendingEnabled", True)),
        enforcement=str(response.get("EnforcementStatus", "HEALTHY")),
        production=bool(response.get("ProductionAccessEnabled", True)),
        pricing_plan=_pricing_plan(response.get("PricingAttributes")),
    )


def _pricing_plan(pricing: Any) -> str | None:
    plan = pricing.get("CurrentPlan") if isinstance(pricing, dict) else None
    return plan if isinstance(plan, str) else None


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a quota is not a number")
    return number


def answer_of(error: Exception) -> Answer:
    """The one border at which what the SDK raises becomes an answer."""
    if isinstance(error, CredentialsUnavailableError | ConfigurationError):
        return Answer(code=NO_CREDENTIALS, error=str(error))
    if isinstance(error, botocore_errors.ClientError):
        return refusal_of(error.response)
    if isinstance(error, botocore_errors.BotoCoreError | aiohttp.ClientError | OSError):
        return Answer(code=_wire_code(error), error=_text(error))
    # botocore hands on a 200 whose body is not JSON as an empty dictionary: a KeyError here.
    return Answer(code=BROKEN_ANSWER, error=f"the answer cannot be read: {_text(error)}")


def refusal_of(response: Mapping[str, Any]) -> Answer:
    """What SES answered with an HTTP status of 300 or more, as the SDK has parsed it."""
    details = response.get("Error", {})
    about = response.get("ResponseMetadata", {})
    error = str(details.get("Message", ""))
    if place := about.get("HTTPHeaders", {}).get("location"):
        error = f"a redirect to {place}, which is not followed"
    return Answer(
        code=str(details.get("Code", "")) or "Unknown",
        http_status=about.get("HTTPStatusCode"),
        error=error[:ERROR_CHARS_MAX],
    )


def _wire_code(error: BaseException) -> str:
    """Whether anything can have reached SES.

    EndpointConnectionError alone proves nothing: aiobotocore raises it for a reset after the
    request as well. Only a cause from before the connection stood does.
    """
    if isinstance(error, botocore_errors.MissingDependencyException):
        return NO_CREDENTIALS
    if isinstance(error, _NEVER_LEFT):
        return NOT_SENT
    cause = getattr(error, "kwargs", {}).get("error")
    if isinstance(cause, aiohttp.ClientConnectorError) and _is_of_endpoint(cause, error):
        return NOT_SENT
    return NO_ANSWER


def _is_of_endpoint(cause: aiohttp.ClientConnectorError, error: Any) -> bool:
    """Whether it was the endpoint that could not be reached, and not where a redirect led."""
    endpoint = urlsplit(str(error.kwargs.get("endpoint_url", "")))
    return endpoint.hostname == cause.host


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX]
