"""Which addresses SES takes, and those of its mailbox simulator. Pure.

Sources: SES API reference, Destination (7-bit ASCII local part, punycode domain); developer guide,
"Using the mailbox simulator" (limited by the sending rate, not by the daily quota; labels allowed).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

ADDRESS_CHARACTERS_MAX = 320
"""Longest address without its display name: 64 + 1 + 255 (RFC 5321 4.5.3.1)."""

SIMULATOR_DOMAIN = "simulator.amazonses.com"

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_plain = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}").fullmatch
_quoted = re.compile(rf'"(?:[ !#-\[\]-~]|\\[ -~])*"@(?:{_LABEL}\.)+{_LABEL}').fullmatch
_named = re.compile(r'\s*(?:"(?:[^"\\]|\\.)*"|[^"<>@,;:\\\[\]()]*)\s*<([^<>]*)>').fullmatch


class Event(NamedTuple):
    """The event that SES finally publishes for an accepted message."""

    type: str
    """`eventType` of the event record."""
    sub_type: str | None = None
    """`bounceSubType`; None if the event is no bounce."""


DELIVERY = Event("Delivery")

_SIMULATED = {
    "success": DELIVERY,
    "ooto": DELIVERY,
    "bounce": Event("Bounce", "General"),
    "suppressionlist": Event("Bounce", "Suppressed"),
    "complaint": Event("Complaint"),
}


def bare(address: str) -> str:
    """Return the address without its display name and angle brackets."""
    match = _named(address) if address.endswith(">") else None
    return match[1] if match else address


def problem(address: str) -> str | None:
    """Return why SES would refuse this address; None if it would not."""
    if not address.isascii():
        return "Email address is not 7-bit ASCII"
    inner = bare(address).strip(" ")
    local, at, domain = inner.rpartition("@")
    if not at or not domain:
        return "Missing final '@domain'"
    if not local:
        return "Missing local name"
    if len(local) > 64 or len(inner) > ADDRESS_CHARACTERS_MAX:  # noqa: PLR2004 - RFC 5321
        return "Email address is too long"
    if _plain(inner) or _quoted(inner):
        return None
    return _reason(local, domain)


def are_plain(addresses: Iterable[str]) -> bool:
    """Return True if all are plain addresses, for which `problem` would find nothing.

    Raises TypeError if one is not a string.
    """
    return all(map(_common, addresses))


def simulated(address: str) -> Event | None:
    """Return the event of a message to this address; None if it is not the simulator's."""
    local, _, domain = bare(address).strip(" ").rpartition("@")
    if domain.lower() != SIMULATOR_DOMAIN:
        return None
    return _SIMULATED.get(local.partition("+")[0].lower())


def may_be_simulated(addresses: Iterable[str]) -> bool:
    """Return False if none is the simulator's: a quick test of many addresses at once."""
    return SIMULATOR_DOMAIN in "\n".join(addresses).lower()


def event(addresses: Iterable[str]) -> Event:
    """Return the event of a message to these addresses: the first one other than a delivery."""
    events = (simulated(address) or DELIVERY for address in addresses)
    return next((found for found in events if found != DELIVERY), DELIVERY)


_common = re.compile(
    rf"[A-Za-z0-9_+-]{{1,32}}(?:\.[A-Za-z0-9_+-]{{1,31}})?@(?:{_LABEL}\.){{1,3}}{_LABEL}"
).fullmatch


def _reason(local: str, domain: str) -> str:
    for name, part in (("Local address", local), ("Domain", domain)):
        if part.startswith("."):
            return f"{name} starts with dot"
        if part.endswith("."):
            return f"{name} ends with dot"
        if ".." in part:
            return f"{name} contains dot-dot"
    if re.search(r"[\x00-\x20\x7f]", local + domain):
        return "Email address contains control or whitespace"
    if re.fullmatch(r"[A-Za-z0-9.-]+", domain) and re.fullmatch(rf"{_ATOM}(\.{_ATOM})*", local):
        return "Domain is not a valid host name"
    return "Email address contains illegal character"
