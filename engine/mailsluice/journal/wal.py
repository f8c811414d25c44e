"""SQLite's write-ahead log (`-wal`), looked at for damage that SQLite passes over.

SQLite takes the first frame whose checksum is wrong for the end of the log: that is how a commit
ends that a crash cut off. But where several commits follow it, they had been durable, and the log
has been damaged since; to go on without them would be to send again what they say was sent.
Format: "WAL-mode File Format", sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24

CUT_OFF_COMMITS_MAX = 1
"""Of the last transaction a crash may have left the end and not the beginning."""


class _Frame(NamedTuple):
    """The head of a frame: one page, as a transaction has written it."""

    commits: bool
    salts: bytes
    """By which it is told from frames that the log had before it was begun anew."""


def is_damaged(path: Path, frames: int) -> bool:
    """Whether commits follow the `frames` that SQLite has found in this log to be valid."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return False
        page_bytes = int.from_bytes(header[8:12], "big")
        left = list(_frames_from(file.read(), page_bytes)) if page_bytes else []
    salts = header[16:24]
    if frames == 0 and left and not _is_whole(header):
        salts = left[0].salts
    return (
        sum(frame.commits and frame.salts == salts for frame in left[frames:]) > CUT_OFF_COMMITS_MAX
    )


def _frames_from(content: bytes, page_bytes: int) -> Iterator[_Frame]:
    step = FRAME_HEADER_BYTES + page_bytes
    for begin in range(0, len(content) - step + 1, step):
        _, pages, salts = struct.unpack_from(">II8s", content, begin)
        yield _Frame(pages != 0, salts)


def _is_whole(header: bytes) -> bool:
    """Whether the header's checksum is right."""
    order = ">" if header[3] & 1 else "<"
    words = struct.unpack(f"{order}6I", header[:24])
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second) == header[24:32]
