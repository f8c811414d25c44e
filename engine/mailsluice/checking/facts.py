"""What was read of a mailing's things before its first call."""

from __future__ import annotations

from dataclasses import dataclass

from mailsluice.model import Account
from mailsluice.ses.inspector import (
    ConfigurationSet,
    EventDestination,
    Identity,
    Recommendation,
    Template,
    Unread,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What SES has said. None: it was not asked."""

    account: Account | None = None
    domain: Identity | Unread | None = None
    """Of the sender's domain."""
    address: Identity | Unread | None = None
    """Of the sender's very address."""
    configuration_set: ConfigurationSet | Unread | None = None
    """The mailing's, or else the identity's."""
    destinations: tuple[EventDestination, ...] | Unread | None = None
    template: Template | Unread | None = None
    tenant_status: str | Unread | None = None
    recommendations: tuple[Recommendation, ...] | Unread | None = None
    trouble: str | None = None
    """Why the account could not be asked."""

    @property
    def identity(self) -> Identity | None:
        """The one that SES sends by: the address's, or else the domain's."""
        found = [each for each in (self.address, self.domain) if isinstance(each, Identity)]
        return found[0] if found else None

    @property
    def unread(self) -> tuple[Unread, ...]:
        """All that could not be read."""
        everything = (
            *(self.address, self.domain, self.configuration_set, self.destinations),
            *(self.template, self.tenant_status, self.recommendations),
        )
        return tuple(each for each in everything if isinstance(each, Unread))
