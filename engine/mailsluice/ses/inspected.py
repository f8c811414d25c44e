"""Answers of SES's control plane as our values: every field is checked on the way.

Each function takes the JSON object of an answer and raises ValueError, naming the field that is
wrong. Shapes: SES v2 service model.
"""

from __future__ import annotations

from typing import Any

from mailsluice.ses.answers import BrokenError, field_of, number_of
from mailsluice.ses.inspector import (
    ConfigurationSet,
    EventDestination,
    Identity,
    Recommendation,
    SuppressedAddress,
    SuppressedPage,
    Template,
)

TEMPLATE_CHARACTERS_MAX = 500 * 1000
"""Longest part of a template (SES quotas page: 500 KB in all)."""

ADDRESS_CHARACTERS_MAX = 320
"""Longest address that SES takes."""

TOKEN_CHARACTERS_MAX = 10_000
"""Longest NextToken."""

DESCRIPTION_CHARACTERS_MAX = 10_000
"""Longest text of SES for people."""

RENDERED_CHARACTERS_MAX = 4 * 1024 * 1024
"""Longest message rendered by SES; an answer has no more bytes (`aws.http`)."""


def identity(document: dict[str, Any], name: str) -> Identity:
    """Read the answer of GetEmailIdentity."""
    dkim = field_of(document, "DkimAttributes", dict, {})
    mail_from = field_of(document, "MailFromAttributes", dict, {})
    return Identity(
        name=name,
        verified=field_of(document, "VerifiedForSendingStatus", bool),
        dkim_signing=field_of(dkim, "SigningEnabled", bool, default=False),
        dkim_status=field_of(dkim, "Status", str, ""),
        dkim_key=field_of(dkim, "CurrentSigningKeyLength", str, ""),
        mail_from=field_of(mail_from, "MailFromDomain", str, ""),
        mail_from_status=field_of(mail_from, "MailFromDomainStatus", str, ""),
        on_mx_failure=field_of(mail_from, "BehaviorOnMxFailure", str, ""),
        configuration_set=field_of(document, "ConfigurationSetName", str, ""),
    )


def template(document: dict[str, Any], name: str) -> Template:
    """Read the answer of GetEmailTemplate."""
    content = field_of(document, "TemplateContent", dict)
    subject, text, html = (
        field_of(content, part, str, "", TEMPLATE_CHARACTERS_MAX)
        for part in ("Subject", "Text", "Html")
    )
    return Template(name=name, subject=subject, text=text, html=html)


def configuration_set(document: dict[str, Any], name: str) -> ConfigurationSet:
    """Read the answer of GetConfigurationSet."""
    sending = field_of(document, "SendingOptions", dict, {})
    delivery = field_of(document, "DeliveryOptions", dict, {})
    suppression = field_of(document, "SuppressionOptions", dict, {})
    reasons = suppression.get("SuppressedReasons")
    seconds = delivery.get("MaxDeliverySeconds")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int)):
        raise BrokenError("DeliveryOptions.MaxDeliverySeconds is not a whole number")
    validation = field_of(suppression, "ValidationOptions", dict, {})
    condition = field_of(validation, "ConditionThreshold", dict, {})
    return ConfigurationSet(
        name=name,
        sending_enabled=field_of(sending, "SendingEnabled", bool, default=True),
        suppressed_reasons=None if reasons is None else tuple(_texts(reasons, "SuppressedReasons")),
        max_delivery_s=seconds,
        validates=field_of(condition, "ConditionThresholdEnabled", str, "") == "ENABLED",
    )


def event_destinations(document: dict[str, Any]) -> tuple[EventDestination, ...]:
    """Read the answer of GetConfigurationSetEventDestinations."""
    return tuple(
        EventDestination(
            name=field_of(each, "Name", str),
            enabled=field_of(each, "Enabled", bool, default=False),
            events=frozenset(
                _texts(field_of(each, "MatchingEventTypes", list, []), "MatchingEventTypes")
            ),
            topic=field_of(field_of(each, "SnsDestination", dict, {}), "TopicArn", str, "", 2048),
        )
        for each in _objects(document, "EventDestinations")
    )


def tenant_status(document: dict[str, Any]) -> str:
    """Read the answer of GetTenant."""
    found: str = field_of(field_of(document, "Tenant", dict), "SendingStatus", str, "ENABLED")
    return found


def recommendations(document: dict[str, Any]) -> tuple[Recommendation, ...]:
    """Read the answer of ListRecommendations: the open ones."""
    return tuple(
        Recommendation(
            kind=field_of(each, "Type", str, ""),
            resource=field_of(each, "ResourceArn", str, "", 2048),
            impact=field_of(each, "Impact", str, ""),
            description=field_of(each, "Description", str, "", DESCRIPTION_CHARACTERS_MAX),
        )
        for each in _objects(document, "Recommendations")
        if field_of(each, "Status", str, "OPEN") == "OPEN"
    )


def suppressed_page(document: dict[str, Any]) -> SuppressedPage:
    """Read the answer of ListSuppressedDestinations."""
    listed = tuple(
        SuppressedAddress(
            address=field_of(each, "EmailAddress", str, None, ADDRESS_CHARACTERS_MAX),
            reason=field_of(each, "Reason", str),
            at=number_of(each, "LastUpdateTime"),
        )
        for each in _objects(document, "SuppressedDestinationSummaries")
    )
    return SuppressedPage(listed, field_of(document, "NextToken", str, "", TOKEN_CHARACTERS_MAX))


def done(document: dict[str, Any]) -> None:
    """Read the answer of an operation that says nothing."""


def rendered(document: dict[str, Any]) -> str:
    """Read the answer of TestRenderEmailTemplate."""
    found: str = field_of(document, "RenderedTemplate", str, None, RENDERED_CHARACTERS_MAX)
    return found


def _objects(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    listed: list[Any] = field_of(document, name, list, [])
    if not all(isinstance(each, dict) for each in listed):
        raise BrokenError(f"{name} holds something that is no object")
    return listed


def _texts(given: Any, name: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise BrokenError(f"{name} is not a list of strings")
    return given
