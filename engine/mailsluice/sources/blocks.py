"""The bytes of a file, pipe or terminal, in bounded blocks, decompressed if they are gzip.

Regular files are read and decompressed in a worker thread, one hop for each block. What can be
polled (a pipe, socket or terminal) is waited for on the loop instead: a read that waits in a
thread could not be cancelled, and a slow producer's bytes must be handed on as they come.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from mailsluice.model import Head, SourceIdentity
from mailsluice.model.errors import SourceChangedError, SourceError
from mailsluice.sources import reading

BLOCK_BYTES = 256 * 1024
"""Most content in one block: some 4,000 rows, so that thread hops cost next to nothing."""

PIPE_BYTES = 64 * 1024
"""Most that is taken from a pipe at once: the capacity of a pipe on Linux."""

STANDARD_INPUT = "-"
"""The path that means standard input."""

S3_SCHEME = "s3://"
"""Prefix of paths to objects in S3; see `s3.S3Blocks`."""

_NO_FILE = "name a regular file, or give a pipe as standard input: --recipients - < PIPE"

_NOT_WITHIN = "put the list into the mailing's folder, as a regular file, and name it from there"

_STANDARD_INPUT_FD = 0
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class BrokenGzipError(Exception):
    """The gzip stream is cut or corrupt; content before the break has been handed on."""


class Unpacker:
    """Turns stored bytes into content: unpacks gzip if the first two bytes say so."""

    def __init__(self) -> None:
        self._stored = b""
        self._member: zlib._Decompress | None = None
        self._gzip: bool | None = None
        self._members = 0
        self.trailing = 0
        """Bytes after the end of the gzip stream that are not gzip and are skipped."""

    @property
    def held(self) -> int:
        """Stored bytes whose content has not been pulled yet."""
        return len(self._stored)

    def push(self, stored: bytes) -> None:
        """Take the next stored bytes."""
        self._stored += stored
        if self._gzip is None and len(self._stored) >= len(_GZIP_MAGIC):
            self._gzip = self._stored.startswith(_GZIP_MAGIC)

    def pull(self) -> bytes:
        """Return up to `BLOCK_BYTES` of content; empty if more stored bytes are needed.

        Raises BrokenGzipError.
        """
        if self._gzip is None:
            return b""
        if self._gzip:
            return self._inflate()
        content, self._stored = self._stored[:BLOCK_BYTES], self._stored[BLOCK_BYTES:]
        return content

    def finish(self) -> bytes:
        """Return the rest, once the stored bytes have ended and `pull` is empty.

        Raises BrokenGzipError if the stored bytes end inside a gzip member.
        """
        if self._member is not None:
            raise BrokenGzipError("ends in the middle")
        content, self._stored = self._stored, b""
        if self._members:
            self.trailing += len(content)
            return b""
        return content

    def _inflate(self) -> bytes:
        content = b""
        while not content and (self._member or self._next_member()):
            member = self._member
            assert member is not None
            try:
                content = member.decompress(self._stored, BLOCK_BYTES)
            except zlib.error as error:
                raise BrokenGzipError(f"is corrupt ({error})") from error
            if member.eof:
                self._stored, self._member = member.unused_data, None
                continue
            self._stored = member.unconsumed_tail
            if not content:
                break
        return content

    def _next_member(self) -> bool:
        # Writers pad the last member with zeros; gzip(1) passes over them as well, and over
        # whatever else follows.
        self._stored = self._stored.lstrip(b"\0")
        begins = self._stored[: len(_GZIP_MAGIC)]
        if self._members and (self.trailing or not _GZIP_MAGIC.startswith(begins)):
            self.trailing += len(self._stored)
            self._stored = b""
        if len(self._stored) < len(_GZIP_MAGIC):
            return False
        self._members += 1
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        return True


class Blocks:
    """The content of one file or of standard input (`"-"`), in blocks of 1-`BLOCK_BYTES` bytes.

    A file is a regular one; a pipe or terminal is standard input, or named as `/dev/fd/N`.
    `within`: a folder in which the file must lie. Raises SourceError, naming the file, if it is
    missing, is something else, may not be read, or breaks off while it is read; SourceChangedError
    if it is changed, exchanged or removed while it is read.
    """

    def __init__(self, path: str | os.PathLike[str], within: Path | None = None) -> None:
        self.path = os.fspath(path)
        self._within = within
        self.name = "standard input" if self.path == STANDARD_INPUT else self.path
        self._fd: int | None = _STANDARD_INPUT_FD if self.path == STANDARD_INPUT else None
        self._taken = False
        self._stored_read = 0
        self._unpacker = Unpacker()
        self._hash = hashlib.sha256()
        self.head: Head | None = None
        """The stored bytes of a regular file read so far; None for anything else."""
        with self._errors_named():
            descriptor = self._open()
            try:
                self._stat = reading.require_readable(descriptor, given=True)
                mode = self._stat.st_mode
                self._regular = stat.S_ISREG(mode)
                self._polled = os.isatty(descriptor) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
                self._begins_at = os.lseek(descriptor, 0, os.SEEK_CUR) if self._regular else 0
            finally:
                self._close()

    async def identify(self) -> SourceIdentity:
        """Return name, size and modification time; for a pipe or terminal only the name."""
        if not self._regular:
            return SourceIdentity(name=self.path)
        with self._errors_named():
            self._stat = self._looked_at()
        return SourceIdentity(name=self.path, size=self._stat.st_size, modified=self._stat.st_mtime)

    async def head_of(self, size: int) -> Head | None:
        """Return the first `size` stored bytes of a regular file, or all; None for anything else.

        Reads them in a thread, at about 1 GB/s.
        """
        return await to_thread.run_sync(self._head_of, size) if self._regular else None

    def _head_of(self, size: int) -> Head:
        digest, read = hashlib.sha256(), 0
        with self._errors_named():
            fd = self._open()
            try:
                while part := os.pread(fd, min(BLOCK_BYTES, size - read), self._begins_at + read):
                    digest.update(part)
                    read += len(part)
            finally:
                self._close()
        return Head(read, digest.hexdigest())

    @property
    def again(self) -> Blocks | None:
        """Return the same content, to be read independently; None if it can be read only once."""
        if not self._regular or self.path == STANDARD_INPUT:
            return None
        return Blocks(self.path, self._within)

    @property
    def trailing(self) -> int:
        """Bytes after the end of a gzip stream, which were skipped."""
        return self._unpacker.trailing

    @property
    def fraction_read(self) -> float | None:
        """Part of the stored (compressed) bytes handed on so far; None for a pipe."""
        if not self._regular:
            return None
        handed_on = self._stored_read - self._unpacker.held
        return min(1.0, handed_on / self._stat.st_size) if self._stat.st_size else 1.0

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Yield all content from its beginning.

        Raises SourceError as the class says, and if a pipe is read a second time; BrokenGzipError
        after the last content before the break.
        """
        if self._taken and (self._polled or self.path == STANDARD_INPUT):
            raise SourceError(f"{self.name} can be read only once")
        self._taken = True
        self._stored_read = 0
        self._hash = hashlib.sha256()
        self._unpacker = Unpacker()
        try:
            with self._errors_named():
                while block := await self._next_block(self._unpacker):
                    yield block
        finally:
            self._close()

    async def _next_block(self, unpacker: Unpacker) -> bytes:
        if not self._polled:
            return await to_thread.run_sync(self._next_block_waiting, unpacker)
        while not (block := unpacker.pull()):
            stored = await self._read_stored()
            if not stored:
                return unpacker.finish()
            unpacker.push(stored)
        return block

    def _next_block_waiting(self, unpacker: Unpacker) -> bytes:
        while not (block := unpacker.pull()):
            stored = os.read(self._open(), BLOCK_BYTES)
            if self._regular:
                self._require_unchanged()
            if not stored:
                return unpacker.finish()
            self._stored_read += len(stored)
            self._hash.update(stored)
            self.head = Head(self._stored_read, self._hash.hexdigest()) if self._regular else None
            unpacker.push(stored)
        return block

    async def _read_stored(self) -> bytes:
        fd = self._open()
        while True:
            await anyio.wait_readable(fd)
            try:
                return os.read(fd, PIPE_BYTES)
            except BlockingIOError:  # another process that shares the pipe was quicker
                continue

    def _looked_at(self) -> os.stat_result:
        """Return the state of the file that has this name now."""
        if self.path == STANDARD_INPUT:
            return os.fstat(_STANDARD_INPUT_FD)
        descriptor = reading.open_file(self.path, self._within)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _require_unchanged(self) -> None:
        """Check the open file, and the file that now has its name, after each read.

        The last bytes may belong to another list. Raises SourceChangedError.
        """
        try:
            opened, named = os.fstat(self._open()), self._looked_at()
        except OSError as error:
            raise SourceChangedError(
                f"{self.name}: it has been removed while it was read"
            ) from error
        # Some network file systems number a file anew each time that it is opened first.
        if not os.path.samestat(opened, named) or _version(opened) != _version(self._stat):
            raise SourceChangedError(
                f"{self.name}: it has been changed or exchanged while it was read"
            )

    def _open(self) -> int:
        if self._fd is None:
            self._fd = reading.open_file(self.path, self._within)
        return self._fd

    def _close(self) -> None:
        if self._fd is not None and self.path != STANDARD_INPUT:
            os.close(self._fd)
            self._fd = None

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            remedy = "mend [recipients] path or --recipients, or the file's permissions"
            if isinstance(error, reading.NoFileError):
                remedy = _NO_FILE if self._within is None else _NOT_WITHIN
            raise SourceError(f"{self.name} cannot be read: {reason}; {remedy}") from error


def _version(status: os.stat_result) -> tuple[int, int]:
    """Return what changes when a file is written."""
    return status.st_size, status.st_mtime_ns
