"""A folder as a queue of mailings, by atomic renames: inbox/ → working/ → done/ or failed/.

Beside them messages/ and quarantine/, for what comes from a queue.

One mailing is one sub-folder: a mailing file, its lists, and later its journal and report. Put it
together under a name that begins with a dot, and rename it when it is whole: what is in the inbox
is taken. Every step is one rename, so that a crash leaves a mailing in one place, and of two
workers on one folder one gets it.
"""

from __future__ import annotations

import enum
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import orjson

from mailsluice.errors import ConfigurationError
from mailsluice.worker.queue import Received

logger = logging.getLogger(__name__)

JOURNAL = "mailing.journal"
MESSAGE = "message.json"
"""In place of a mailing file, where the mailing came from a queue."""
REPORT = "report.json"


class Mark(enum.StrEnum):
    """What an operator has said of a mailing, or of all: an empty file of that name."""

    PAUSED = "paused"
    CANCELLED = "cancelled"


class Folder:
    """The folders below one path. Its methods block for as long as the disk takes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages = path / "messages"
        """Journals of messages from a queue."""
        self._warned: set[str] = set()
        self._inbox = path / "inbox"
        self._working = path / "working"
        self._done = path / "done"
        self._failed = path / "failed"
        self._quarantine = path / "quarantine"

    def prepare(self) -> None:
        """Make what is missing. Raises ConfigurationError."""
        try:
            for each in (
                self._inbox,
                self._working,
                self._done,
                self._failed,
                self.messages,
                self._quarantine,
            ):
                each.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"[folder] path: {error.filename}: {error.strerror}; name a folder that this "
                "process may write"
            ) from error

    def claim(self) -> None:
        """Move all that is in the inbox to working/, as far as nobody else is quicker."""
        for found in _folders(self._inbox):
            if not _is_text(found.name):
                self._warn_once(found, "its name is not UTF-8")
                continue
            try:
                found.rename(_free(self._working / found.name))
            except FileNotFoundError:
                continue  # another worker has it
            except OSError as error:
                self._warn_once(found, error.strerror or str(error))
        for stray in self._inbox.iterdir():
            if not stray.name.startswith(".") and not stray.is_dir():
                self._warn_once(stray, "a mailing is a folder of its own, with one mailing file")

    def put_to_work(self, name: str, message: str) -> Path | None:
        """A mailing that came as a message, in working/; None where it has been sent, or cancelled.

        What failed before anything was sent may come again: it is taken from failed/, so that there
        is one place for each name. Raises OSError.
        """
        place, failed = self._working / name, self._failed / name
        for found in (place, failed):
            if found.exists() and not (found / MESSAGE).exists():
                why = "a mailing of that name was dropped into the inbox"
                raise FileExistsError(None, why, str(found))
        begun = (failed / JOURNAL).exists() or Mark.CANCELLED in self.marks(failed)
        if (self._done / name).exists() or begun:
            return None
        if not place.exists():
            made = self._working / f".{name}"
            if failed.exists():
                failed.rename(made)
            made.mkdir(exist_ok=True)
            (made / REPORT).unlink(missing_ok=True)
            _write(made / MESSAGE, message.encode())
            made.rename(place)
        return place

    def quarantine(self, received: Received, reason: str) -> None:
        """Keep a message that can never be sent, and why. Raises OSError."""
        kept = {"reason": reason, "body": received.body, "attributes": received.attributes}
        text = orjson.dumps(kept, default=repr, option=orjson.OPT_INDENT_2)
        _write(self._quarantine / f"{received.id}.json", text)

    def mark(self, path: Path, mark: Mark) -> None:
        """Durable on return. Raises OSError."""
        _write(path / mark, b"")

    def unmark(self, path: Path, mark: Mark) -> None:
        """Raises OSError."""
        (path / mark).unlink(missing_ok=True)

    def marks(self, path: Path) -> set[Mark]:
        """Those that are there."""
        return {mark for mark in Mark if (path / mark).exists()}

    def _warn_once(self, path: Path, why: str) -> None:
        if path.name not in self._warned:
            self._warned.add(path.name)
            shown = path.name.encode(errors="replace").decode()
            logger.warning("inbox/%s is not taken: %s", shown, why)

    def claimed(self) -> list[Path]:
        """What is in working/, whoever has put it there, the oldest first."""
        return sorted(_folders(self._working), key=lambda each: (each.stat().st_mtime, each.name))

    def put_away(self, mailing: Path, report: bytes, *, done: bool, begun: bool) -> Path:
        """Write the report into it and move it to done/ or failed/; where it is then.

        `begun`: something of it is in its journal; the journal of another is not kept in failed/.
        """
        _write(mailing / REPORT, report)
        if not (done or begun):
            for each in mailing.glob(f"{JOURNAL}*"):
                each.unlink()
        place = _free((self._done if done else self._failed) / mailing.name)
        return mailing.rename(place)


def mailing_file(mailing: Path) -> Path:
    """The one mailing file in a mailing's folder. Raises ConfigurationError."""
    found = sorted(each for each in mailing.glob("*.toml") if each.is_file())
    if len(found) != 1:
        raise ConfigurationError(
            f"{mailing.name}: a mailing's folder holds one mailing file (*.toml), and not "
            f"{len(found)}"
        )
    return found[0]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folders(path: Path) -> Iterator[Path]:
    return (each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))


def _free(place: Path) -> Path:
    """That path, or the first free one like it, as in name-2."""
    number = 1
    free = place
    while free.exists():
        number += 1
        free = place.with_name(f"{place.name}-{number}")
    return free


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    begun = path.with_name(f".{path.name}")
    with begun.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    begun.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
