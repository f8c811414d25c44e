"""How fast something has gone of late: the mean since the beginning hides what happens now."""

from __future__ import annotations

from collections import deque


class RecentRate:
    """Per second, over the last `window_s` seconds of what it was shown, or since the first."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, at: float, total: int) -> None:
        """At `at`, in seconds on any clock, it was `total` altogether."""
        self._seen.append((at, total))
        # One from before the window stays: what came since then came in the window.
        while len(self._seen) > 1 and self._seen[1][0] <= at - self._window_s:
            self._seen.popleft()

    @property
    def per_s(self) -> float:
        """At the last moment that was shown; 0 where there were not two."""
        if not self._seen:
            return 0.0
        (began, before), (now, total) = self._seen[0], self._seen[-1]
        seconds = min(now - began, self._window_s)
        return (total - before) / seconds if seconds > 0 else 0.0
