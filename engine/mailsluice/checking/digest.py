"""What was approved, as one hash whose quarters say which part has changed. Pure.

Each quarter is the beginning of the SHA-256 of one part, 64 bits: the hash recognises what it was
made of, and `differences` names the parts that are others now.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

import orjson

QUARTER_CHARACTERS = 16

PARTS = ("the mailing", "the template", "the list", "the counts")

_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch


class Approved(NamedTuple):
    """What a digest is made of."""

    mailing: bytes
    """The request without its entries, and how the list is read."""
    template: tuple[str | None, ...]
    """Subject, text and HTML as SES has them."""
    list_digest: str
    """Digest all of the list's bytes."""
    counts: dict[str, int]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        parts = (
            self.mailing,
            orjson.dumps(tuple(self.template)),
            self.list_digest.encode(),
            orjson.dumps(self.counts, option=orjson.OPT_SORT_KEYS),
        )
        return "".join(hashlib.sha256(part).hexdigest()[:QUARTER_CHARACTERS] for part in parts)


def is_digest(text: str) -> bool:
    """Whether it has a digest's form."""
    return _is_digest(text) is not None


def differences(approved: str, now: str) -> list[str]:
    """Return the parts that have changed."""
    return [
        name
        for number, name in enumerate(PARTS)
        if _quarter(approved, number) != _quarter(now, number)
    ]


def _quarter(digest: str, number: int) -> str:
    return digest[number * QUARTER_CHARACTERS : (number + 1) * QUARTER_CHARACTERS]
