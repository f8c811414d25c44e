"""Locks of a journal: one writer among all processes, and any number of readers.

`flock` keeps a second writer out. SQLite's own locks are of another kind (fcntl): they belong to
the process, and closing any descriptor of the file drops all of them. Another program that closes
the journal may then delete the log that a run is writing, and later commits are lost with the
process. Hence two rules. First, a process opens one descriptor of a journal beside SQLite's, and
closes it when nothing in the process has that journal open. Second, the writer also holds SQLite's
shared lock by that descriptor (an OFD lock), which no other close drops.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mailsluice.model.errors import JournalError, JournalLockedError

TRIES = 5
AGAIN_S = 0.02
"""Pause before the second try, seconds: `is_being_written` holds the lock for microseconds."""

SHARED_FIRST = 0x4000_0002
SHARED_SIZE = 510
"""The bytes of SQLite's shared lock (SHARED_FIRST and SHARED_SIZE in its os.h)."""

TO_WRITE = os.O_RDWR | os.O_NOFOLLOW
"""Flags to open a journal. Links have been resolved before; one put there since is not followed."""

_NO_OFD_LOCKS = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

_BUSY = (
    "{path}: another process is using this journal; wait until it has ended (a run with a journal "
    "of its own would mail everybody again). Of a service's processes one alone can send: see "
    '"Several processes" in docs/embedding.md'
)

_BUSY_HERE = (
    "{path}: this process has the journal open already; use the engine that has it, or close that "
    "first"
)


@dataclass(slots=True, eq=False)
class _File:
    """A journal's file while this process has it open."""

    descriptor: int
    openings: set[Opening] = field(default_factory=set)

    @property
    def written(self) -> bool:
        """True if this process, or another, writes the journal."""
        if any(each.writes for each in self.openings):
            return True
        if not _flocked(self.descriptor, fcntl.LOCK_SH):
            return True
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return False


@dataclass(slots=True, eq=False)
class Opening:
    """One opening of a journal by this process. Release it after SQLite has closed the file."""

    _file: _File
    writes: bool
    written: bool
    """True if a process was writing the journal at that moment."""
    ours: bool = True
    """True if this process has opened it; False in a process forked since."""

    def head(self, size: int) -> bytes:
        """Return the first bytes of the file."""
        return os.pread(self._file.descriptor, size, 0)

    @property
    def descriptor(self) -> int:
        """A descriptor of the file, which the caller must not close."""
        return self._file.descriptor

    def hold(self) -> None:
        """Keep other programs from deleting SQLite's log, until `let_go`."""
        _lock_ofd(self._file.descriptor, fcntl.F_RDLCK)

    def let_go(self) -> None:
        """Undo `hold`, so that SQLite may delete its log when it closes the file."""
        if self.ours and self.writes and self in self._file.openings:
            _lock_ofd(self._file.descriptor, fcntl.F_UNLCK)

    def release(self) -> None:
        """Let the next writer in. Safe to call twice."""
        with _guard:
            if not self.ours or self not in self._file.openings:
                return
            self._file.openings.remove(self)
            if self.writes:
                fcntl.flock(self._file.descriptor, fcntl.LOCK_UN)
            _close_unused()


_guard = threading.RLock()
_files: dict[tuple[int, int], _File] = {}
"""Open files by device and inode."""


def to_write(path: Path) -> Opening:
    """Open as the only writer. Raises JournalLockedError, and JournalError."""
    with _opened(path, TO_WRITE) as file:
        if any(each.writes for each in file.openings):
            raise JournalLockedError(_BUSY_HERE.format(path=path))
        _take(file.descriptor, path)
        opening = Opening(file, writes=True, written=True)
        file.openings.add(opening)
        return opening


def to_read(path: Path) -> Opening:
    """Open for reading, even while a process writes it. Raises JournalError."""
    with _opened(path, os.O_RDONLY) as file:
        opening = Opening(file, writes=False, written=file.written)
        file.openings.add(opening)
        return opening


def is_being_written(path: Path) -> bool:
    """Return True if a process, this one or another, has the journal open for writing."""
    with _opened(path, os.O_RDONLY) as file:
        return file.written


@contextlib.contextmanager
def making(path: Path) -> Iterator[int]:
    """Keep other threads and processes from making the journal of that first name in the context.

    Yields its descriptor.
    """
    with _guard:
        descriptor = _open(path, TO_WRITE | os.O_CREAT)
        try:
            _take(descriptor, path)
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[_File]:
    """Yield the file, with this process's descriptor of it; close it if nothing else needs it."""
    with _guard:
        status = path.stat()
        file = _files.get((status.st_dev, status.st_ino))
        if file is None:
            file = _File(_open(path, flags))
            status = os.fstat(file.descriptor)
            _files[status.st_dev, status.st_ino] = file
        try:
            yield file
        finally:
            _close_unused()


def _close_unused() -> None:
    for identity, file in list(_files.items()):
        if not file.openings:
            os.close(_files.pop(identity).descriptor)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{path}: the journal cannot be opened: {error.strerror}") from error


def _take(descriptor: int, path: Path) -> None:
    for _ in range(TRIES):
        if _flocked(descriptor, fcntl.LOCK_EX):
            return
        time.sleep(AGAIN_S)
    raise JournalLockedError(_BUSY.format(path=path))


def _flocked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_ofd(descriptor: int, kind: int) -> None:
    """Take an OFD lock, if the system has them; otherwise only the first rule protects the log."""
    if not hasattr(fcntl, "F_OFD_SETLK"):
        return
    wanted = struct.pack("hhqqi0q", kind, os.SEEK_SET, SHARED_FIRST, SHARED_SIZE, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno not in _NO_OFD_LOCKS:
            raise


def _forget() -> None:
    """Close the descriptors in a forked process: the locks are its parent's, and end with it.

    Closing a descriptor here drops no lock of the parent.
    """
    for file in _files.values():
        for opening in file.openings:
            opening.ours = False
        os.close(file.descriptor)
    _files.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget)
