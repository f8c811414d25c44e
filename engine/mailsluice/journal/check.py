"""SQLite's own check of a journal's pages, in a thread beside the reader.

Seals show that records were changed, but not that the last ones are missing. The check takes as
long as reading everything once more. SQLite runs it without Python's lock, so that it costs a
reader nothing if there is a second core.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable

from mailsluice.journal.schema import CHECK_PAGES


class PagesCheck:
    """A check that has started; `result` waits for its end, `close` abandons it."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connection = connect()
        self._problem: str | sqlite3.Error = "it was given up"
        self._thread = threading.Thread(target=self._run, name="mailsluice pages", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._problem = self._connection.execute(CHECK_PAGES).fetchone()[0]
        except sqlite3.Error as error:
            self._problem = error

    def result(self) -> str:
        """Return SQLite's verdict: "ok", or what is wrong. Raises sqlite3.Error."""
        self._thread.join()
        if isinstance(self._problem, sqlite3.Error):
            raise self._problem
        return self._problem

    def close(self) -> None:
        """End the check, however far it is."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.interrupt()
        self._thread.join()
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
