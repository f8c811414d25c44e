"""Resources of the emulated account: identities, templates, configuration sets, tenants. Pure.

A TOML file (`mailsluice emulator --resources FILE`), or the same in Python:

    denied = ["GetEmailIdentity"]        # operations that the credentials may not call
    control_calls_per_s = 1.0            # of each reading operation; default 0: no limit

    [identities."example.com"]           # domain or address; without the table all are verified
    verified = true
    dkim_status = "SUCCESS"
    mail_from = "mail.example.com"
    mail_from_status = "FAILED"
    on_mx_failure = "REJECT_MESSAGE"

    [templates.welcome]                  # without the table all names exist, and are not rendered
    subject = "Welcome, {{name}}"
    html = "<p>Dear {{name}}</p>"

    [configuration_sets.default]         # without the table all names exist
    sending_enabled = true
    destinations = [{ name = "events", events = ["SEND", "BOUNCE"], sns = "arn:aws:sns:…" }]

    [tenants.acme]                       # without the table all names exist
    status = "DISABLED"

    [[recommendations]]
    type = "BOUNCE"
    resource = "arn:aws:ses:us-east-1:123456789012:identity/example.com"
    description = "The bounce rate is high."

The shapes are those of the SES v2 API reference (GetEmailIdentity, GetConfigurationSet,
GetConfigurationSetEventDestinations, GetTenant, ListRecommendations, and those of templates).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from mailsluice.emulator.suppressed import Suppressed
from mailsluice.emulator.templates import Template, name_of
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_strict = ConfigDict(extra="forbid")

EventType = Literal[
    "SEND",
    "REJECT",
    "BOUNCE",
    "COMPLAINT",
    "DELIVERY",
    "OPEN",
    "CLICK",
    "RENDERING_FAILURE",
    "DELIVERY_DELAY",
    "SUBSCRIPTION",
]
DkimStatus = Literal["PENDING", "SUCCESS", "FAILED", "TEMPORARY_FAILURE", "NOT_STARTED"]
MailFromStatus = Literal["PENDING", "SUCCESS", "FAILED", "TEMPORARY_FAILURE"]

_KINDS: dict[EventType, str] = {
    "SEND": "Send",
    "REJECT": "Reject",
    "BOUNCE": "Bounce",
    "COMPLAINT": "Complaint",
    "DELIVERY": "Delivery",
    "OPEN": "Open",
    "CLICK": "Click",
    "RENDERING_FAILURE": "Rendering Failure",
    "DELIVERY_DELAY": "DeliveryDelay",
    "SUBSCRIPTION": "Subscription",
}
"""`eventType` of what a destination calls so."""

ALL_EVENTS: tuple[EventType, ...] = (
    *("SEND", "REJECT", "BOUNCE", "COMPLAINT", "DELIVERY"),
    *("RENDERING_FAILURE", "DELIVERY_DELAY"),
)
"""Event types that a destination gets by default."""

Reading = Literal[
    "GetEmailIdentity",
    "GetConfigurationSet",
    "GetConfigurationSetEventDestinations",
    "GetTenant",
    "ListRecommendations",
    "GetEmailTemplate",
    "ListEmailTemplates",
    "TestRenderEmailTemplate",
    "ListSuppressedDestinations",
    "GetSuppressedDestination",
]
"""Operations that read resources."""

Writing = Literal[
    "CreateEmailTemplate",
    "UpdateEmailTemplate",
    "DeleteEmailTemplate",
    "PutSuppressedDestination",
    "DeleteSuppressedDestination",
]
"""Operations that change resources."""


def _by_name(given: Any) -> Any:
    """Return a table by name; a plain collection of names gets the defaults for each."""
    if isinstance(given, Collection) and not isinstance(given, str | bytes | Mapping):
        return {name: {} for name in given}
    return given


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Identity:
    """A domain or an address from which mail may be sent."""

    verified: bool = True
    dkim_signing: bool = True
    dkim_status: DkimStatus = "SUCCESS"
    dkim_key: Literal["RSA_1024_BIT", "RSA_2048_BIT"] = "RSA_2048_BIT"
    mail_from: str | None = None
    mail_from_status: MailFromStatus = "SUCCESS"
    on_mx_failure: Literal["USE_DEFAULT_VALUE", "REJECT_MESSAGE"] = "USE_DEFAULT_VALUE"
    configuration_set: str | None = None
    """The configuration set of mail that names none."""

    def described(self, name: str) -> dict[str, Any]:
        """Return what GetEmailIdentity answers."""
        return {
            "IdentityType": "EMAIL_ADDRESS" if "@" in name else "DOMAIN",
            "FeedbackForwardingStatus": True,
            "VerifiedForSendingStatus": self.verified,
            "VerificationStatus": "SUCCESS" if self.verified else "PENDING",
            "DkimAttributes": {
                "SigningEnabled": self.dkim_signing,
                "Status": self.dkim_status,
                "SigningAttributesOrigin": "AWS_SES",
                "CurrentSigningKeyLength": self.dkim_key,
                "NextSigningKeyLength": self.dkim_key,
            },
            **(
                {
                    "MailFromAttributes": {
                        "MailFromDomain": self.mail_from,
                        "MailFromDomainStatus": self.mail_from_status,
                        "BehaviorOnMxFailure": self.on_mx_failure,
                    }
                }
                if self.mail_from
                else {}
            ),
            **({"ConfigurationSetName": self.configuration_set} if self.configuration_set else {}),
            "Policies": {},
            "Tags": [],
        }


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class EventDestination:
    """Where the events of a configuration set go."""

    name: str
    enabled: bool = True
    events: tuple[EventType, ...] = ALL_EVENTS
    sns: str | None = None
    """ARN of an SNS topic; None if the events go elsewhere."""
    event_bus: str | None = None
    firehose: str | None = None

    def described(self) -> dict[str, Any]:
        """Return what GetConfigurationSetEventDestinations answers."""
        ways = {
            "SnsDestination": self.sns and {"TopicArn": self.sns},
            "EventBridgeDestination": self.event_bus and {"EventBusArn": self.event_bus},
            "KinesisFirehoseDestination": self.firehose
            and {"DeliveryStreamArn": self.firehose, "IamRoleArn": "arn:aws:iam::1:role/events"},
        }
        return {
            "Name": self.name,
            "Enabled": self.enabled,
            "MatchingEventTypes": list(self.events),
            **{name: way for name, way in ways.items() if way},
        }


_EVENTS = (
    EventDestination(name="events", sns="arn:aws:sns:us-east-1:123456789012:mailsluice-events"),
)


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class ConfigurationSet:
    """A configuration set with its event destinations."""

    sending_enabled: bool = True
    suppressed_reasons: tuple[Literal["BOUNCE", "COMPLAINT"], ...] = ("BOUNCE", "COMPLAINT")
    max_delivery_s: Annotated[int, Field(ge=300, le=50_400)] | None = None
    auto_validation: bool = False
    destinations: tuple[EventDestination, ...] = _EVENTS

    def described(self, name: str) -> dict[str, Any]:
        """Return what GetConfigurationSet answers."""
        delivery: dict[str, Any] = {"TlsPolicy": "OPTIONAL"}
        if self.max_delivery_s:
            delivery["MaxDeliverySeconds"] = self.max_delivery_s
        return {
            "ConfigurationSetName": name,
            "DeliveryOptions": delivery,
            "ReputationOptions": {"ReputationMetricsEnabled": True},
            "SendingOptions": {"SendingEnabled": self.sending_enabled},
            "SuppressionOptions": {
                "SuppressedReasons": list(self.suppressed_reasons),
                "ValidationOptions": {
                    "ConditionThreshold": {
                        "ConditionThresholdEnabled": (
                            "ENABLED" if self.auto_validation else "DISABLED"
                        )
                    }
                },
            },
            "Tags": [],
        }


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Tenant:
    """A tenant of the account."""

    status: Literal["ENABLED", "REINSTATED", "DISABLED"] = "ENABLED"

    def described(self, name: str) -> dict[str, Any]:
        """Return what GetTenant answers."""
        return {
            "Tenant": {
                "TenantName": name,
                "TenantId": f"tn-{name}",
                "TenantArn": f"arn:aws:ses:us-east-1:123456789012:tenant/{name}/tn-{name}",
                "SendingStatus": self.status,
            }
        }


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Recommendation:
    """A finding of SES's own about the account's reputation."""

    type: Literal[
        "DKIM", "DMARC", "SPF", "BIMI", "COMPLAINT", "BOUNCE", "FEEDBACK_3P", "IP_LISTING"
    ]
    resource: str
    """ARN of the identity or set that it is about."""
    description: str = ""
    impact: Literal["LOW", "HIGH"] = "HIGH"
    status: Literal["OPEN", "FIXED"] = "OPEN"

    def described(self) -> dict[str, Any]:
        """Return what ListRecommendations answers."""
        return {
            "ResourceArn": self.resource,
            "Type": self.type,
            "Description": self.description,
            "Status": self.status,
            "Impact": self.impact,
        }


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Resources:
    """All resources of the account. They may be replaced while the emulator runs."""

    templates: Annotated[dict[str, Template], BeforeValidator(_by_name)] | None = None
    """Templates by name; None: all names exist, until CreateEmailTemplate makes the first. A plain
    name without parts is not rendered."""
    identities: Annotated[dict[str, Identity], BeforeValidator(_by_name)] | None = None
    """Domains and addresses; None: every identity exists and is verified."""
    configuration_sets: Annotated[dict[str, ConfigurationSet], BeforeValidator(_by_name)] | None = (
        None
    )
    """By name; None: all names exist."""
    tenants: Annotated[dict[str, Tenant], BeforeValidator(_by_name)] | None = None
    """By name; None: all names exist."""
    recommendations: tuple[Recommendation, ...] = ()
    suppressed: Annotated[dict[str, Suppressed], BeforeValidator(_by_name)] = Field(
        default_factory=dict
    )
    """The account's suppression list: it is answered, and keeps no mail back."""
    denied: frozenset[str] = frozenset()
    """Operations that the credentials may not call: AccessDeniedException."""
    control_calls_per_s: Annotated[float, Field(ge=0)] = 0.0
    """Calls per second of each reading operation; 0: no limit. SES has 1 ("API quotas")."""

    def sender(self, address: str) -> Identity | None:
        """Return the identity that lets this address send: its own or its domain's, or None.

        The address is in lower case.
        """
        if self.identities is None:
            return Identity()
        return self.identities.get(address) or self.identities.get(address.rpartition("@")[2])

    def configuration_set(self, name: str) -> ConfigurationSet | None:
        """Return the set of that name; None if there is none."""
        if self.configuration_sets is None:
            return ConfigurationSet()
        return self.configuration_sets.get(name)

    def default_set(self, sender: str) -> str | None:
        """Return the configuration set of mail from this address that names none."""
        identity = self.sender(sender)
        return None if identity is None else identity.configuration_set

    def published(self, name: str) -> frozenset[str]:
        """Return the kinds of events of a configuration set that go anywhere.

        All of them, if only the names of sets are known.
        """
        if self.configuration_sets is None:
            return frozenset(_KINDS.values())
        found = self.configuration_sets.get(name)
        destinations = found.destinations if found is not None else ()
        return frozenset(
            _KINDS[event] for each in destinations if each.enabled for event in each.events
        )

    def template(self, name_or_arn: str) -> Template | None:
        """Return the template of that name or ARN; None if there is none."""
        if self.templates is None:
            return Template()
        return self.templates.get(name_of(name_or_arn))

    def described(self, operation: Reading, name: str) -> dict[str, Any] | None:
        """Return what a reading operation answers for a name; None if the name is unknown."""
        match operation:
            case "GetEmailIdentity":
                identity = Identity() if self.identities is None else self.identities.get(name)
                return None if identity is None else identity.described(name)
            case "GetTenant":
                tenant = Tenant() if self.tenants is None else self.tenants.get(name)
                return None if tenant is None else tenant.described(name)
            case "GetEmailTemplate" | "ListEmailTemplates":
                return self._described_template(operation, name)
            case "GetSuppressedDestination":
                entry = self.suppressed.get(name)
                return None if entry is None else {"SuppressedDestination": entry.described(name)}
            case "ListRecommendations":
                return {"Recommendations": [each.described() for each in self.recommendations]}
            case _:
                return self._described_set(operation, name)

    def _described_set(self, operation: Reading, name: str) -> dict[str, Any] | None:
        found = self.configuration_set(name)
        if found is None:
            return None
        if operation == "GetConfigurationSet":
            return found.described(name)
        return {"EventDestinations": [each.described() for each in found.destinations]}

    def _described_template(self, operation: Reading, name: str) -> dict[str, Any] | None:
        if operation == "ListEmailTemplates":
            return {"TemplatesMetadata": [{"TemplateName": each} for each in self.templates or ()]}
        template = self.template(name)
        if template is None:
            return None
        return {"TemplateName": name, "TemplateContent": template.described()}


def load(path: Path) -> Resources:
    """Load the resources of a TOML file. Raises ConfigurationError with the file and the field."""
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: is not valid TOML: {error}") from error
    return parse(read, str(path))


def parse(read: object, name: str) -> Resources:
    """Read the resources of a parsed document, which errors call `name`. Raises as `load` does."""
    try:
        return TypeAdapter(Resources).validate_python(read)
    except ValidationError as error:
        lines = [
            f"{name}: {'.'.join(map(str, found['loc']))}: {found['msg']}"
            for found in error.errors(include_url=False, include_context=False)
        ]
        raise ConfigurationError("\n".join(lines)) from error
