"""A folder as a queue of mailings, by atomic renames: inbox/ → working/ → done/ or failed/.

Beside them are messages/ and quarantine/, for messages from a queue.

One mailing is one sub-folder: a mailing file, its lists, and later its journal and report. Put it
together under a name that begins with a dot, and rename it when it is complete: the worker takes
every other folder in the inbox. Each step is one rename, so that a crash leaves a mailing in one
place, and only one of two workers on one folder gets it.
"""

from __future__ import annotations

import enum
import filecmp
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from mailsluice.model.errors import ConfigurationError
from mailsluice.ses.aws.sqs import Received

logger = logging.getLogger(__name__)

JOURNAL = "mailing.journal"
MESSAGE = "message.json"
"""The file that takes the place of a mailing file if the mailing came from a queue."""
REPORT = "report.json"

PRIVATE, PRIVATE_FOLDER = 0o600, 0o700
"""File modes for files and folders that hold addresses, as for journals."""


_SENT_BEFORE = (
    "nothing was sent: {where} is the same mailing (its files have the same content), and {remedy}"
)

_DONE = (
    "was sent. To send it to everybody once more, drop it under another name; the next mailing has "
    "another content or another name"
)

_REMEDIES = {
    "working": "is being sent; wait for its report",
    "done": _DONE,
    "failed": "was started before. To go on with it, move that folder back into the inbox",
}


class Refused(NamedTuple):
    """A mailing in the inbox that is refused."""

    path: Path
    why: str


class Mark(enum.StrEnum):
    """An operator's order about one mailing or all: an empty file of that name."""

    PAUSED = "paused"
    CANCELLED = "cancelled"


class Folder:
    """The folders below one path. Its methods block on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages = path / "messages"
        """Journals of messages from a queue."""
        self._said: set[str] = set()
        self._inbox = path / "inbox"
        self._working = path / "working"
        self._done = path / "done"
        self._failed = path / "failed"
        self._quarantine = path / "quarantine"

    def prepare(self) -> None:
        """Create missing folders. Raises ConfigurationError."""
        try:
            for each in (self._inbox, self._working, self._done, self._failed):
                each.mkdir(parents=True, exist_ok=True)
            for each in (self.messages, self._quarantine):
                each.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
                with suppress(PermissionError):  # its owner decides
                    each.chmod(PRIVATE_FOLDER)
        except OSError as error:
            raise ConfigurationError(
                f"[folder] path: {error.filename}: {error.strerror}; name a folder that this "
                "process may write"
            ) from error

    def claim(self) -> list[Refused]:
        """Move mailings from inbox/ to working/, unless another worker is quicker.

        Mailings whose name and content were sent or started before stay; they are returned.
        """
        refused = []
        for found in _folders(self._inbox):
            if found.is_symlink():
                self._say_once(found, "it is a link; a mailing is a folder of its own")
                continue
            if not _is_text(found.name):
                self._say_once(found, "its name is not UTF-8")
                continue
            try:
                if (why := self._sent_before(found)) is not None:
                    refused.append(Refused(found, why))
                    continue
                found.rename(_free(self._working / found.name))
            except FileNotFoundError:
                continue  # another worker was quicker
            except OSError as error:
                self._say_once(found, error.strerror or str(error), logging.WARNING)
        for stray in self._inbox.iterdir():
            if not stray.name.startswith(".") and not stray.is_dir():
                self._say_once(stray, "a mailing is a folder of its own, with one mailing file")
        return refused

    def _sent_before(self, found: Path) -> str | None:
        """Return why a mailing would be sent twice: one like it was started before.

        A mailing that comes with a journal carries on where the journal stopped.
        """
        if os.path.lexists(found / JOURNAL):
            return None
        others = [
            other
            for place in (self._working, self._done, self._failed)  # as a mailing moves
            for other in _of_name(place / found.name)
            if place != self._failed or (other / JOURNAL).exists()
        ]
        for other in others:
            if _same_content(found, other):
                where = other.relative_to(self.path)
                return _SENT_BEFORE.format(where=where, remedy=_REMEDIES[other.parent.name])
        for other in others[:1]:
            where = other.relative_to(self.path)
            logger.info(
                "inbox/%s is another mailing than %s, and has its own journal", found.name, where
            )
        return None

    def put_to_work(self, name: str, message: str) -> Path | None:
        """Put a mailing from the queue into working/; None if it was sent or cancelled before.

        A mailing that failed before anything was sent may come again: it is moved from failed/, so
        that each name is in one place. Raises OSError.
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
            made.mkdir(PRIVATE_FOLDER, exist_ok=True)
            (made / REPORT).unlink(missing_ok=True)
            _write(made / MESSAGE, message.encode(), PRIVATE)
            made.rename(place)
        return place

    def quarantine(self, received: Received, reason: str) -> None:
        """Keep a message that can never be sent, and why. Raises OSError."""
        kept = {"reason": reason, "body": received.body, "attributes": received.attributes}
        text = orjson.dumps(kept, default=repr, option=orjson.OPT_INDENT_2)
        name = re.sub(r"[^0-9A-Za-z-]", "_", received.id)[:100]  # the queue's word, not ours
        _write(self._quarantine.resolve() / f"{name}.json", text, PRIVATE)

    def mark(self, path: Path, mark: Mark) -> None:
        """Set a mark, durable on return. Raises OSError."""
        _write(path / mark, b"")

    def unmark(self, path: Path, mark: Mark) -> None:
        """Remove a mark. Raises OSError."""
        (path / mark).unlink(missing_ok=True)

    def marks(self, path: Path) -> set[Mark]:
        """Return the marks that are set."""
        return {mark for mark in Mark if os.path.lexists(path / mark)}

    def _say_once(self, path: Path, why: str, level: int = logging.ERROR) -> None:
        if path.name not in self._said:
            self._said.add(path.name)
            shown = path.name.encode(errors="replace").decode()
            logger.log(level, "inbox/%s is not taken: %s", shown, why)

    def claimed(self) -> list[Path]:
        """Return the mailings in working/, also those of other workers, the oldest first."""
        found = (each for each in _folders(self._working) if not each.is_symlink())
        return sorted(found, key=lambda each: (each.stat().st_mtime, each.name))

    def put_away(self, mailing: Path, report: bytes, *, done: bool, begun: bool) -> Path:
        """Write the report and move the mailing to done/ or failed/. Return its new path.

        `begun`: the run has records; otherwise the journal is not kept in failed/.
        """
        _write(mailing / REPORT, report)
        if not (done or begun):
            for each in mailing.glob(f"{JOURNAL}*"):
                each.unlink()
        place = _free((self._done if done else self._failed) / mailing.name)
        return mailing.rename(place)


