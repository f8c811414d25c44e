"""Signature Version 4: checks that a request was signed with the expected credentials.

It also signs what the emulator itself sends, to an emulated SQS.

Source: "Signature Version 4 signing process", AWS IAM user guide. The codes are those that SES v2
answers with: UnrecognizedClientException was seen for GetAccount (django-ses#283).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from calendar import timegm
from functools import lru_cache
from time import strptime
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import parse_qsl, quote

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from mailsluice.emulator.exchange import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailsluice.emulator.exchange import Request

SKEW_S = 300
"""Largest difference between a request's date and now, in seconds (SigV4, "signing date")."""

SERVICE = "ses"
"""Signing name of SES v2 (service model)."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_MISSING = "Missing Authentication Token"
_UNKNOWN = "The security token included in the request is invalid."
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS "
    "Secret Access Key and signing method. Consult the service documentation for details."
)
_authorization = re.compile(
    rf"{_ALGORITHM} +Credential=([^/,\s]+)/(\d{{8}})/([^/,\s]+)/([^/,\s]+)/aws4_request, *"
    r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})"
).fullmatch


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Credentials:
    """The credentials that requests must be signed with."""

    access_key_id: Annotated[str, Field(min_length=1)] = "AKIDEMULATOR"
    secret_access_key: Annotated[str, Field(min_length=1)] = "emulator-secret"  # noqa: S105 - opens nothing
    session_token: str | None = None


class Scope(NamedTuple):
    """The scope in the Authorization header."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


def verify(
    request: Request, credentials: Credentials, *, wall: float, region: str | None = None
) -> None:
    """Raise RefusedError (403) unless the request is signed with these credentials.

    `wall` is now, seconds since the epoch; a `region` of None takes any.
    """
    headers = request.headers
    scope = _scope(headers)
    _check_identity(scope, credentials, headers)
    date = headers.get("x-amz-date", "")
    _check_date(date, scope, wall)
    if scope.service != SERVICE or (region is not None and scope.region != region):
        raise RefusedError(
            "InvalidSignatureException",
            f"Credential should be scoped to a valid region and to service '{SERVICE}'.",
        )
    payload = hashlib.sha256(request.body).hexdigest()
    if headers.get("x-amz-content-sha256", payload) != payload:
        raise RefusedError("InvalidSignatureException", _MISMATCH)
    canonical = _canonical(request, scope.signed_headers, payload)
    expected = _sign(credentials.secret_access_key, scope, date, canonical)
    if not hmac.compare_digest(expected, scope.signature):
        raise RefusedError("InvalidSignatureException", _MISMATCH)


def authorization(request: Request, credentials: Credentials, *, region: str, service: str) -> str:
    """Return the Authorization header of a request to another server.

    It must have the headers host and x-amz-date already.
    """
    date = request.headers["x-amz-date"]
    signed = tuple(sorted(request.headers))
    scope = Scope(credentials.access_key_id, date[:8], region, service, signed, "")
    canonical = _canonical(request, signed, hashlib.sha256(request.body).hexdigest())
    within = f"{scope.access_key_id}/{scope.date}/{region}/{service}/aws4_request"
    return (
        f"{_ALGORITHM} Credential={within}, SignedHeaders={';'.join(signed)}, "
        f"Signature={_sign(credentials.secret_access_key, scope, date, canonical)}"
    )


def _scope(headers: Mapping[str, str]) -> Scope:
    text = headers.get("authorization")
    if not text:
        raise RefusedError("MissingAuthenticationTokenException", _MISSING)
    match = _authorization(text)
    if match is None:
        raise RefusedError(
            "IncompleteSignatureException",
            f"Authorization header requires {_ALGORITHM} with 'Credential', 'SignedHeaders' and "
            "'Signature' parameters.",
        )
    key, date, region, service, signed, signature = match.groups()
    scope = Scope(key, date, region, service, tuple(signed.split(";")), signature)
    if "host" not in scope.signed_headers or "x-amz-date" not in scope.signed_headers:
        raise RefusedError("InvalidSignatureException", "'host' and 'x-amz-date' must be signed.")
    return scope


def _check_identity(scope: Scope, credentials: Credentials, headers: Mapping[str, str]) -> None:
    if scope.access_key_id != credentials.access_key_id:
        raise RefusedError("UnrecognizedClientException", _UNKNOWN)
    if headers.get("x-amz-security-token") != credentials.session_token:
        raise RefusedError("UnrecognizedClientException", _UNKNOWN)


def _check_date(date: str, scope: Scope, wall: float) -> None:
    try:
        signed_at = _epoch(date)
    except ValueError:
        raise RefusedError("IncompleteSignatureException", "Date must be ISO-8601.") from None
    if not date.startswith(scope.date):
        raise RefusedError("InvalidSignatureException", "Date in Credential scope does not match.")
    if abs(wall - signed_at) > SKEW_S:
        word = "expired" if signed_at < wall else "not yet current"
        raise RefusedError("InvalidSignatureException", f"Signature {word}: {date}.")


@lru_cache(maxsize=16)
def _epoch(date: str) -> int:
    return timegm(strptime(date, "%Y%m%dT%H%M%SZ"))


def _canonical(request: Request, signed: tuple[str, ...], payload: str) -> str:
    path, query = _canonical_target(request.target)
    headers = request.headers
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed)
    return f"{request.method}\n{path}\n{query}\n{lines}\n{';'.join(signed)}\n{payload}"


@lru_cache(maxsize=16)
def _canonical_target(target: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return quote(path, safe="/-_.~"), "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs
    )


def _sign(secret: str, scope: Scope, date: str, canonical: str) -> str:
    within = f"{scope.date}/{scope.region}/{scope.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = f"{_ALGORITHM}\n{date}\n{within}\n{digest}"
    key = _signing_key(secret, scope.date, scope.region, scope.service)
    return hmac.digest(key, text.encode(), "sha256").hex()


@lru_cache(maxsize=16)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
