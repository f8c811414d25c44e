"""The journal's file: it appears whole or not at all, and has one name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mailsluice.journal import lock
from mailsluice.model.errors import JournalError

MOUNTS = Path("/proc/self/mountinfo")
"""The mounts that this process sees (proc_pid_mountinfo(5))."""

_HEADLESS = (
    "{path}: there is a {path.name}-wal and no {path.name}: a part of the journal is missing; "
    "bring it back, or remove the other part to begin a new run that sends to everybody"
)

_LOG_BESIDE = (
    "SQLite keeps the last commits beside one name only, and by another name they would be missed "
    "and sent again; {remedy}"
)

_SEVERAL_NAMES = "{path}: the file has {links} names (hard links). " + _LOG_BESIDE.format(
    remedy="use the name that the run began with, and remove the other ones "
    "(find / -samefile {path})"
)

_MOUNTED = "{path}: the file is a mount point of its own. " + _LOG_BESIDE.format(
    remedy="mount the folder that it is in instead"
)


def make(path: Path, fill: Callable[[Path, int], None]) -> None:
    """Create a journal that appears whole or not at all: an empty file is never one of ours.

    `fill` writes the content of a new journal, durably; its arguments are the name and the locked
    descriptor. The caller holds the lock of the first name. Raises JournalError, and OSError if the
    folder cannot be written.
    """
    if has_log(path):
        raise JournalError(_HEADLESS.format(path=path))
    if not path.parent.is_dir():
        raise JournalError(f"{path}: there is no such folder; make it, or mend the journal's path")
    new = Path(f"{path}.new")
    with lock.making(new) as descriptor:
        if path.exists():  # another process was quicker
            return
        os.truncate(descriptor, 0)  # what a process left that was killed here
        fill(new, descriptor)
        new.rename(path)
        _sync_folder(path)


def located(path: Path) -> Path:
    """Resolve a link to the file itself: SQLite keeps its log beside the file.

    Raises JournalError if the link leads nowhere, or if the file has more names than one: its log
    may then be beside another of them.
    """
    if path.is_symlink() and not path.exists():
        raise JournalError(
            f"{path}: it is a link to {path.readlink()}, which is not there; bring that back (is "
            "its disk mounted?), or remove the link to begin a new run that sends to everybody"
        )
    found = path.resolve() if path.is_symlink() else path
    if found.exists():
        if (links := found.stat().st_nlink) > 1:
            raise JournalError(_SEVERAL_NAMES.format(path=path, links=links))
        if _is_mount_point(found):
            raise JournalError(_MOUNTED.format(path=path))
    return found


def has_log(path: Path) -> bool:
    """Return True if a log lies beside the file: after a crash, or while the journal is written."""
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def _is_mount_point(path: Path) -> bool:
    """Return True for a mount point. `Path.is_mount` misses files and bind mounts."""
    if not MOUNTS.exists():
        return path.is_mount()
    return is_mounted(path.resolve(), MOUNTS.read_bytes())


def is_mounted(path: Path, mounts: bytes) -> bool:
    """Return True if `mounts`, a mountinfo file, has this absolute path as a mount point."""
    name = os.fsencode(path)
    for character in (b"\\", b" ", b"\t", b"\n"):  # as the kernel escapes them
        name = name.replace(character, b"\\%03o" % ord(character))
    return any(line.split(b" ")[4:5] == [name] for line in mounts.splitlines())


def _sync_folder(path: Path) -> None:
    """Make the directory entry of `path` durable."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
