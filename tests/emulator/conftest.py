"""An emulator and an SDK client for it, as one call."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import aioboto3
import pytest
from aiobotocore.config import AioConfig

from mailsluice.emulator import AccountSettings, Emulator, EmulatorOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

PLENTY = AccountSettings(rate_per_s=1e6, daily_max=-1)


class Pair(NamedTuple):
    """A started emulator and aioboto3's client for it."""

    emulator: Emulator
    client: Any

    @staticmethod
    def bulk(addresses: Sequence[str]) -> dict[str, Any]:
        """A good request with one entry an address, tagged with its position."""
        return {
            "FromEmailAddress": "News <news@example.com>",
            "DefaultContent": {"Template": {"TemplateName": "welcome", "TemplateData": "{}"}},
            "BulkEmailEntries": [
                {
                    "Destination": {"ToAddresses": [address]},
                    "ReplacementTags": [{"Name": "mailsluice-id", "Value": f"run-{number}"}],
                }
                for number, address in enumerate(addresses, 1)
            ],
        }

    async def send(self, *addresses: str, **request: Any) -> list[dict[str, str]]:
        """Send `bulk` with changes; SES's results."""
        asked = self.bulk(addresses) | request
        return list((await self.client.send_bulk_email(**asked))["BulkEmailEntryResults"])

    async def statuses(self, *addresses: str, **request: Any) -> list[str]:
        """As `send`, the statuses only."""
        return [result["Status"] for result in await self.send(*addresses, **request)]


@pytest.fixture(scope="session")
def sdk() -> aioboto3.Session:
    """One session for all tests: it has read the service model, which takes 0.1 s."""
    return aioboto3.Session()


@pytest.fixture
def good_request() -> dict[str, Any]:
    return Pair.bulk(["ann@example.com"])


@pytest.fixture
async def connect(sdk: aioboto3.Session) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """A function that opens a client for an emulator, never retrying."""
    async with AsyncExitStack() as stack:

        async def open_client(
            emulator: Emulator, *, read_timeout_s: float = 5, **arguments: Any
        ) -> Any:
            credentials = emulator.options.credentials
            config = AioConfig(
                retries={"total_max_attempts": 1, "mode": "standard"},
                parameter_validation=False,
                read_timeout=read_timeout_s,
                proxies={},
            )
            given = {
                "aws_access_key_id": credentials.access_key_id if credentials else "any",
                "aws_secret_access_key": credentials.secret_access_key if credentials else "any",
                "aws_session_token": credentials.session_token if credentials else None,
                "region_name": "eu-west-1",
                "endpoint_url": emulator.url,
                "config": config,
            }
            return await stack.enter_async_context(sdk.client("sesv2", **(given | arguments)))

        yield open_client


@pytest.fixture
async def start(
    connect: Callable[..., Awaitable[Any]],
) -> AsyncIterator[Callable[..., Awaitable[Pair]]]:
    """A function that starts an emulator with the given options, and a client for it."""
    async with AsyncExitStack() as stack:

        async def started(**options: Any) -> Pair:
            chosen = EmulatorOptions(**({"account": PLENTY} | options))
            emulator = await stack.enter_async_context(Emulator(chosen))
            return Pair(emulator, await connect(emulator))

        yield started
