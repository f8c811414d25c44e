"""What SES says of a mailing's things, through real HTTP to the emulated SES."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.emulator import CallFault, Emulator
from mailsluice.ses import inspected
from mailsluice.ses.control_plane import KNOWN_S, ControlPlane
from mailsluice.ses.inspector import Identity, Unread, Why


@pytest.fixture
async def inspector(ses_emulator: Emulator) -> AsyncIterator[ControlPlane]:
    del ses_emulator  # it has set the environment
    async with ControlPlane(region=None, profile=None, endpoint_url=None, timeout_s=5.0) as opened:
        yield opened


def why(found: object) -> Why:
    assert isinstance(found, Unread), found
    return found.why


@pytest.mark.ses_emulator(
    resources={
        "identities": {
            "example.com": {
                "dkim_status": "PENDING",
                "dkim_key": "RSA_1024_BIT",
                "mail_from": "mail.example.com",
                "mail_from_status": "FAILED",
                "on_mx_failure": "REJECT_MESSAGE",
                "configuration_set": "default",
            }
        }
    }
)
async def test_an_identity(inspector: ControlPlane) -> None:
    assert await inspector.identity("example.com") == Identity(
        name="example.com",
        verified=True,
        dkim_signing=True,
        dkim_status="PENDING",
        dkim_key="RSA_1024_BIT",
        mail_from="mail.example.com",
        mail_from_status="FAILED",
        on_mx_failure="REJECT_MESSAGE",
        configuration_set="default",
    )
    assert why(await inspector.identity("news@example.com")) is Why.MISSING


@pytest.mark.ses_emulator(
    resources={
        "configuration_sets": {
            "default": {
                "sending_enabled": False,
                "suppressed_reasons": [],
                "max_delivery_s": 300,
                "auto_validation": True,
                "destinations": [
                    {"name": "a", "events": ["SEND"], "sns": "arn:aws:sns:eu-west-1:1:t"},
                    {"name": "b", "enabled": False, "events": []},
                ],
            }
        },
        "tenants": {"acme": {"status": "REINSTATED"}},
        "recommendations": [
            {"type": "BOUNCE", "resource": "arn:x", "description": "too many"},
            {"type": "SPF", "resource": "arn:x", "status": "FIXED"},
        ],
    }
)
async def test_a_set_its_destinations_a_tenant_and_recommendations(
    inspector: ControlPlane,
) -> None:
    found = await inspector.configuration_set("default")
    assert not isinstance(found, Unread)
    assert (found.sending_enabled, found.suppressed_reasons) == (False, ())
    assert (found.max_delivery_s, found.validates) == (300, True)
    destinations = await inspector.event_destinations("default")
    assert not isinstance(destinations, Unread)
    assert [(each.name, each.enabled, each.events, each.topic) for each in destinations] == [
        ("a", True, {"SEND"}, "arn:aws:sns:eu-west-1:1:t"),
        ("b", False, frozenset(), ""),
    ]
    assert await inspector.tenant_status("acme") == "REINSTATED"
    assert why(await inspector.tenant_status("other")) is Why.MISSING
    recommendations = await inspector.recommendations()
    assert not isinstance(recommendations, Unread)
    assert [(each.kind, each.description) for each in recommendations] == [("BOUNCE", "too many")]


@pytest.mark.ses_emulator(resources={"denied": ["GetEmailIdentity"]})
async def test_what_may_not_be_read_is_said_and_no_error(inspector: ControlPlane) -> None:
    found = await inspector.identity("example.com")
    assert why(found) is Why.NOT_PERMITTED
    assert isinstance(found, Unread)
    assert "not authorized to perform: ses:GetEmailIdentity" in found.text


async def test_the_sdk_retries_what_fails_for_a_moment(
    inspector: ControlPlane, ses_emulator: Emulator
) -> None:
    ses_emulator.faults.add(
        CallFault(fault="error", code="ServiceUnavailable", operation="GetTenant", times=1),
        CallFault(fault="lost", operation="GetTenant", times=1),
    )
    assert await inspector.tenant_status("acme") == "ENABLED"
    assert ses_emulator.statistics().reading_calls == {"GetTenant": 3}


async def test_what_fails_for_good_is_no_answer_and_is_asked_again(
    inspector: ControlPlane, ses_emulator: Emulator
) -> None:
    fault = CallFault(fault="error", code="InternalFailure", operation="GetTenant")
    ses_emulator.faults.add(fault)
    assert why(await inspector.tenant_status("acme")) is Why.NO_ANSWER
    ses_emulator.faults.clear()
    assert await inspector.tenant_status("acme") == "ENABLED"


async def test_a_broken_answer_is_no_answer(
    inspector: ControlPlane, ses_emulator: Emulator
) -> None:
    ses_emulator.faults.add(CallFault(fault="broken", operation="GetConfigurationSet"))
    found = await inspector.configuration_set("default")
    assert why(found) is Why.NO_ANSWER


@pytest.mark.slow
@pytest.mark.ses_emulator(resources={"control_calls_per_s": 1.0})
async def test_each_operation_has_one_call_a_second_and_others_do_not_wait_for_it(
    inspector: ControlPlane,
) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    calls = [inspector.identity(f"{n}.example.com") for n in range(3)]
    found = await asyncio.gather(*calls, inspector.tenant_status("acme"))
    assert [isinstance(each, Unread) for each in found] == [False] * 4
    assert loop.time() - begun >= 2.0


async def test_what_is_known_is_asked_once_a_minute_however_many_want_it(
    inspector: ControlPlane, ses_emulator: Emulator, skip: Callable[[float], None]
) -> None:
    found = await asyncio.gather(*(inspector.configuration_set("default") for _ in range(100)))
    assert len(set(map(id, found))) == 1
    assert ses_emulator.statistics().reading_calls == {"GetConfigurationSet": 1}
    skip(KNOWN_S + 1)
    await inspector.configuration_set("default")
    assert ses_emulator.statistics().reading_calls == {"GetConfigurationSet": 2}


READERS = (
    lambda document: inspected.identity(document, "x"),
    lambda document: inspected.template(document, "x"),
    lambda document: inspected.configuration_set(document, "x"),
    inspected.event_destinations,
    inspected.tenant_status,
    inspected.recommendations,
    inspected.rendered,
)

FIELDS = (
    *("DkimAttributes", "MailFromAttributes", "VerifiedForSendingStatus", "TemplateContent"),
    *("Subject", "SendingOptions", "SuppressionOptions", "SuppressedReasons", "DeliveryOptions"),
    *("MaxDeliverySeconds", "EventDestinations", "Name", "MatchingEventTypes", "SnsDestination"),
    *("Tenant", "SendingStatus", "Recommendations", "Status", "RenderedTemplate"),
    *("ValidationOptions", "ConditionThreshold", "ConditionThresholdEnabled"),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES), st.sampled_from(READERS))
def test_whatever_is_answered_is_read_or_refused_by_name(
    document: dict[str, Any], read: Callable[[dict[str, Any]], object]
) -> None:
    problem = ""
    try:
        read(document)
    except ValueError as error:
        problem = str(error)
    assert not problem or any(field in problem for field in FIELDS)
