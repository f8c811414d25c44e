"""Every journal there is, for the one suite that all of them must pass. A new one is one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mailsluice.journal import Journal
from mailsluice.journal.memory import MemoryJournal
from mailsluice.journal.sqlite import SqliteJournal


class Backend(Protocol):
    """A place for one journal."""

    def open(self) -> Journal:
        """The journal, made anew the first time; closed before it is opened again."""

    def crash(self) -> Journal:
        """The process dies without closing it; what the next one opens."""


class _Memory:
    """It lives as long as its process: there is no other one to open it."""

    def __init__(self, _: Path) -> None:
        self._journal = MemoryJournal()

    def open(self) -> Journal:
        return self._journal

    def crash(self) -> Journal:
        return self._journal


class _Sqlite:
    """A file; a crash leaves it as it is, with its log."""

    def __init__(self, folder: Path) -> None:
        self._root = self._folder = folder
        self._crashes = 0

    def open(self) -> Journal:
        return SqliteJournal.open(self._folder / "run.journal")

    def crash(self) -> Journal:
        self._crashes += 1
        left = self._root / f"crash-{self._crashes}"
        left.mkdir()
        for file in self._folder.glob("run.journal*"):
            shutil.copy(file, left)
        self._folder = left
        return self.open()


BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "memory": _Memory,
    "sqlite": _Sqlite,
}
