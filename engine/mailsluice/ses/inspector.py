"""What SES says about the things that a mailing uses: the protocol, and its values.

An inspector only reads, and sending does not depend on it: what it may not read, and what SES does
not answer, is a value (`Unread`) and never an error.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Why(enum.Enum):
    """Why something could not be read."""

    MISSING = "there is no such thing"
    NOT_PERMITTED = "the credentials may not read it"
    NO_ANSWER = "SES gave no answer"


@dataclass(frozen=True, slots=True)
class Unread:
    """A value in place of something that could not be read."""

    why: Why
    operation: str
    text: str = ""
    """SES's text, if it gave one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A domain or an address that may send (SES API reference, GetEmailIdentity)."""

    name: str
    verified: bool
    dkim_signing: bool
    dkim_status: str
    dkim_key: str
    """Key length of Easy DKIM: RSA_1024_BIT or RSA_2048_BIT; empty for the user's own keys."""
    mail_from: str
    """The domain of the return path; empty if it is SES's."""
    mail_from_status: str
    on_mx_failure: str
    """REJECT_MESSAGE: SES refuses mail while `mail_from` does not work."""
    configuration_set: str
    """The default configuration set of the identity; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A stored template (SES API reference, GetEmailTemplate)."""

    name: str
    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationSet:
    """A configuration set (SES API reference, GetConfigurationSet)."""

    name: str
    sending_enabled: bool
    suppressed_reasons: tuple[str, ...] | None
    """BOUNCE, COMPLAINT; None: as the account has it."""
    max_delivery_s: int | None
    validates: bool
    """True if SES suppresses addresses that it thinks invalid (Auto Validation)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDestination:
    """Where events of a set go (SES API reference, GetConfigurationSetEventDestinations)."""

    name: str
    enabled: bool
    events: frozenset[str]
    topic: str
    """ARN of an SNS topic; empty if the events go elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A finding of SES's own (SES API reference, ListRecommendations)."""

    kind: str
    """BOUNCE, COMPLAINT, DKIM, DMARC, SPF, …"""
    resource: str
    """ARN of the identity or set concerned."""
    impact: str
    description: str


class SuppressedAddress(NamedTuple):
    """An address on the account's suppression list (ListSuppressedDestinations)."""

    address: str
    reason: str
    """BOUNCE or COMPLAINT."""
    at: float
    """Seconds since the epoch."""


class SuppressedPage(NamedTuple):
    """A page of the account's suppression list."""

    listed: tuple[SuppressedAddress, ...]
    next: str
    """Token of the next page; empty if there is none."""


class Inspector(Protocol):
    """Reads SES's control plane, at the pace that SES allows there."""

    async def identity(self, name: str) -> Identity | Unread:
        """Read the identity of a domain or an address."""

    async def template(self, name: str) -> Template | Unread:
        """Read a stored template."""

    async def configuration_set(self, name: str) -> ConfigurationSet | Unread:
        """Read a configuration set."""

    async def event_destinations(self, name: str) -> tuple[EventDestination, ...] | Unread:
        """Read where the events of a configuration set go."""

    async def tenant_status(self, name: str) -> str | Unread:
        """Read a tenant's status: ENABLED, REINSTATED or DISABLED."""

    async def recommendations(self) -> tuple[Recommendation, ...] | Unread:
        """Read the open findings that SES has about this account."""

    async def test_render(self, template: str, data: str) -> str | Unread:
        """Let SES render a stored template with this JSON, and return the MIME message.

        SES refuses data that lacks a variable: that is `Why.MISSING`, with SES's text.
        """
