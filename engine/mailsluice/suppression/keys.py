"""Addresses as keyed hashes of 64 bits.

A plain hash of an address can be guessed: there are lists of all addresses in the world. The key
lies in a file of its own beside the store, mode 0600; the store alone reveals no address.
Two of n addresses share a hash with a probability of n² / 2^65: 2.7 in a million for 10^7.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from pathlib import Path

from mailsluice.database import appear, translated
from mailsluice.model.errors import StoreError

KEY_BYTES = 32


class Keys:
    """Keys that are derived from a store's key."""

    def __init__(self, key: bytes) -> None:
        self._hash = blake2b(key=_derived(key, b"hash"), digest_size=8)
        self.links = _derived(key, b"links")
        """The key with which `links` signs; it hashes nothing."""
        self.check = _derived(key, b"check")[:8]
        """Says whether a key is this one, and nothing else."""

    def hash(self, address: str) -> int:
        """Hash an address, in any case, to a signed integer, as SQLite has them."""
        hashing = self._hash.copy()  # half the price of a new one
        hashing.update(address.lower().encode())
        return int.from_bytes(hashing.digest(), "big", signed=True)


def made(path: Path) -> Keys:
    """Create the key in a new file, or take the one that an interrupted process has left."""
    with translated(path):
        if not path.exists():
            appear(path, lambda new: new.write_bytes(secrets.token_bytes(KEY_BYTES)))
    return read(path)


def read(path: Path) -> Keys:
    """Read the key in that file. Raises StoreError."""
    if not path.exists():
        raise StoreError(
            f"{path}: the key is missing, without which nobody can tell who is on the list; "
            "restore it from a copy"
        )
    with translated(path):
        key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise StoreError(f"{path}: it has {len(key)} bytes, and a key has {KEY_BYTES}; restore it")
    return Keys(key)


def _derived(key: bytes, use: bytes) -> bytes:
    return blake2b(key, digest_size=32, person=b"mailsluice-" + use[:5]).digest()
