"""The recent rate of a counter; a mean since the beginning would hide what happens now. Pure."""

from __future__ import annotations

from collections import deque


class RecentRate:
    """A counter's rate per second, over the last `window_s` seconds or the last two readings."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, at: float, total: int) -> None:
        """Record that the counter was at `total` at the time `at`, in seconds of any clock."""
        self._seen.append((at, total))
        while len(self._seen) > 2 and at - self._seen[0][0] > self._window_s:  # noqa: PLR2004  # a rate wants two
            self._seen.popleft()

    @property
    def per_s(self) -> float:
        """Return the rate at the last reading; 0 if there were fewer than two."""
        if not self._seen:
            return 0.0
        (began, before), (now, total) = self._seen[0], self._seen[-1]
        return (total - before) / (now - began) if now > began else 0.0
