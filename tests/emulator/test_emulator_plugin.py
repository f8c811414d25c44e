"""The pytest fixtures, in synchronous and asynchronous tests and in processes they start."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aioboto3
import boto3  # type: ignore[import-untyped]  # ships no types
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailsluice.emulator import Emulator

REQUEST: dict[str, Any] = {
    "FromEmailAddress": "a@example.com",
    "DefaultContent": {"Template": {"TemplateName": "t"}},
    "BulkEmailEntries": [{"Destination": {"ToAddresses": ["b@example.com"]}}],
}

SEND = f"""
import boto3
boto3.client("sesv2").send_bulk_email(**{REQUEST!r})
"""


def test_a_synchronous_client_is_led_to_it(ses_emulator: Emulator) -> None:
    answer = boto3.client("sesv2").send_bulk_email(**REQUEST)
    assert answer["BulkEmailEntryResults"][0]["Status"] == "SUCCESS"
    assert len(ses_emulator.ledger) == 1


async def test_an_asynchronous_client_is_led_to_it(ses_emulator: Emulator) -> None:
    async with aioboto3.Session().client("sesv2") as client:
        await client.send_bulk_email(**REQUEST)
    assert len(ses_emulator.ledger) == 1


@pytest.mark.process
def test_a_started_process_is_led_to_it(ses_emulator: Emulator) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", SEND], check=True)
    assert ses_emulator.ledger.by_address() == {"b@example.com": 1}


@pytest.mark.ses_emulator(account={"rate_per_s": 3}, region="eu-west-1")
def test_the_marker_gives_options(ses_emulator: Emulator) -> None:
    assert ses_emulator.account.settings.rate_per_s == 3
    assert os.environ["AWS_REGION"] == "eu-west-1"
    assert boto3.client("sesv2").get_account()["SendQuota"]["MaxSendRate"] == 3


def test_the_factory_starts_several_and_leaves_the_environment_alone(
    ses_emulator_factory: Callable[..., Emulator],
) -> None:
    first, second = ses_emulator_factory(), ses_emulator_factory(account={"rate_per_s": 3})
    assert first.url != second.url
    assert first.environment["AWS_ENDPOINT_URL_SESV2"] == first.url
    assert os.environ.get("AWS_ENDPOINT_URL_SESV2") not in {first.url, second.url}


@pytest.mark.process
def test_the_plugin_costs_a_test_run_no_heavy_import() -> None:
    code = (
        "import sys, mailsluice.emulator.pytest_plugin\n"
        "print({'pydantic', 'aiohttp', 'botocore', 'orjson', 'asyncio'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() in {"set()", "{'asyncio'}"}
