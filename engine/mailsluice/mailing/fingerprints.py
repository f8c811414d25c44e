"""Fingerprints of rows: a few bytes that tell one recipient of a list from another. Pure.

In order a fingerprint is a CRC-32 of the normalised addresses, with the caller's key if there is
one: it only has to tell that a row is not the one expected there. By key it is a BLAKE2s of 64 bits
of the key, or of the addresses if there is no key: it has to tell a row from all the others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2s
from typing import cast

from mailsluice.journal import Addresses
from mailsluice.mailing import addresses
from mailsluice.model import Recipient
from mailsluice.sources import Row

ORDERED_BYTES = 4
"""Bytes of a fingerprint that is compared in its place: CRC-32."""

KEYED_BYTES = 8
"""Bytes of a fingerprint that finds a row: of n rows two collide with probability n²/2^65."""

_UNREADABLE = b"\0\0"
"""The text of a row without a readable recipient."""


def of(rows: Sequence[Row], width: int) -> bytes:
    """Join the rows' fingerprints of `width` bytes each. 0.2 µs per row in order, 0.6 µs by key."""
    return _joined(_texts(rows, width), width) if width else b""


def keyless(row: Row) -> bytes | None:
    """Return the fingerprint that a row with a key would have without it."""
    with suppress(Exception):  # a caller's sequence may raise anything
        if row.recipient is not None and row.recipient.key:
            text = _all_addresses(row.recipient).encode(errors="surrogatepass")
            return _joined([text], KEYED_BYTES)
    return None


def of_attempted(to: Addresses, width: int) -> bytes:
    """Return a row's fingerprint from the record of its attempts."""
    return _joined([_text_of(to, width)], width)


def _joined(texts: Sequence[bytes], width: int) -> bytes:
    if width == ORDERED_BYTES:
        return struct.pack(f"<{len(texts)}I", *map(zlib.crc32, texts))
    return b"".join([blake2s(text, digest_size=KEYED_BYTES).digest() for text in texts])


def _texts(rows: Sequence[Row], width: int) -> list[bytes]:
    """Return the text to hash for each row, all at once if nothing about them is unusual."""
    by_key = width == KEYED_BYTES
    with suppress(Exception):  # a row without a recipient, or a caller's own type
        texts = [
            # A key is never taken for an address, which has no NUL.
            (f"\0{key}" if by_key else f"\0{key}\0{to.strip().lower()}")
            if key
            else to.strip().lower()
            for _, (to, cc, bcc, _, _, _, key), _, _ in cast(
                "Sequence[tuple[int, Recipient, None, None]]", rows
            )
            if type(to) is str and not (cc or bcc)
        ]
        joined = "\n".join(texts)
        usual = len(texts) == len(rows) == joined.count("\n") + 1
        # Display names and international domains have more than one form.
        if usual and joined.isascii() and "<" not in joined:
            return joined.encode().split(b"\n")
    return [_text_of(row.recipient, width) for row in rows]


def _text_of(recipient: Recipient | Addresses | None, width: int) -> bytes:
    """Return the text to hash for one recipient, from a source or a journal."""
    with suppress(Exception):  # a caller's sequence may raise anything
        if recipient is not None:
            if not recipient.key:
                text = _all_addresses(recipient)
            elif width == KEYED_BYTES:
                text = f"\0{recipient.key}"
            else:
                text = f"\0{recipient.key}\0{_all_addresses(recipient)}"
            return text.encode(errors="surrogatepass")
    return _UNREADABLE


def _all_addresses(recipient: Recipient | Addresses) -> str:
    fields = (recipient.to, recipient.cc, recipient.bcc)
    return "\t".join(map(_listed, fields)).rstrip("\t")


def _listed(field: str | Iterable[str] | None) -> str:
    return ",".join(map(_normal, [field] if isinstance(field, str) else field or ()))


def _normal(text: str) -> str:
    plain = text.strip().lower()
    if plain and not (plain.isascii() and "<" not in plain):
        with suppress(addresses.AddressError):
            return addresses.normalise(text).key
    return plain
