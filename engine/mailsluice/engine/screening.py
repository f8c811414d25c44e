"""Keeps suppressed recipients out of a stream: when they are taken in, and before each intent.

`Screening` is one store, asked by all streams of an engine; a `Screen` asks it for one stream. What
intake lets pass may be suppressed later, by any process. So each batch is looked at once more right
before its intent, which costs microseconds as long as nothing has changed since the engine began.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
from anyio import to_thread

from mailsluice.mailing import addresses
from mailsluice.model import Entry
from mailsluice.suppression.links import Links
from mailsluice.suppression.scopes import Suppression
from mailsluice.suppression.store import Suppressions


class Screening:
    """A store that is open. `blocks` is False where no thread may be waited for: virtual clocks."""

    def __init__(
        self, store: Suppressions, wall: Callable[[], float], *, blocks: bool = True
    ) -> None:
        self._store = store
        self._wall = wall
        self._blocks = blocks
        self._changed: set[int] | None = set()
        """Hashes that have changed since it was opened; None: too many to name."""
        self._lock = anyio.Lock(fast_acquire=True)

    @asynccontextmanager
    async def current(self) -> AsyncIterator[None]:
        """Have everything that any process has changed by now known within the block.

        The block awaits nothing: others wait for it. Raises StoreError.
        """
        async with self._lock:
            if self._store.is_stale:
                refresh = self._store.refresh
                news = await to_thread.run_sync(refresh) if self._blocks else refresh()
                self._changed = self._changed if news is not None else None
                if self._changed is not None and news:
                    self._changed |= news
            yield

    def links(self, url: str, scope: str) -> Links:
        """Return what makes the links of one kind of mailing; `url` has their place in it."""
        return Links(url, self._store.keys.links, self._store.hash, scope)

    def find(self, key: str, to: str | None) -> Suppression | None:
        """Return what keeps mail to an address back; within `current`. Raises StoreError."""
        return self._store.find(key, to, self._wall())

    def has_changed(self, key: str) -> bool:
        """Return True if an address may have been suppressed since this was opened."""
        return self._changed is None or self._store.hash(key) in self._changed

    @property
    def is_as_it_was(self) -> bool:
        """True if nothing has changed since this was opened."""
        return self._changed is not None and not self._changed


class Screen:
    """Asks for one stream; `to` is its kind of mailing, None for transactional messages."""

    def __init__(self, screening: Screening, to: str | None) -> None:
        self._screening = screening
        self._to = to
        self.current = screening.current

    def why(self, keys: Sequence[str]) -> str | None:
        """Return why a recipient with these addresses is suppressed; None if it is not.

        The addresses are as they are compared. Ask within `current`. Raises StoreError.
        """
        for key in keys:
            found = self._screening.find(key, self._to)
            if found is not None:
                return _said(found, len(keys))
        return None

    async def late(self, entries: Iterable[Entry]) -> dict[int, str]:
        """Return those of accepted recipients that are suppressed by now: why, by row.

        Raises StoreError.
        """
        async with self._screening.current():
            if self._screening.is_as_it_was:
                return {}
            found: dict[int, str] = {}
            for entry in entries:
                keys = [_key(text) for text in (*entry.to, *entry.cc, *entry.bcc)]
                if any(map(self._screening.has_changed, keys)) and (why := self.why(keys)):
                    found[entry.seq] = why
            return found


def _key(text: str) -> str:
    return addresses.plain_key(text) or addresses.normalise(text).key


def _said(found: Suppression, addresses_of_row: int) -> str:
    who = "it is" if addresses_of_row == 1 else f"one of its {addresses_of_row} addresses is"
    since = datetime.fromtimestamp(found.at, UTC)
    source = f" ({found.source})" if found.source else ""
    return f"{who} suppressed since {since:%Y-%m-%d %H:%M} UTC, {found.reason}{source}"
