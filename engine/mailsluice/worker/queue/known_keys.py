"""The keys of sent messages, kept for as long as the queue may deliver one of them again."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from mailsluice.journal import Record

SHARE_MAX = 100_000
"""Keys in one share: 0.8 MB, half of which is moved for each new key."""


GAP_MAX_S = 3_600.0
"""A longer time between two records counts as this: it is a pause, or a clock that was set."""


class JournalClock:
    """Tells how long ago a key was sent, only by the records of the journals since then.

    The wall clock may be days off at a start, or may have been when a journal was written. So time
    is what passed between one record and the next, and no gap counts for more than `GAP_MAX_S`:
    after a pause keys are known for too long, but none is forgotten because a clock jumped. Read
    journals from the newest to the oldest.
    """

    def __init__(self) -> None:
        self.age_s = 0.0
        """Age of the last record of the journal being read, or read last, seconds."""
        self._span_s = 0.0
        """Time from the first to the last record of that journal, seconds."""
        self._first_at: float | None = None
        """When the journal that was read before this one began."""

    @property
    def oldest_s(self) -> float:
        """Return the minimum age of every record in the journals not read yet, seconds."""
        return self.age_s + self._span_s

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass on the records of the next journal, and note their times."""
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
        """When the share was started; None if it takes no more keys."""
        self.last_at = last_at
        """When the newest of its keys was sent."""
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
    """Keys, each known for `retention_s` after its message was sent, at most three times as long.

    Times are seconds on a monotonic clock. Eight bytes are kept of each key: two of 10^7 collide
    with a probability of three in a million.
    """

    def __init__(self, retention_s: float) -> None:
        self._retention_s = retention_s
        self._shares: list[_Share] = []
        """All shares; the last one takes new keys."""

    def __contains__(self, key: str) -> bool:
        return any(key in each for each in self._shares)

    def __len__(self) -> int:
        return sum(map(len, self._shares))

    def add(self, key: str, now: float) -> None:
        """Add a new key: its message was sent or is in doubt."""
        self._share(now).add(key, now)

    def add_all(self, keys: Iterable[str], last_at: float) -> None:
        """Add keys read from an older journal; `last_at` is when the newest of them was sent."""
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
