"""Signed links by which a recipient unsubscribes with one click (RFC 8058). Pure.

A link's token names the recipient by the store's hash, with the kind of mailing and the mail, and
is signed, so that no recipient can unsubscribe another. Answering a link needs neither a journal
nor the address. Only POST may unsubscribe: scanners of mail open every link by GET.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from typing import NamedTuple

from mailsluice.suppression.scopes import is_scope

VARIABLE = "unsubscribe_url"
"""The template's name for a recipient's link."""

EXAMPLE = "example"
"""Stands for the token where no recipient is meant: checks, previews, a mailing's defaults."""

LINK_HEADER = "list-unsubscribe"

PLACE = "{token}"
"""Placeholder of the token in a user's URL."""

SOURCE_CHARACTERS_MAX = 220
"""Longest source; a `mailsluice-id` tag has 216 at most."""

TOKEN_CHARACTERS_MAX = 620

URL_CHARACTERS_MAX = 360
"""With the token, less than the 995 that a header takes."""

_SIGNATURE_BYTES = 16
_VERSION = 1
_HEAD = struct.Struct(">BqB")
"""Version, hash, length of the scope."""


class Links:
    """Makes the links of one kind of mailing; `url` has `PLACE` in it, `key` is `Keys.links`."""

    def __init__(self, url: str, key: bytes, hash_: Callable[[str], int], scope: str) -> None:
        self._before, _, self._after = url.partition(PLACE)
        self._key = key
        self._hash = hash_
        self._scope = scope

    def __call__(self, address: str, source: str) -> str:
        """Return the link in a recipient's mail; `source` is the mail's `mailsluice-id`."""
        asked = Unsubscription(self._hash(address), self._scope, source)
        return f"{self._before}{token(self._key, asked)}{self._after}"


class Unsubscription(NamedTuple):
    """What a link asks for."""

    hash: int
    """The recipient's, by `Keys.hash`."""
    scope: str
    source: str
    """The `mailsluice-id` of the mail that the link was in."""


def token(key: bytes, asked: Unsubscription) -> str:
    """Make the token of a link: digits and letters of one case, which survive transport."""
    scope, source = asked.scope.encode(), asked.source.encode()
    body = _HEAD.pack(_VERSION, asked.hash, len(scope)) + scope + source
    return (body + _signature(key, body)).hex()


def read(key: bytes, text: str) -> Unsubscription | None:
    """Read a token; return None if it was not signed with this key."""
    if len(text) > TOKEN_CHARACTERS_MAX or not text.isalnum():
        return None
    try:
        signed = bytes.fromhex(text)
    except ValueError:
        return None
    body, signature = signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(key, body)) or len(body) < _HEAD.size:
        return None
    version, digest, size = _HEAD.unpack_from(body)
    scope, source = body[_HEAD.size :][:size], body[_HEAD.size + size :]
    try:
        found = Unsubscription(digest, scope.decode("ascii"), source.decode("ascii"))
    except UnicodeDecodeError:
        return None
    return found if version == _VERSION and is_scope(found.scope) else None


def headers(url: str) -> dict[str, str]:
    """Return the two headers that mail programs look for; `url` is the link with its token."""
    return {
        "List-Unsubscribe": f"<{url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def why_unusable(url: str) -> str | None:
    """Return what is wrong with a user's URL for links; None if nothing is."""
    if not url.startswith("https://"):
        return "it must begin with https://: mail programs use no other link"
    if url.count(PLACE) != 1:
        return f"it must have {PLACE} in it, once: where the recipient's token goes"
    if not url.isascii() or any(char in url for char in '<>, \t\r\n"'):
        return "it must be a URL as it stands in a header: ASCII, without blanks, commas, < or >"
    if len(url) > URL_CHARACTERS_MAX:
        return f"it is longer than {URL_CHARACTERS_MAX} characters"
    return None


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_SIGNATURE_BYTES]
