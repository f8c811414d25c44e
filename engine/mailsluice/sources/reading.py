"""Open and read files named by others, without waiting and within limits.

A name may lead to a named pipe, whose opening waits for a writer, to a device without an end, or
out of the folder in which it was meant to stay. Every file that a mailing or a command line names
is opened here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path, PurePath

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""O_NONBLOCK: a named pipe is opened at once, and found to be one."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_LINKS_MAX = 40
"""Links on the way to one file, as in Linux (path_resolution(7))."""

_READ_BYTES = 1024 * 1024

_is_descriptor = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/[0-9]+").fullmatch
"""Matches what a shell puts in place of `<(command)`: a pipe that is given on purpose."""


class NoFileError(OSError):
    """The name does not lead to a readable file; `strerror` says why."""

    def __init__(self, why: str, number: int = errno.EINVAL) -> None:
        super().__init__(number, why)


def open_file(path: str | os.PathLike[str], within: Path | None = None) -> int:
    """Open a regular file, and return its descriptor, which never waits.

    `within`: a folder in which the file must lie after all links are resolved. Each step of the
    way is opened below the one before, so that a link which is put there meanwhile leads nowhere
    else. Without it, a pipe or terminal may be named by its descriptor, `/dev/fd/N`. Raises
    NoFileError, and OSError if the file is missing or may not be read.
    """
    if "\0" in os.fspath(path):
        raise NoFileError("its name holds a NUL character")
    if within is not None:
        return _open_within(path, within)
    given = _is_descriptor(os.fspath(path)) is not None
    if not given:
        _require_regular(Path(path).stat())  # opening some devices has effects
    return _opened(path, given=given)


def read(path: str | os.PathLike[str], most: int, within: Path | None = None) -> bytes:
    """Return a file's content. Raises as `open_file` does, and above `most` bytes."""
    descriptor = open_file(path, within)
    with os.fdopen(descriptor, "rb") as file:
        os.set_blocking(descriptor, True)  # it may be a pipe that is given
        content = file.read(most + 1)
    if len(content) > most:
        raise NoFileError(f"it has more than {most:,} bytes", errno.EFBIG)
    return content


def require_readable(descriptor: int, *, given: bool) -> os.stat_result:
    """Require a regular file or, if it was `given`, a pipe, a terminal, or the null device.

    Raises NoFileError.
    """
    status = os.fstat(descriptor)
    if not (given and _ends(descriptor, status)):
        _require_regular(status)
    return status


def _ends(descriptor: int, status: os.stat_result) -> bool:
    """Return True for a pipe, socket or terminal, which end; /dev/zero never does."""
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
        return True
    null = stat.S_ISCHR(status.st_mode) and status.st_rdev == Path(os.devnull).stat().st_rdev
    return null or os.isatty(descriptor)


def _require_regular(status: os.stat_result) -> None:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise NoFileError("it is a directory", errno.EISDIR)
    if stat.S_ISFIFO(mode):
        raise NoFileError("it is a named pipe, and not a file")
    if stat.S_ISSOCK(mode):
        raise NoFileError("it is a socket, and not a file")
    raise NoFileError("it is a device, and not a file")


def _require_one_name(status: os.stat_result) -> None:
    """Refuse a file with a second name: it may be a secret from elsewhere, linked here."""
    if status.st_nlink > 1:
        raise NoFileError("it has another name (a hard link); put a copy here")


def _opened(
    path: str | os.PathLike[str], *, given: bool = False, flags: int = 0, folder: int | None = None
) -> int:
    descriptor = os.open(path, _FLAGS | flags, dir_fd=folder)
    try:
        require_readable(descriptor, given=given)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_within(path: str | os.PathLike[str], within: Path) -> int:
    try:
        steps = list(PurePath(path).relative_to(within).parts)
    except ValueError:
        raise _outside() from None
    folders = [os.open(within, _FOLDER_FLAGS)]
    links = 0
    try:
        while steps:
            step, folder = steps.pop(0), folders[-1]
            if step == "..":
                if len(folders) == 1:
                    raise _outside()
                os.close(folders.pop())
                continue
            status = os.stat(step, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                target = PurePath(os.readlink(step, dir_fd=folder))
                if target.is_absolute():
                    raise _outside()
                if links > _LINKS_MAX:
                    raise NoFileError("its links lead in a circle", errno.ELOOP)
                steps[:0] = target.parts
            elif steps:
                folders.append(os.open(step, _FOLDER_FLAGS, dir_fd=folder))
            else:
                _require_regular(status)
                _require_one_name(status)
                return _opened(step, flags=os.O_NOFOLLOW, folder=folder)
        raise NoFileError("it is a directory", errno.EISDIR)
    finally:
        for folder in folders:
            os.close(folder)


def _outside() -> NoFileError:
    return NoFileError("it lies outside of the mailing's folder, where nothing is read")
