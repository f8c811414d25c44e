"""The SDK is set up as the guarantees need it, or not at all."""

from typing import Any, Literal

import pytest
from aiobotocore.config import AioConfig

from mailsluice.emulator import CallFault, Emulator
from mailsluice.model.errors import ConfigurationError
from mailsluice.ses import client as clients
from mailsluice.ses.client import Client


def client() -> Client:
    return Client(region=None, profile=None, endpoint_url=None, in_flight_max=2, timeout_s=2.0)


@pytest.mark.usefixtures("ses_emulator")
async def test_an_sdk_that_would_retry_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(**options: Any) -> AioConfig:
        return AioConfig(**{**options, "retries": {"total_max_attempts": 3, "mode": "standard"}})

    monkeypatch.setattr(clients, "AioConfig", forgetful)
    with pytest.raises(ConfigurationError, match="the AWS SDK would retry by itself"):
        async with client():
            pass


@pytest.mark.usefixtures("ses_emulator")
async def test_the_environment_does_not_make_the_sdk_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    async with client() as opened:
        assert opened._client.meta.config.retries["total_max_attempts"] == 1


@pytest.mark.parametrize("fault", ["lost", "reset_after"])
async def test_a_call_without_an_answer_is_made_once(
    ses_emulator: Emulator, fault: Literal["lost", "reset_after"]
) -> None:
    ses_emulator.faults.add(CallFault(fault=fault))
    async with client() as opened:
        body = (
            b'{"FromEmailAddress":"a@example.com","DefaultContent":{"Template":{"TemplateName":"t",'
            b'"TemplateData":"{}"}},"BulkEmailEntries":['
            b'{"Destination":{"ToAddresses":["b@example.com"]}}]}'
        )
        answer = await opened.send_bulk_email(body, None)
    assert answer.code == "NO_ANSWER"
    assert ses_emulator.statistics().requests == 1
