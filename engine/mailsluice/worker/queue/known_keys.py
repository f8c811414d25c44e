"""The keys of messages that were sent, for as long as the queue may give one of them again."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from mailsluice.journal import Record

SHARE_MAX = 100_000
"""Keys in one share: 0.8 MB, which each new key moves half of."""


GAP_MAX_S = 3_600.0
"""A longer time between two records counts as this: it is a pause, or a clock that was set."""


class JournalClock:
    """How long ago a key was sent, by the records of the journals since then and by nothing else.

    The time of day at a start may be days off, or have been when a journal was written. So time is
    what passed between one record and the next, and no gap counts for more than `GAP_MAX_S`: a key
    is known for too long after a pause, and never forgotten because a clock jumped. Journals are
    read from the newest to the oldest.
    """

    def __init__(self) -> None:
        self.age_s = 0.0
        """Of the last record of the journal that is read, or was read last."""
        self._span_s = 0.0
        """From the first to the last record of that journal."""
        self._first_at: float | None = None
        """Of the journal before it, which is newer: when it was begun."""

    @property
    def oldest_s(self) -> float:
        """How old everything is at least that the journals not read yet have."""
        return self.age_s + self._span_s

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records of the next journal, as they are."""
        newer, first_at, last_at, span_s = self._first_at, None, None, 0.0
        for record in records:
            if last_at is not None:
                span_s += _gap(last_at, record.at)
            first_at, last_at = record.at if first_at is None else first_at, record.at
            yield record
        if first_at is None or last_at is None:
            return  # nothing has ever been in it
        self.age_s = self.oldest_s + (0.0 if newer is None else _gap(last_at, newer))
        self._span_s, self._first_at = span_s, first_at


def _gap(before: float, after: float) -> float:
    return min(max(0.0, after - before), GAP_MAX_S)


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
