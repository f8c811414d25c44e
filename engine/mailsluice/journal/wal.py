"""SQLite's write-ahead log (`-wal`), looked at for damage that SQLite passes over.

SQLite takes the first frame whose checksum is wrong for the end of the log: that is how a commit
ends that a crash cut off. But where several commits follow it, they had been durable, and the log
has been damaged since; to go on without them would be to send again what they say was sent. This is
to be found out before SQLite opens the file: it throws away what it passes over.
Format: "WAL-mode File Format", sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

MAGIC = {b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"}
HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24

CUT_OFF_COMMITS_MAX = 1
"""Of the last transaction a crash may have left the end and not the beginning."""

LOGS_AGO_MAX = 0xFFFF
"""Logs of which a frame may still be in the file."""

HEAD_BYTES = 20

WAL_MODE = b"\2\2"
"""Bytes 18 and 19 of a database that has a log: SQLite puts away the log of one that says
otherwise."""

_U32 = 0xFFFFFFFF


class _Frame(NamedTuple):
    """One page, as a transaction has written it."""

    commits: bool
    salts: bytes
    """By which it is told from frames that the log had before it was begun anew."""
    seal: tuple[int, int]
    """The checksum that it carries."""
    sealed: bytes
    """What that is for, beside all frames before it."""


def is_disowned(head: bytes) -> bool:
    """Whether a database that begins with these `HEAD_BYTES` says that it has no log."""
    return head[18:] != WAL_MODE


def is_damaged(path: Path, page_bytes: int) -> bool:
    """Whether commits follow what SQLite would take for the end of this log.

    Nothing may be writing it. Its pages are of `page_bytes`, whatever its header says.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return True  # SQLite writes it in one piece
        order = ">" if header[3] & 1 else "<"
        seal = _sum(order, header[:24], (0, 0))
        salts: bytes | None = header[16:24]
        sound = header[:4] in MAGIC and struct.pack(">2I", *seal) == header[24:32]
        if not sound:
            salts = None  # the first frame's, then
        passed_over = 0
        for frame in _frames(file, page_bytes):
            salts = salts or frame.salts
            if sound and frame.salts == salts:
                seal = _sum(order, frame.sealed, seal)
                sound = frame.seal == seal
            else:
                sound = False
            passed_over += not sound and (
                frame.commits if frame.salts == salts else _is_foreign(frame, salts)
            )
    return passed_over > CUT_OFF_COMMITS_MAX


def _is_foreign(frame: _Frame, salts: bytes) -> bool:
    """Whether neither this log nor one that was in the file before it can have left this frame.

    The first salt grows by one each time that a log is begun anew; a page that never reached the
    disk is zeros.
    """
    ago = (int.from_bytes(salts[:4], "big") - int.from_bytes(frame.salts[:4], "big")) & _U32
    return ago > LOGS_AGO_MAX and any(frame.salts)


def _frames(file: IO[bytes], page_bytes: int) -> Iterator[_Frame]:
    step = FRAME_HEADER_BYTES + page_bytes
    while len(content := file.read(step)) == step:
        _, pages, salts, *seal = struct.unpack_from(">II8sII", content)
        yield _Frame(
            pages != 0, salts, (seal[0], seal[1]), content[:8] + content[FRAME_HEADER_BYTES:]
        )


def _sum(order: str, content: bytes, before: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum, in 32-bit words of that byte order, going on from `before`."""
    first, second = before
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & _U32
        second = (second + odd + first) & _U32
    return first, second
