"""Events from files, as Firehose writes them: NDJSON, also gzipped, in a folder or in S3.

The store remembers how far each file has been read, in the transaction that stores its events. A
plain file may grow: it is read on from there. A gzipped file or an object of S3 is read as a whole,
and again if it is replaced; events that are read twice change nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

from mailsluice.feedback.ingest import Ingest
from mailsluice.feedback.listener import Taken
from mailsluice.feedback.records import Unreadable, parse
from mailsluice.feedback.store import Mark
from mailsluice.model.errors import SourceError
from mailsluice.sources import s3
from mailsluice.sources.blocks import S3_SCHEME, Blocks, BrokenGzipError
from mailsluice.sources.s3 import S3Blocks

READ_BYTES = 1024 * 1024
"""Of a plain file at a time: some 900 events, which share a commit."""

LINE_BYTES_MAX = 8 * 1024 * 1024
"""A longer line is no event: SQS has 1 MiB at most, SES's records some kB."""

LINES_AT_ONCE = 1_000

LOOK_S = 2.0
"""Between two looks at a folder, seconds."""

LOOK_S3_S = 30.0

_GZIP = b"\x1f\x8b"


class _File(NamedTuple):
    """A file or an object that has something new."""

    mark: Mark
    """How far it has been read."""
    size: int
    grows: bool
    """True if it is read on from there; False if it is read as a whole."""


class FileStream:
    """A folder, a file, or all of `s3://bucket/prefix`."""

    side_by_side = 1

    def __init__(self, place: str, *, region: str | None, profile: str | None) -> None:
        self.name = place
        self._region = region
        self._profile = profile

    def opened(self) -> nullcontext[None]:
        """See `Stream.opened`."""
        return nullcontext()

    async def step(self, ingest: Ingest, *, waits: bool) -> Taken:
        """See `Stream.step`. Reads all that is new in all files."""
        lines = 0
        error: SourceError | None = None
        async for file in self._new(await ingest.marks()):
            try:
                lines += await self._read(file, ingest)
            except SourceError as cause:  # the other files can be read all the same
                error = error or cause
        if error is not None:
            raise error
        if not lines and waits:
            await anyio.sleep(LOOK_S3_S if self._is_in_s3 else LOOK_S)
        return Taken(lines, more=False)

    @property
    def _is_in_s3(self) -> bool:
        return self.name.startswith(S3_SCHEME)

    async def _new(self, marks: Mapping[str, Mark]) -> AsyncIterator[_File]:
        if self._is_in_s3:
            found = s3.objects(self.name, region=self._region, profile=self._profile)
            async for each in found:
                mark = marks.get(each.url)
                if each.size and (mark is None or mark.version != each.tag):
                    yield _File(Mark(each.url, each.tag, 0), each.size, grows=False)
        else:
            for file in await to_thread.run_sync(lambda: list(_new_in(Path(self.name), marks))):
                yield file

    async def _read(self, file: _File, ingest: Ingest) -> int:
        """Read what is new in a file. Return the number of lines."""
        if not file.grows:
            return await self._read_whole(file, ingest)
        count, mark = 0, file.mark
        while mark.position < file.size:
            lines, position = await to_thread.run_sync(_lines_from, Path(mark.name), mark.position)
            if position == mark.position:
                break
            mark = mark._replace(position=position)
            await ingest.put(lines, mark)
            count += len(lines)
        return count

    async def _read_whole(self, file: _File, ingest: Ingest) -> int:
        blocks: Blocks | S3Blocks = (
            S3Blocks(file.mark.name, region=self._region, profile=self._profile)
            if self._is_in_s3
            else Blocks(file.mark.name)
        )
        count, rest = 0, b""
        lines: list[bytes] = []
        try:
            async for block in blocks:
                *whole, rest = (rest + block).split(b"\n")
                lines += filter(None, whole)
                if len(rest) > LINE_BYTES_MAX:
                    lines.append(rest)
                    rest = b""
                if len(lines) >= LINES_AT_ONCE:
                    await ingest.put(lines)
                    count += len(lines)
                    lines = []
        except BrokenGzipError as error:
            # What came before the break is read, and the file again once it is another one.
            rest = rest or f"{file.mark.name}: {error}".encode()
        lines += filter(None, [rest])
        await ingest.put(lines, file.mark._replace(position=file.size))
        return count + len(lines)


def _new_in(place: Path, marks: Mapping[str, Mark]) -> Iterator[_File]:
    """Iterate over the files of a folder and its folders, by name. Raises SourceError."""
    try:
        paths = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in paths:
            hidden = any(part.startswith(".") for part in path.relative_to(place).parts)
            status = path.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size and not hidden:
                name = str(path.absolute())
                yield from _looked_at(name, status, marks.get(name))
    except OSError as error:
        raise SourceError(f"{error.filename or place}: cannot be read: {error.strerror}") from error


def _looked_at(name: str, status: os.stat_result, mark: Mark | None) -> Iterator[_File]:
    plain = f"{status.st_dev}:{status.st_ino}"
    packed = f"{plain}:{status.st_size}:{status.st_mtime_ns}"
    if mark is not None and (mark.version == packed or mark[1:] == (plain, status.st_size)):
        return
    with Path(name).open("rb") as file:
        grows = file.read(len(_GZIP)) != _GZIP
    if not grows:
        yield _File(Mark(name, packed, 0), status.st_size, grows)
    elif mark is None or mark.version != plain or mark.position > status.st_size:
        yield _File(Mark(name, plain, 0), status.st_size, grows)
    else:
        yield _File(mark, status.st_size, grows)


def _lines_from(path: Path, position: int) -> tuple[list[bytes], int]:
    """Read lines from a position on. Return them, and where to read on. Raises SourceError.

    A last line without its end is left for later, unless it is whole.
    """
    try:
        with path.open("rb") as file:
            file.seek(position)
            block = file.read(READ_BYTES)
            while b"\n" not in block and len(block) <= LINE_BYTES_MAX:
                if not (more := file.read(READ_BYTES)):
                    break
                block += more
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    *lines, rest = block.split(b"\n")
    if len(rest) > LINE_BYTES_MAX or (rest.strip() and not _is_cut(rest)):
        lines.append(rest)
        rest = b""
    return list(filter(None, lines)), position + len(block) - len(rest)


def _is_cut(line: bytes) -> bool:
    return any(isinstance(each, Unreadable) for each in parse(line))