def mailing_file(mailing: Path) -> Path:
    """Return the one mailing file in a mailing's folder. Raises ConfigurationError."""
    found = sorted(each for each in mailing.glob("*.toml") if not each.is_dir())
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
    """Return that path, or the first free one like it, as in name-2."""
    number = 1
    free = place
    while free.exists():
        number += 1
        free = place.with_name(f"{place.name}-{number}")
    return free


def _of_name(place: Path) -> Iterator[Path]:
    """Return the folders with that name, also with a suffix that `_free` adds."""
    number, found = 1, place
    while found.exists():
        yield found
        number += 1
        found = place.with_name(f"{place.name}-{number}")


def _same_content(one: Path, other: Path) -> bool:
    """Return True if two mailings have the same files, apart from those that the worker added."""
    files, others = _content(one), _content(other)
    return files.keys() == others.keys() and all(
        _same_file(path, others[name]) for name, path in files.items()
    )


def _content(mailing: Path) -> dict[str, Path]:
    """Return a mailing's files by name."""
    own = {REPORT, *Mark}
    return {
        str(path.relative_to(mailing)): path
        for path in mailing.rglob("*")
        if not (path.is_dir() and not path.is_symlink())
        and not (path.parent == mailing and (path.name in own or path.name.startswith(JOURNAL)))
    }


def _same_file(one: Path, other: Path) -> bool:
    """Compare two files; links are compared as links. `filecmp` accepts only regular files."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return filecmp.cmp(one, other, shallow=False)


def _write(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file atomically, and never through a link."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        begun = f".{path.name}"
        with suppress(FileNotFoundError):
            os.unlink(begun, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(begun, flags, mode, dir_fd=folder), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(begun, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)
