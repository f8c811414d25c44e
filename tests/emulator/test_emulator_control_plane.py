"""The reading operations as aioboto3 sees them, and what the resources mean for sending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from botocore.exceptions import ClientError

from mailsluice.emulator import AccountSettings, CallFault
from mailsluice.emulator.resources import load, parse
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.emulator.conftest import Pair

    Start = Callable[..., Awaitable[Pair]]

FAILING = {
    "verified": True,
    "dkim_status": "FAILED",
    "mail_from": "mail.example.com",
    "mail_from_status": "FAILED",
    "on_mx_failure": "REJECT_MESSAGE",
    "configuration_set": "default",
}


async def code_of(call: Awaitable[Any]) -> str:
    with pytest.raises(ClientError) as caught:
        await call
    return str(caught.value.response["Error"]["Code"])


async def test_an_identity_is_answered_with_its_dkim_and_mail_from(start: Start) -> None:
    pair = await start(resources={"identities": {"example.com": FAILING}})
    found = await pair.client.get_email_identity(EmailIdentity="example.com")
    assert found["IdentityType"] == "DOMAIN"
    assert found["VerifiedForSendingStatus"] is True
    assert found["DkimAttributes"]["Status"] == "FAILED"
    assert found["MailFromAttributes"]["BehaviorOnMxFailure"] == "REJECT_MESSAGE"
    assert found["ConfigurationSetName"] == "default"
    missing = pair.client.get_email_identity(EmailIdentity="news@example.com")
    assert await code_of(missing) == "NotFoundException"


async def test_a_set_is_answered_with_its_destinations(start: Start) -> None:
    destination = {"name": "all", "events": ["SEND", "BOUNCE"], "sns": "arn:aws:sns:eu-west-1:1:t"}
    pair = await start(
        resources={
            "configuration_sets": {
                "default": {"max_delivery_s": 600, "destinations": [destination]}
            }
        }
    )
    found = await pair.client.get_configuration_set(ConfigurationSetName="default")
    assert found["DeliveryOptions"]["MaxDeliverySeconds"] == 600
    assert found["SendingOptions"] == {"SendingEnabled": True}
    listed = await pair.client.get_configuration_set_event_destinations(
        ConfigurationSetName="default"
    )
    (only,) = listed["EventDestinations"]
    assert only["MatchingEventTypes"] == ["SEND", "BOUNCE"]
    assert only["SnsDestination"] == {"TopicArn": "arn:aws:sns:eu-west-1:1:t"}
    missing = pair.client.get_configuration_set(ConfigurationSetName="other")
    assert await code_of(missing) == "NotFoundException"


async def test_tenants_and_recommendations(start: Start) -> None:
    pair = await start(
        resources={
            "tenants": {"acme": {"status": "DISABLED"}},
            "recommendations": [
                {"type": "BOUNCE", "resource": "arn:aws:ses:eu-west-1:1:identity/x"}
            ],
        }
    )
    found = await pair.client.get_tenant(TenantName="acme")
    assert found["Tenant"]["SendingStatus"] == "DISABLED"
    assert await code_of(pair.client.get_tenant(TenantName="other")) == "NotFoundException"
    listed = await pair.client.list_recommendations()
    assert [each["Type"] for each in listed["Recommendations"]] == ["BOUNCE"]


async def test_what_is_denied_and_what_comes_too_fast_is_refused_by_operation(start: Start) -> None:
    pair = await start(resources={"denied": ["GetTenant"], "control_calls_per_s": 0.001})
    assert await code_of(pair.client.get_tenant(TenantName="a")) == "AccessDeniedException"
    await pair.client.get_configuration_set(ConfigurationSetName="a")
    again = pair.client.get_configuration_set(ConfigurationSetName="a")
    assert await code_of(again) == "TooManyRequestsException"
    await pair.client.get_email_identity(EmailIdentity="example.com")
    assert pair.emulator.statistics().reading_calls == {
        "GetTenant": 1,
        "GetConfigurationSet": 2,
        "GetEmailIdentity": 1,
    }


async def test_faults_strike_reading_operations(start: Start) -> None:
    pair = await start(
        faults={
            "call": [CallFault(fault="error", operation="GetTenant", code="ServiceUnavailable")]
        }
    )
    assert await code_of(pair.client.get_tenant(TenantName="a")) == "ServiceUnavailable"
    await pair.client.get_email_identity(EmailIdentity="example.com")


async def test_in_the_sandbox_only_verified_recipients_are_mailed(start: Start) -> None:
    pair = await start(
        account=AccountSettings(rate_per_s=100, production=False),
        resources={"identities": ["example.com", "ann@elsewhere.example"]},
    )
    addresses = [
        *("bob@example.com", "ann@elsewhere.example", "cid@elsewhere.example"),
        "success@simulator.amazonses.com",
    ]
    found = await pair.statuses(*addresses)
    assert found == ["SUCCESS", "SUCCESS", "MESSAGE_REJECTED", "SUCCESS"]
    pair.emulator.change_account(production=True)
    assert await pair.statuses("cid@elsewhere.example") == ["SUCCESS"]


async def test_a_paused_set_sends_nothing(start: Start) -> None:
    pair = await start(resources={"configuration_sets": {"default": {"sending_enabled": False}}})
    status = ["CONFIGURATION_SET_SENDING_PAUSED"]
    assert await pair.statuses("a@example.com", ConfigurationSetName="default") == status


async def test_resources_change_while_it_runs(start: Start) -> None:
    pair = await start(resources={"identities": []})
    assert await pair.statuses("a@example.com") == ["MAIL_FROM_DOMAIN_NOT_VERIFIED"]
    pair.emulator.change_resources(identities=["example.com"])
    assert await pair.statuses("a@example.com") == ["SUCCESS"]
    async with aiohttp.ClientSession() as http:
        url = f"{pair.emulator.url}/_emulator/resources"
        async with http.patch(url, json={"identities": {}}) as answer:
            assert answer.status == 204
        async with http.patch(url, json={"nonsense": {}}) as answer:
            assert answer.status == 400
    assert await pair.statuses("a@example.com") == ["MAIL_FROM_DOMAIN_NOT_VERIFIED"]


def test_a_file_of_resources(tmp_path: Path) -> None:
    path = tmp_path / "resources.toml"
    path.write_text('[identities."example.com"]\ndkim_status = "PENDING"\n')
    identities = load(path).identities
    assert identities is not None
    assert identities["example.com"].dkim_status == "PENDING"
    path.write_text('[identities."example.com"]\ndkim = "PENDING"\n')
    with pytest.raises(
        ConfigurationError, match=r"resources\.toml: identities\.example\.com\.dkim"
    ):
        load(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        load(_written(path, "["))
    with pytest.raises(ConfigurationError, match="recommendations"):
        parse({"recommendations": [{}]}, "given")


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
