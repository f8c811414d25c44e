"""What a suppression is, and which mail it keeps back. Pure."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

ALL = "all"
"""The scope that keeps every mail back: the address does not work, or an operator says so."""

MAILINGS = "mailings"
"""The scope that keeps every mailing back, and lets transactional mail pass."""

_name = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class Reason(enum.StrEnum):
    """Why an address is suppressed."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


SCOPE_OF = {
    Reason.BOUNCE: ALL,
    Reason.COMPLAINT: MAILINGS,
    Reason.UNSUBSCRIBE: MAILINGS,
    Reason.MANUAL: ALL,
}
"""The scope of a suppression for which none is named."""


class Suppression(NamedTuple):
    """An address that is not to be mailed."""

    address: str | None
    """The address in lower case, domain in punycode. None: the store has only its hash."""
    reason: Reason
    scope: str
    """ALL, MAILINGS, or the name of one kind of mailing."""
    at: float
    """When it began, in seconds since the epoch."""
    source: str = ""
    """The origin: a mailing's tag, a file, an operator's note."""
    expires: float | None = None
    """When it expires; None: never."""


def applies(scope: str, to: str | None) -> bool:
    """Return True if a suppression of that scope keeps a mail back.

    `to`: the kind of mailing that it belongs to; None: transactional mail.
    """
    return scope == ALL or (to is not None and scope in (MAILINGS, to))


def is_scope(name: str) -> bool:
    """Return True if a text can be the name of a scope: 1 to 64 of `A-Z a-z 0-9 . _ -`."""
    return _name(name) is not None
