"""Remembers addresses or keys that came earlier in a run, in 7-8 bytes each. Pure."""

from __future__ import annotations

_BUCKET_BITS = 16
_BUCKETS = 1 << _BUCKET_BITS
_RECORD_BYTES = 6
"""Bytes kept per text: the 48 bits of its hash that do not choose the bucket."""
_RECORD_MASK = (1 << (8 * _RECORD_BYTES)) - 1


class Seen:
    """Remembers texts by a 64-bit hash, for one process.

    A set of 10^7 strings takes over a gigabyte; this takes about 70 MB. Two texts of the same hash
    are taken for one: with n texts the probability that this happens at all is n² / 2^65, which is
    2.7e-6 for 10^7. Whoever asks lists the second as a duplicate, so even then nothing is silent.

    The hash is Python's own of `str` (SipHash, keyed anew in every process), so a list cannot be
    written to provoke collisions, and nothing here may be stored.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets = [b""] * _BUCKETS

    def __len__(self) -> int:
        return sum(map(len, self._buckets)) // _RECORD_BYTES

    def __contains__(self, text: str) -> bool:
        digest = hash(text)
        record = (digest >> _BUCKET_BITS & _RECORD_MASK).to_bytes(_RECORD_BYTES, "little")
        bucket = self._buckets[digest & (_BUCKETS - 1)]
        at = bucket.find(record)
        while at >= 0 and at % _RECORD_BYTES:  # as in `add`
            at = bucket.find(record, at + 1)
        return at >= 0

    def add(self, text: str) -> bool:
        """Remember `text`. Return True if it is new."""
        digest = hash(text)
        record = (digest >> _BUCKET_BITS & _RECORD_MASK).to_bytes(_RECORD_BYTES, "little")
        index = digest & (_BUCKETS - 1)
        bucket = self._buckets[index]
        at = bucket.find(record)
        # A hit that begins inside a record is made of parts of two: it says nothing.
        while at >= 0 and at % _RECORD_BYTES:
            at = bucket.find(record, at + 1)
        if at >= 0:
            return False
        # A new object, of a kilobyte at 10^7 texts: less time and memory than one that grows.
        self._buckets[index] = bucket + record
        return True


class Mailed:
    """Recipients that other runs have mailed, by address or by key, as in this run.

    By key, a recipient that has no key here or had none there is known by its address: nothing else
    can tell that it is the same.
    """

    def __init__(self, *, by_key: bool) -> None:
        self._by_key = by_key
        self._names = Seen()

    def add(self, address: str, key: str | None) -> None:
        """Remember one recipient."""
        if not (self._by_key and key):
            self._names.add(address)
        else:
            # A key is never taken for an address, which has no NUL.
            self._names.add(f"\0{key}")
            self._names.add(f"\0\0{address}")

    def has(self, address: str, key: str | None) -> bool:
        """Return True if this recipient is among them."""
        by_key = f"\0{key}" if key else f"\0\0{address}"
        return address in self._names or (self._by_key and by_key in self._names)
