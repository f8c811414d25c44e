"""The operations that read what the account has: which request asks for which. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import orjson

from mailsluice.emulator.exchange import RefusedError
from mailsluice.emulator.windows import Bucket

if TYPE_CHECKING:
    from typing import Any

    from mailsluice.emulator.exchange import Request
    from mailsluice.emulator.resources import Reading, Resources

_NAME = r"([^/?]+)"
_PATHS: dict[tuple[str, re.Pattern[str]], Reading] = {
    ("GET", re.compile(rf"/v2/email/identities/{_NAME}")): "GetEmailIdentity",
    ("GET", re.compile(rf"/v2/email/configuration-sets/{_NAME}")): "GetConfigurationSet",
    ("GET", re.compile(rf"/v2/email/configuration-sets/{_NAME}/event-destinations")): (
        "GetConfigurationSetEventDestinations"
    ),
    ("POST", re.compile(r"/v2/email/tenants/get")): "GetTenant",
    ("POST", re.compile(r"/v2/email/vdm/recommendations")): "ListRecommendations",
}

_WHAT = {
    "GetEmailIdentity": "Email identity",
    "GetConfigurationSet": "Configuration set",
    "GetConfigurationSetEventDestinations": "Configuration set",
    "GetTenant": "Tenant",
}


class Asked(NamedTuple):
    """A reading call."""

    operation: Reading
    name: str
    """What it asks about; empty where it lists."""


def asked(request: Request) -> Asked | None:
    """What a request reads; None where it is none of these. Raises RefusedError."""
    path = request.target.partition("?")[0]
    for (method, pattern), operation in _PATHS.items():
        match = pattern.fullmatch(path) if method == request.method else None
        if match is None:
            continue
        if operation == "GetTenant":
            return Asked(operation, _tenant_name(request.body))
        return Asked(operation, unquote(match[1]) if match.groups() else "")
    return None


def answered(asked: Asked, resources: Resources) -> dict[str, Any]:
    """The answer's document. Raises RefusedError where there is no such thing."""
    found = resources.described(asked.operation, asked.name)
    if found is None:
        what = _WHAT[asked.operation]
        raise RefusedError("NotFoundException", f"{what} <{asked.name}> does not exist.")
    return found


class Guard:
    """Refuses what the credentials may not call, and calls that come too fast."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def admit(self, operation: Reading, resources: Resources, now: float) -> None:
        """Take note of a call. Raises RefusedError."""
        if operation in resources.denied:
            raise RefusedError(
                "AccessDeniedException",
                f"User: arn:aws:iam::123456789012:user/mailer is not authorized to perform: "
                f"ses:{operation}",
            )
        if not resources.control_calls_per_s:
            return
        bucket = self._buckets.setdefault(operation, Bucket())
        bucket.change(now, resources.control_calls_per_s)
        bucket.refill(now)
        if not bucket.admits(1):
            raise RefusedError("TooManyRequestsException", "Rate exceeded")
        bucket.take(1)


def _tenant_name(body: bytes) -> str:
    try:
        name = orjson.loads(body)["TenantName"]
    except (ValueError, KeyError, TypeError):
        name = None
    if not isinstance(name, str) or not name:
        raise RefusedError("BadRequestException", "TenantName must not be null")
    return name
