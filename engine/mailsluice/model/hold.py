"""Holds: why nothing is sent, as a code and a text. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailsluice.model.plain import plain

_AT = re.compile(
    r"[\uff20\ufe6b]|%(?:25)*40|&(?:#64|#x40|commat);|\\u0040|\s{0,3}[(\[{<]\s{0,3}at\s{0,3}[)\]}>]\s{0,3}",
    re.IGNORECASE,
)
"""The at sign, as it is written to escape filters and in URLs, HTML and JSON."""

_ADDRESS = re.compile(r"(\"[^\"@]*\"|(?<![^\s<>,;:\"])[^\s<>,;:\"]+)@[^\s<>,;:\"'()]+")
"""Matches an address. Anchored at the beginning of a word, so that long words are scanned once."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A cause, outside the recipients, for which a run, a mailing or an account sends nothing."""

    code: str
    """SES's, or one of `model.codes`."""
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"

    @classmethod
    def answered(cls, code: str | None, error: str | None) -> Hold:
        """Make the hold for an answer of SES, without the addresses that its text may quote."""
        text = error or "SES gave no further text"
        return cls(_for_people(code or ""), _for_people(text))

    @classmethod
    def recorded(cls, text: str) -> Hold:
        """Read a hold back from a journal, which stores `str(hold)`."""
        code, _, rest = text.partition(": ")
        return cls(code, rest)


def without_addresses(text: str) -> str:
    """Replace each address in a text for people and logs by `<address>`."""
    return _ADDRESS.sub("<address>", _AT.sub("@", text))


def _for_people(text: str) -> str:
    return plain(without_addresses(text))
