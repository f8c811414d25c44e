"""The text of a hold: a code, and what was said about it."""

from __future__ import annotations

import re

from mailsluice.model.plain import plain

_AT = re.compile(
    r"[\uff20\ufe6b]|%(?:25)*40|&(?:#64|#x40|commat);|\\u0040|\s{0,3}[(\[{<]\s{0,3}at\s{0,3}[)\]}>]\s{0,3}",
    re.IGNORECASE,
)
"""The at sign, as it is written to escape filters and in URLs, HTML and JSON."""

_ADDRESS = re.compile(r"(\"[^\"@]*\"|(?<![^\s<>,;:\"])[^\s<>,;:\"]+)@[^\s<>,;:\"'()]+")
"""Anchored at the beginning of a word, so that a long one is looked at once."""


def hold_text(status: str, error: str | None) -> str:
    """Why a run is held, for people and logs: without the addresses that SES's text may quote."""
    return plain(without_addresses(f"{status}: {error or 'SES gave no further text'}"))


def without_addresses(text: str) -> str:
    """A text for people and logs, in which `<address>` stands for each address."""
    return _ADDRESS.sub("<address>", _AT.sub("@", text))
