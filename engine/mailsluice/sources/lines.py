"""Blocks of bytes cut into pieces of whole lines, with a bound on the length of a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailsluice.sources import ROW_BYTES_MAX

UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")

TOO_LONG = f"is longer than {ROW_BYTES_MAX // 1024 // 1024} MiB"
"""The problem of a line, or of a quoted CSV record, that is over `ROW_BYTES_MAX`."""

NOT_UTF8 = (
    'is not UTF-8 text; say how it was written, as in [recipients] encoding = "cp1252" (Excel\'s '
    '"CSV"), or save it as "CSV UTF-8"'
)
"""The problem of a file in another encoding, and the remedy."""


UTF16 = (
    'is UTF-16 text (Excel\'s "Unicode Text"); say so by [recipients] encoding = "utf-16", or save '
    'it as "CSV UTF-8"'
)
"""As `NOT_UTF8`, for a file whose first bytes name its encoding."""


class LineCutter:
    """Cuts blocks into pieces of one or more whole lines, each with its line end.

    None stands for a line over `ROW_BYTES_MAX`, of which nothing is kept. Where the cuts between
    the blocks fall makes no difference to the lines that come out.
    """

    def __init__(self, *, lone_cr: bool) -> None:
        """Set `lone_cr` if a carriage return alone ends a line, as in old Macintosh files."""
        self._lone_cr = lone_cr
        self._end = re.compile(rb"\r\n|\n|\r(?!\Z)" if lone_cr else rb"\n")
        self._begun = bytearray()
        self._skipping = False

    def feed(self, block: bytes) -> Iterator[bytes | None]:
        """Yield the lines that `block` completes; a block has at most `ROW_BYTES_MAX` bytes."""
        if self._begun.endswith(b"\r") and self._lone_cr:
            # Only now is it known whether a line feed belongs to it.
            del self._begun[-1]
            block = b"\r" + block
        if self._begun or self._skipping:
            end = self._end.search(block)
            if end is None:
                self._hold(block)
                return
            yield self._first_line(block[: end.end()])
            block = block[end.end() :]
        cut = self._last_end(block)
        if cut:
            yield block[:cut]
        self._hold(block[cut:])

    def finish(self) -> Iterator[bytes | None]:
        """Yield the last line, if no line end follows it."""
        if self._begun or self._skipping:
            yield self._first_line(b"")

    def _first_line(self, rest: bytes) -> bytes | None:
        self._hold(rest)
        line = None if self._skipping else bytes(self._begun)
        self._begun.clear()
        self._skipping = False
        return line

    def _hold(self, part: bytes) -> None:
        if self._skipping:
            # Nothing is kept but a carriage return that may be half of the line's end.
            self._begun[:] = b"\r" if self._lone_cr and part.endswith(b"\r") else b""
            return
        self._begun += part
        if len(self._begun) > ROW_BYTES_MAX:
            self._skipping = True
            self._hold(part)

    def _last_end(self, block: bytes) -> int:
        cut = block.rfind(b"\n") + 1
        if self._lone_cr:
            cut = max(cut, block.rfind(b"\r", 0, -1) + 1)
        return cut


def is_utf16(piece: bytes) -> bool:
    """Return True if a file that begins with `piece` is UTF-16, as Excel's "Unicode Text" is."""
    return piece.startswith(_UTF16_BOMS)
