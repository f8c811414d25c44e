"""The header of a CSV file, and what it tells of the dialect."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from mailsluice.model.errors import SourceError
from mailsluice.sources import ROW_BYTES_MAX, Fields
from mailsluice.sources.columns import cleaned, configured, resolve
from mailsluice.sources.lines import NOT_UTF8

SEPARATORS = (",", ";", "\t", "|")
"""What Excel writes, and the one that people choose to avoid quoting."""

HEADER_LINES_MAX = 100
"""Lines that a header may span: its names may hold quoted line ends."""

_EXCEL_HINT = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_BLANK = " \r\n" + "".join(SEPARATORS)


class Header(NamedTuple):
    """The header and dialect of a file."""

    separator: str
    columns: tuple[str, ...]
    lines: int
    """Lines up to the first row."""


class Reader:
    """`csv.reader` over lines, with the means to tell a cut record from a malformed one."""

    def __init__(self, lines: Sequence[str], separator: str) -> None:
        # The limit is the process's. It is only ever raised, so nobody else's file is refused.
        csv.field_size_limit(max(csv.field_size_limit(), ROW_BYTES_MAX))
        self._end = _End()
        self.records = csv.reader(chain(lines, self._end), delimiter=separator, strict=True)

    @property
    def ran_out(self) -> bool:
        """True if more lines were requested than there are."""
        return self._end.reached


class _End(Iterator[str]):
    """An empty iterator. It has no reference to its reader: a cycle would keep that alive."""

    def __init__(self) -> None:
        self.reached = False

    def __next__(self) -> str:
        self.reached = True
        raise StopIteration


def read_header(
    name: str, lines: Sequence[str], fields: Fields, separators: Sequence[str], *, final: bool
) -> Header | None:
    """Return the header at the beginning of `lines`; None if more lines are needed.

    Of the separators by which the address column is found, the one that finds the most columns of
    `fields`, then the most columns, then the first. `final`: no more lines will come. Raises
    SourceError, naming the file `name`, if there is no usable header.
    """
    skipped = next((at for at, line in enumerate(lines) if line.strip(_BLANK)), len(lines))
    body = lines[skipped : skipped + HEADER_LINES_MAX]
    if not body:
        if final:
            raise SourceError(f"{name} is empty; its first line must name the columns")
        return None
    hint = _EXCEL_HINT.fullmatch(body[0])
    if hint and len(separators) > 1:  # the first such line only
        rest = read_header(name, lines[skipped + 1 :], fields, (hint[1],), final=final)
        return rest and rest._replace(lines=rest.lines + skipped + 1)
    final = final or len(body) == HEADER_LINES_MAX
    found = [_read_as(separator, body) for separator in separators]
    if None in found and not final:
        return None
    headers = [header for header in found if header is not None and header.columns]
    if not headers:
        raise SourceError(f"{name}: the quotes of the first line, with the columns, do not match")
    best = max(headers, key=lambda header: _fitness(header.columns, fields))
    _require_text(name, best.columns)
    return best._replace(lines=best.lines + skipped)


def _read_as(separator: str, lines: Sequence[str]) -> Header | None:
    """Return the first record; without columns if it is malformed, None if it is cut."""
    reader = Reader(lines, separator)
    try:
        columns = next(reader.records)
    except csv.Error:
        return None if reader.ran_out else Header(separator, (), 0)
    return Header(separator, tuple(map(cleaned, columns)), reader.records.line_num)


def _fitness(columns: tuple[str, ...], fields: Fields) -> tuple[bool, int, int]:
    fields = resolve(columns, fields)
    return fields.address in columns, len(configured(fields) & set(columns)), len(columns)


def _require_text(name: str, columns: Sequence[str]) -> None:
    text = "".join(columns)
    if "\0" in text or not is_unicode(text):
        raise SourceError(f"{name} {NOT_UTF8}")


def is_unicode(text: str) -> bool:
    """Return True if all of it was UTF-8: undecodable bytes have become lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
