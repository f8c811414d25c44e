"""The keys of messages that were sent, for as long as the queue may give one of them again."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

SHARE_MAX = 100_000
"""Keys in one share: 0.8 MB, which each new key moves half of."""


class _Share:
    """Some keys by their hash, 64 bits each, sorted."""

    def __init__(self, keys: Iterable[str], begun_at: float | None, last_at: float) -> None:
        self.begun_at = begun_at
        """None where it takes no more."""
        self.last_at = last_at
        """When the last of them was sent."""
        self._hashes = array("q", sorted(map(hash, keys)))

    def __contains__(self, key: str) -> bool:
        place = bisect_left(self._hashes, hash(key))
        return place < len(self._hashes) and self._hashes[place] == hash(key)

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, key: str, now: float) -> None:
        self._hashes.insert(bisect_left(self._hashes, hash(key)), hash(key))
        self.last_at = now


class Keys:
    """Each is known for `retention_s` after it was sent; up to three times that, while others come.

    Times are seconds on a clock that nobody sets. Of each key eight bytes are kept: that two of
    10^7 look alike happens three times in a million.
    """

    def __init__(self, retention_s: float) -> None:
        self._retention_s = retention_s
        self._shares: list[_Share] = []
        """The one that takes more is the last."""

    def __contains__(self, key: str) -> bool:
        return any(key in each for each in self._shares)

    def __len__(self) -> int:
        return sum(map(len, self._shares))

    def add(self, key: str, now: float) -> None:
        """It was not known, and has been sent, or may have been."""
        self._share(now).add(key, now)

    def add_all(self, keys: Iterable[str], last_at: float) -> None:
        """These have, the last of them then."""
        self._shares.insert(0, _Share(keys, None, last_at))

    def _share(self, now: float) -> _Share:
        last = self._shares[-1] if self._shares else None
        if (
            last is None
            or last.begun_at is None
            or now - last.begun_at >= self._retention_s
            or len(last) >= SHARE_MAX
        ):
            since = now - self._retention_s
            self._shares = [each for each in self._shares if each.last_at > since]
            last = _Share((), now, now)
            self._shares.append(last)
        return last
