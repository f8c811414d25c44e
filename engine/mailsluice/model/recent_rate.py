"""How fast something has gone of late: the mean since the beginning hides what happens now."""

from __future__ import annotations

from collections import deque


class RecentRate:
    """Per second, over the last `window_s` seconds, or since what was shown last but one."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, at: float, total: int) -> None:
        """At `at`, in seconds on any clock, it was `total` altogether."""
        self._seen.append((at, total))
        while len(self._seen) > 2 and at - self._seen[0][0] > self._window_s:  # noqa: PLR2004  # a rate wants two
            self._seen.popleft()

    @property
    def per_s(self) -> float:
        """At the last moment that was shown; 0 where there were not two."""
        if not self._seen:
            return 0.0
        (began, before), (now, total) = self._seen[0], self._seen[-1]
        return (total - before) / (now - began) if now > began else 0.0
