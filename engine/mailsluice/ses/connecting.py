"""SES clients made as every AWS SDK makes them; their raw answers are kept.

Region, profile, endpoint and credentials are the SDK's own resolution. What comes back is taken
before the SDK parses it: every field is checked by us (`answers`).
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from botocore import exceptions as botocore_errors

from mailsluice.model.errors import ConfigurationError
from mailsluice.ses import aws
from mailsluice.ses.aws.proxy import require_usable_proxy
from mailsluice.ses.exchange import Response, told

REGION_OF_OWN_ENDPOINTS = "us-east-1"
"""The region to sign for if only an endpoint is configured, as for an emulator."""

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_SESV2", "AWS_ENDPOINT_URL")

_NO_REGION = (
    "no AWS region is configured: set AWS_REGION, or `region` in the [ses] table, "
    "or a default region in the AWS profile"
)

_responses: contextvars.ContextVar[list[Response]] = contextvars.ContextVar("mailsluice_responses")
"""Raw answers of the call under way, before the SDK parses them."""


@asynccontextmanager
async def connected(
    region: str | None, profile: str | None, endpoint_url: str | None, config: AioConfig
) -> AsyncIterator[Any]:
    """Open the SDK's client of SES.

    Raises ConfigurationError on entry if the region, the profile or the proxy cannot be used.
    """
    # Every AWS SDK reads AWS_REGION but botocore, which knows AWS_DEFAULT_REGION only.
    region = region or os.environ.get("AWS_REGION")

    async def client_in(region: str | None) -> Any:
        session = aws.session(profile, region)
        made = session.client("sesv2", endpoint_url=endpoint_url, config=config)
        return await stack.enter_async_context(made)

    async with AsyncExitStack() as stack:
        try:
            client = await client_in(region)
        except botocore_errors.NoRegionError as error:
            if not (endpoint_url or any(map(os.environ.get, _ENDPOINT_VARIABLES))):
                raise ConfigurationError(_NO_REGION) from error
            client = await client_in(REGION_OF_OWN_ENDPOINTS)
        except ConfigurationError:
            raise
        except Exception as error:
            # A profile's `credential_process` is run now, and may raise anything.
            why = told(f"{type(error).__name__}: {error}", ())
            raise ConfigurationError(
                f"the AWS SDK cannot be set up: {why}; look at the AWS profile, its "
                "`credential_process` if it has one, and the AWS_* variables"
            ) from error
        require_usable_proxy(client)
        client.meta.events.register("before-parse.sesv2", _take_response)
        yield client


async def answered(call: Awaitable[Any]) -> Response:
    """Return the raw answer to the last attempt of an SDK call."""
    responses: list[Response] = []
    _responses.set(responses)
    try:
        await call
    except Exception:
        if not responses:
            raise
    return responses[-1]


def _take_response(response_dict: dict[str, Any], **_: Any) -> None:
    response = Response(
        response_dict["status_code"], response_dict["headers"], bytes(response_dict["body"])
    )
    _responses.get().append(response)
