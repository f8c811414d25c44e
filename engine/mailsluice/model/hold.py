"""Why nothing is sent: a code, and what was said about it."""

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
"""Anchored at the beginning of a word, so that a long one is looked at once."""


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
        """The hold for an answer of SES, without the addresses that its text may quote."""
        text = error or "SES gave no further text"
        return cls(_for_people(code or ""), _for_people(text))

    @classmethod
    def recorded(cls, text: str) -> Hold:
        """The hold that a journal has as `str(hold)`."""
        code, _, rest = text.partition(": ")
        return cls(code, rest)


def without_addresses(text: str) -> str:
    """A text for people and logs, in which `<address>` stands for each address."""
    return _ADDRESS.sub("<address>", _AT.sub("@", text))


def _for_people(text: str) -> str:
    return plain(without_addresses(text))
