"""Checks SQLite's write-ahead log (`-wal`) for damage that SQLite ignores.

SQLite takes the first frame with a wrong checksum for the end of the log, as a crash leaves it in
the middle of a commit. But if several commits follow that frame, they were durable, and the log has
been damaged since; without them, recipients that were sent would be sent again. The check must run
before SQLite opens the file, because SQLite discards what follows such a frame.
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
"""Commits after a bad frame that a crash explains: it may leave only the end of a transaction."""

LOGS_AGO_MAX = 0xFFFF
"""Number of earlier logs of which frames may still be in the file."""

HEAD_BYTES = 20

WAL_MODE = b"\2\2"
"""Bytes 18 and 19 of a database in WAL mode: with other values, SQLite deletes the log."""

_U32 = 0xFFFFFFFF


class _Frame(NamedTuple):
    """One page in the log, as a transaction wrote it."""

    commits: bool
    salts: bytes
    """Numbers that tell the frame from those of earlier logs in the same file."""
    seal: tuple[int, int]
    """The checksum in the frame."""
    sealed: bytes
    """The bytes that the checksum covers, in addition to all frames before."""


def is_disowned(head: bytes) -> bool:
    """Return True if a database that begins with these `HEAD_BYTES` is not in WAL mode."""
    return head[18:] != WAL_MODE


def is_damaged(path: Path, page_bytes: int) -> bool:
    """Return True if commits follow the frame that SQLite would take for the end of this log.

    No process may be writing the log. Its pages have `page_bytes`, whatever its header says.
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
    """Return True if neither this log nor an earlier one in the file can have left this frame.

    The first salt grows by one with each new log; a page that never reached the disk is zeros.
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
    """Return SQLite's checksum, in 32-bit words of that byte order, continued from `before`."""
    first, second = before
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & _U32
        second = (second + odd + first) & _U32
    return first, second
