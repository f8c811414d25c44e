"""The journal's file: made whole or not at all, and locked by its one writer."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from mailsluice.errors import JournalError

_HEADLESS = (
    "{path}: there is a {path.name}-wal and no {path.name}: a part of the journal is missing; "
    "bring it back, or remove the other part to begin a new run that sends to everybody"
)


def make(path: Path, fill: Callable[[Path], None]) -> None:
    """A new journal, which is there whole or not at all: an empty file is never one of ours.

    `fill` writes what a new one holds, durably. Whoever makes it has locked the file under its
    first name. Raises JournalError, and OSError where the folder cannot be written.
    """
    if has_log(path):
        raise JournalError(_HEADLESS.format(path=path))
    new = Path(f"{path}.new")
    descriptor = lock(new, os.O_CREAT)
    try:
        if path.exists():  # another process was quicker
            return
        os.truncate(new, 0)  # what a process left that was killed here
        fill(new)
        new.rename(path)
        _sync_folder(path)
    finally:
        os.close(descriptor)


def lock(path: Path, flags: int = 0) -> int:
    """Open `path` and lock it; the descriptor holds the lock until it is closed.

    SQLite's own locks are of another kind (fcntl) and do not meet this one (flock). The descriptor
    outlives SQLite's, since closing any descriptor of a file drops the process's fcntl locks on it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except OSError as error:
        raise JournalError(f"{path}: the journal cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise JournalError(
            f"{path}: another process is using this journal; wait for it, or give this run "
            "another one with --journal"
        ) from None
    return descriptor


def is_being_written(path: Path) -> bool:
    """Whether a process has the journal open for writing.

    To be asked before this process opens it: closing any descriptor of a file drops the locks that
    SQLite has on it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def has_log(path: Path) -> bool:
    """Whether there are commits beside the file: a crash left them, or it is being written."""
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def _sync_folder(path: Path) -> None:
    """Make the directory entry of `path` durable."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
