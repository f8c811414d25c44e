"""The encoding of a list: others are converted to UTF-8, and a wrong one is refused."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import Protocol

from mailsluice.model.errors import SourceError
from mailsluice.sources import Fields, Row, foreign
from mailsluice.sources.lines import NOT_UTF8, is_utf16

BAD_LINES_MIN = 2
BAD_SHARE_MIN = 0.01
"""With so many bad lines, and such a share of the sample, the list has another encoding. Fewer
bad lines are refused one by one."""


class Parser(Protocol):
    """Bytes in, rows out; see `csv.CsvParser`."""

    @property
    def line(self) -> int:
        """Lines whose rows have been handed on."""

    @property
    def notice(self) -> str | None:
        """A note for the user on how the list was read."""

    def feed(self, block: bytes) -> Iterator[list[Row]]:
        """Yield the rows that `block` completes."""

    def finish(self) -> Iterator[list[Row]]:
        """Yield the rows that the end completes."""


NewParser = Callable[[str, Fields], Parser]


def is_utf8(encoding: str) -> bool:
    """Return True for each name of UTF-8. Raises LookupError if there is no such encoding."""
    return codecs.lookup(encoding).name == "utf-8"


class RecodingParser:
    """Converts a list in another encoding to UTF-8.

    A byte that means nothing in `encoding` becomes one that means nothing in UTF-8: its row is
    refused, as it would be there.
    """

    def __init__(self, new_parser: NewParser, encoding: str, name: str, fields: Fields) -> None:
        self._parser = new_parser(name, fields)
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")

    @property
    def line(self) -> int:
        """See `Parser`."""
        return self._parser.line

    @property
    def notice(self) -> str | None:
        """See `Parser`."""
        return self._parser.notice

    def feed(self, block: bytes) -> Iterator[list[Row]]:
        """See `Parser`."""
        yield from self._parser.feed(self._decoder.decode(block).encode(errors="surrogateescape"))

    def finish(self) -> Iterator[list[Row]]:
        """See `Parser`."""
        rest = self._decoder.decode(b"", final=True).encode(errors="surrogateescape")
        if rest:
            yield from self._parser.feed(rest)
        yield from self._parser.finish()


def require_utf8(name: str, sample: bytes) -> None:
    """Refuse a list whose beginning, `sample`, is in another encoding.

    Rows without an accent in Excel's own encoding are valid UTF-8: without this check only they
    would be mailed. Raises SourceError, naming the list `name`.
    """
    if is_utf16(sample) or foreign.kind_of(sample):
        return  # reading it raises the error
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        lines = sample.splitlines()
        bad = sum(map(_is_bad, lines))
        if bad >= BAD_LINES_MIN and bad >= len(lines) * BAD_SHARE_MIN:
            raise SourceError(
                f"{name} {NOT_UTF8} ({bad:,} of the first {len(lines):,} lines)"
            ) from None


def _is_bad(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False
