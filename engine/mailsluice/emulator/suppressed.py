"""The account's suppression list: List-, Get-, Put- and DeleteSuppressedDestination. Pure.

Shapes: SES v2 API reference. Addresses keep their case and are found by it, as in SES.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

import orjson
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from mailsluice.emulator.exchange import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE_MAX = 1_000
"""Addresses per page ("PageSize", API reference)."""

Reason = Literal["BOUNCE", "COMPLAINT"]


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Suppressed:
    """An address on the list."""

    reason: Reason = "BOUNCE"
    at: float = 0.0
    """LastUpdateTime, seconds since the epoch."""

    def described(self, address: str) -> dict[str, Any]:
        """Return the summary of a page."""
        return {"EmailAddress": address, "Reason": self.reason, "LastUpdateTime": self.at}


def page(listed: Mapping[str, Suppressed], query: str) -> dict[str, Any]:
    """Answer ListSuppressedDestinations. Raises RefusedError."""
    asked = parse_qs(query)
    try:
        size = int(asked.get("PageSize", ["100"])[0])
        first = int(asked.get("NextToken", ["0"])[0])
    except ValueError:
        raise RefusedError("BadRequestException", "NextToken or PageSize is not valid") from None
    if not 1 <= size <= PAGE_MAX:
        raise RefusedError("BadRequestException", f"PageSize must be from 1 to {PAGE_MAX}")
    since = asked.get("StartDate", [""])[0]
    found = [
        each.described(address)
        for address, each in listed.items()
        if not since or each.at >= _moment(since)
    ]
    answer: dict[str, Any] = {"SuppressedDestinationSummaries": found[first : first + size]}
    if first + size < len(found):
        answer["NextToken"] = str(first + size)
    return answer


def put(listed: Mapping[str, Suppressed], body: bytes, wall: float) -> dict[str, Suppressed]:
    """Return the list after PutSuppressedDestination. Raises RefusedError."""
    asked = orjson.loads(body)
    if asked.get("Reason") not in {"BOUNCE", "COMPLAINT"} or "@" not in asked["EmailAddress"]:
        raise RefusedError("BadRequestException", "EmailAddress or Reason is not valid")
    return {**listed, asked["EmailAddress"]: Suppressed(reason=asked["Reason"], at=wall)}


def without(listed: Mapping[str, Suppressed], address: str) -> dict[str, Suppressed]:
    """Return the list after DeleteSuppressedDestination. Raises RefusedError."""
    if address not in listed:
        raise RefusedError("NotFoundException", "The address is not on the suppression list.")
    return {each: told for each, told in listed.items() if each != address}


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
