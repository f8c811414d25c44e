"""Which column of a CSV file plays which part, and how a record becomes a Recipient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import compress

from mailsluice.errors import SourceError
from mailsluice.model import Recipient
from mailsluice.sources import Fields

RecordReader = Callable[[list[str]], Recipient]

COLUMNS_SHOWN_MAX = 30
"""Column names that an error lists."""

_NAME_SHOWN_CHARS = 40
_MARK = re.compile(r'\\.|[",;<>]', re.DOTALL)
_CLOSING = {'"': '"', "<": ">"}
_new = tuple.__new__


def split_addresses(cell: str) -> tuple[str, ...]:
    """The addresses of a cell: parted by comma or semicolon outside of quotes and brackets."""
    parts = []
    begin = 0
    until = ""
    for mark in _MARK.finditer(cell):
        char = mark[0]
        if until:
            until = "" if char == until else until
        elif char in _CLOSING:
            until = _CLOSING[char]
        elif char in {",", ";"}:
            parts.append(cell[begin : mark.start()])
            begin = mark.end()
    parts.append(cell[begin:])
    return tuple(part for part in map(str.strip, parts) if part)


def compile_reader(name: str, columns: Sequence[str], fields: Fields) -> RecordReader:
    """The function that makes a Recipient of a record with as many cells as `columns`.

    Columns without a name are passed over. Raises SourceError, naming the file `name`, the
    configured field and the remedy, where `columns` do not suit `fields`.
    """
    _check(name, columns, fields)
    where = {column: at for at, column in enumerate(columns) if column}
    roles = list(_roles(fields))
    taken = {column for _, column in roles}
    wanted = set(fields.data) if fields.data is not None else where.keys() - taken
    keys = tuple(column for column in columns if column in wanted)
    mask = tuple(column in wanted for column in columns)
    to = where[fields.address]
    if len(roles) == 1:
        return _plain_reader(to, keys, mask)
    cc, bcc, key = (
        where[field] if field else None for field in (fields.cc, fields.bcc, fields.key)
    )
    tags = [(tag, where[column]) for tag, column in fields.tags.items()]
    headers = [(header, where[column]) for header, column in fields.headers.items()]

    def read(record: list[str]) -> Recipient:
        return Recipient(
            record[to],
            () if cc is None else split_addresses(record[cc]),
            () if bcc is None else split_addresses(record[bcc]),
            dict(zip(keys, compress(record, mask), strict=True)) if keys else None,
            {tag: record[at] for tag, at in tags if record[at]} or None,
            {header: record[at] for header, at in headers if record[at]} or None,
            None if key is None else record[key] or None,
        )

    return read


def _plain_reader(to: int, keys: tuple[str, ...], mask: tuple[bool, ...]) -> RecordReader:
    """As `compile_reader`, where there are only an address and data: a third of the time."""

    def read(record: list[str]) -> Recipient:
        # B905: `strict` costs a tenth of a microsecond, and `mask` was made of `keys`.
        data = dict(zip(keys, compress(record, mask))) if keys else None  # noqa: B905
        return _new(Recipient, (record[to], (), (), data, None, None, None))

    return read


def _check(name: str, columns: Sequence[str], fields: Fields) -> None:
    if fields.address not in columns:
        raise SourceError(_no_address(name, columns, fields.address))
    for column, times in Counter(filter(None, columns)).items():
        if times > 1:
            raise SourceError(
                f'{name}: {times} columns are called "{column}"; rename or remove all but one'
            )
    for role, column in _named(fields):
        if column not in columns:
            raise SourceError(
                f'{name}: [recipients] {role} names the column "{column}", which is not there; '
                f"the columns are: {_listed(columns)}"
            )


def _no_address(name: str, columns: Sequence[str], address: str) -> str:
    if any("@" in column for column in columns):
        # Not listed: these are somebody's data, and this text goes to logs.
        return (
            f"{name}: the first line looks like a recipient; "
            f'it must name the columns, the one with the addresses "{address}"'
        )
    return (
        f'{name}: no column is called "{address}"; the columns are: {_listed(columns)}. '
        'Say which one holds the addresses: [recipients] address = "..."'
    )


def _listed(columns: Sequence[str]) -> str:
    shown = [column[:_NAME_SHOWN_CHARS] for column in columns if column][:COLUMNS_SHOWN_MAX]
    return ", ".join(shown) + (", ..." if len(columns) > COLUMNS_SHOWN_MAX else "")


def _roles(fields: Fields) -> Iterator[tuple[str, str]]:
    """Every configured role but data, with its column."""
    yield "address", fields.address
    for role, column in (("cc", fields.cc), ("bcc", fields.bcc), ("key", fields.key)):
        if column is not None:
            yield role, column
    yield from ((f"tags.{tag}", column) for tag, column in fields.tags.items())
    yield from ((f"headers.{header}", column) for header, column in fields.headers.items())


def _named(fields: Fields) -> Iterator[tuple[str, str]]:
    yield from _roles(fields)
    yield from (("data", column) for column in fields.data or ())


def configured(fields: Fields) -> frozenset[str]:
    """Every column that `fields` names."""
    return frozenset(column for _, column in _named(fields))
