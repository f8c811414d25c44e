"""The journal's file: made whole or not at all, and locked by its one writer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from mailsluice.errors import JournalError, JournalLockedError

LOCK_TRIES = 5
LOCK_AGAIN_S = 0.02
"""`is_being_written` holds the lock for some microseconds."""

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
    if not path.parent.is_dir():
        raise JournalError(f"{path}: there is no such folder; make it, or name another --journal")
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


def located(path: Path) -> Path:
    """The file itself, where `path` is a link to it: SQLite keeps its log beside the file.

    Raises JournalError where the link leads nowhere.
    """
    if path.is_symlink() and not path.exists():
        raise JournalError(
            f"{path}: it is a link to {path.readlink()}, which is not there; bring that back (is "
            "its disk mounted?), or remove the link to begin a new run that sends to everybody"
        )
    return path.resolve() if path.is_symlink() else path


def lock(path: Path, flags: int = 0) -> int:
    """Open `path` and lock it; the descriptor holds the lock until it is closed.

    SQLite's own locks are of another kind (fcntl) and do not meet this one (flock). The descriptor
    outlives SQLite's, since closing any descriptor of a file drops the process's fcntl locks on it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except OSError as error:
        raise JournalError(f"{path}: the journal cannot be opened: {error.strerror}") from error
    for _ in range(LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        time.sleep(LOCK_AGAIN_S)
    os.close(descriptor)
    raise JournalLockedError(
        f"{path}: another process is using this journal; wait for it, or give this run "
        "another one with --journal"
    )


def is_being_written(path: Path) -> bool:
    """Whether a process has the journal open for writing.

    To be asked before this process opens it: closing any descriptor of a file drops the locks that
    SQLite has on it. Where it has, by `opened`, nothing is touched.
    """
    if opens := _opened_here.get(_identity(path)):
        return any(opens.values())
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


_opened_here: defaultdict[tuple[int, int], dict[object, bool]] = defaultdict(dict)
"""By device and inode of the journals that this process has open: for each time, whether it was for
writing, or somebody was found to be writing it."""


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def opened(path: Path, *, written: bool) -> Callable[[], None]:
    """Take note that this process opens the journal; what to call when it has closed it."""
    opens = _opened_here[_identity(path)]
    this = object()
    opens[this] = written

    def closed() -> None:
        opens.pop(this, None)

    return closed


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
