"""CSV and TSV in any dialect that Excel writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice

from mailsluice.model.errors import SourceError
from mailsluice.sources import ROW_BYTES_MAX, ROWS_MAX, Fields, Row
from mailsluice.sources.columns import RecordReader, choice, compile_reader, names_of, resolve
from mailsluice.sources.dialect import SEPARATORS, Reader, is_unicode, read_header
from mailsluice.sources.lines import NOT_UTF8, TOO_LONG, UTF8_BOM, UTF16, LineCutter, is_utf16

ROW_LINES_MAX = 10_000
"""Lines of one record: with more, a quote was left open. Bounds what is read again after it."""

UNCLOSED = "a quote is opened and not closed, or text follows a closing quote"
NUL = "has a NUL character"

_new = tuple.__new__


class CsvParser:
    """Takes a CSV file block by block and gives its rows in lists of up to `ROWS_MAX`.

    Where the cuts between the blocks fall makes no difference to the rows. Its methods are lazy:
    the work is done while their result is iterated over, some 2 ms for each list. A list is empty
    if it had only blank lines. They raise SourceError, naming the file `name`, if the header
    cannot be used.
    """

    def __init__(self, name: str, fields: Fields, separators: Sequence[str] = SEPARATORS) -> None:
        self.line = 0
        """Lines whose rows have been handed on."""
        self.notice: str | None = None
        """A note for the user: the column that was taken for one of another name."""
        self._name = name
        self._fields = fields
        self._separators = separators
        self._separator = ""
        self._width = 0
        self._read: RecordReader | None = None
        self._names: dict[str, str] = {}
        self._cutter = LineCutter(lone_cr=True)
        self._lines: list[str] = []
        self._done = 0
        self._suspect = False
        self._at_start = True

    def feed(self, block: bytes) -> Iterator[list[Row]]:
        """Yield the rows that `block` completes; a block has at most `ROW_BYTES_MAX` bytes."""
        for piece in self._cutter.feed(block):
            yield from self._take(piece)

    def finish(self) -> Iterator[list[Row]]:
        """Yield the last rows, after the last block."""
        for piece in self._cutter.finish():
            yield from self._take(piece)
        yield from self._parse(final=True)

    def _take(self, piece: bytes | None) -> Iterator[list[Row]]:
        if piece is not None:
            self._decode(piece)
            yield from self._parse(final=False)
            return
        if self._read is None and not any(map(str.strip, self._lines)):
            raise SourceError(f"{self._name}: the first line, which must name columns, {TOO_LONG}")
        yield from self._parse(final=True)
        self.line += 1
        yield [Row(self.line, None, TOO_LONG)]

    def _decode(self, piece: bytes) -> None:
        if self._at_start:
            self._at_start = False
            if is_utf16(piece):
                raise SourceError(f"{self._name} {UTF16}")
            piece = piece.removeprefix(UTF8_BOM)
        suspect = b"\0" in piece
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            suspect = True
            text = piece.decode(errors="surrogateescape")
        self._suspect = suspect or (self._suspect and bool(self._lines))
        self._lines += _split(text)

    def _parse(self, *, final: bool) -> Iterator[list[Row]]:
        if self._read is None and not self._open(final=final):
            return
        while self._lines:
            reader = Reader(self._lines, self._separator)
            whole = True
            while whole and not reader.ran_out:
                rows: list[Row] = []
                whole = self._fill(rows, reader)
                yield rows
            if whole or (
                reader.ran_out and not final and not _is_oversized(self._lines[self._done :])
            ):
                self._drop(self._done)
                return
            self._drop(self._done + 1)
            yield [Row(self.line, None, UNCLOSED)]

    def _open(self, *, final: bool) -> bool:
        header = read_header(self._name, self._lines, self._fields, self._separators, final=final)
        if header is None:
            return False
        self._read = compile_reader(self._name, header.columns, self._fields)
        self._names = names_of(resolve(header.columns, self._fields))
        self.notice = choice(header.columns, self._fields)
        self._separator = header.separator
        self._width = len(header.columns)
        self._drop(header.lines)
        return True

    def _fill(self, rows: list[Row], reader: Reader) -> bool:
        """Append rows for the next records; False if one of them is malformed or cut."""
        read, width, suspect, records = self._read, self._width, self._suspect, reader.records
        names = self._names
        assert read is not None
        try:
            for record in islice(records, ROWS_MAX):
                begin, end = self._done, records.line_num
                if end - begin > 1 and _is_oversized(self._lines[begin:end]):
                    return False
                self._done = end
                if not (record and record[0].strip()) and not "".join(record).strip():
                    continue
                line = self.line + begin + 1
                if suspect and (problem := _unreadable(record)):
                    rows.append(Row(line, None, problem))
                elif len(record) == width:
                    rows.append(_new(Row, (line, read(record), None, names)))
                else:
                    problem = f"has {len(record)} fields, the header has {width}"
                    rows.append(Row(line, None, problem))
        except csv.Error:
            return False
        return True

    def _drop(self, count: int) -> None:
        """Drop the first lines: their rows have been handed on."""
        del self._lines[:count]
        self.line += count
        self._done = 0


def _is_oversized(lines: Sequence[str]) -> bool:
    return len(lines) > ROW_LINES_MAX or sum(map(len, lines)) > ROW_BYTES_MAX


def _split(text: str) -> list[str]:
    # Not str.splitlines: it also cuts at form feeds and at Unicode's own line separators.
    return io.StringIO(text, newline="").readlines()


def _unreadable(record: Sequence[str]) -> str | None:
    text = "".join(record)
    if "\0" in text:
        return NUL
    return None if is_unicode(text) else NOT_UTF8
