"""The role of each column of a CSV file, and the step from a record to a Recipient."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import chain, compress

from mailsluice.model import Recipient
from mailsluice.model.errors import SourceError
from mailsluice.sources import Fields

RecordReader = Callable[[list[str]], Recipient]

COLUMNS_SHOWN_MAX = 30
"""Column names that an error lists."""

ADDRESS_COLUMNS = (
    *("email", "mail", "emailaddress", "mailaddress", "email1value", "email1"),
    *("emailadresse", "mailadresse"),  # German, as Outlook writes it
    *("adresseemail", "adressemail", "adresseélectronique", "adressedemessagerie"),  # French
    *("courriel", "adressecourriel"),
)
"""What Excel, Outlook, Google Contacts, Mailchimp, HubSpot and people call the address, without
spaces, hyphens and the like. They count if `fields` leaves the address column at its default."""

_NAME_SHOWN_CHARS = 40
_invisible = re.compile(r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""Soft hyphens, zero-width spaces, marks of direction and byte order marks: copied text brings them
along, and they can be neither seen nor typed. Joiners (U+200C, U+200D) belong to words of some
scripts, and stay."""
_joints = re.compile(r"[\W_]+")
_digits = re.compile(r"\d+")
_ends_in_email = re.compile(r"(?<![^\W_])e[\W_]?mail(?:[\W_]*add?resse?)?$").search
_MARK = re.compile(r'\\.|[",;<>]', re.DOTALL)
_CLOSING = {'"': '"', "<": ">"}
_new = tuple.__new__


def cleaned(name: str) -> str:
    """Return a column's name without invisible characters, and with single spaces."""
    return " ".join(_invisible.sub("", name).split())


def split_addresses(cell: str) -> tuple[str, ...]:
    """Split a cell into addresses at commas and semicolons outside quotes and brackets."""
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
    """Return a function that makes a Recipient of a record with as many cells as `columns`.

    Columns without a name are skipped. Raises SourceError, naming the file `name`, the
    configured field and the remedy, if `columns` do not suit `fields`.
    """
    fields = resolve(columns, fields)
    _check(name, columns, fields)
    where = {column: at for at, column in enumerate(columns) if column}
    roles = list(_roles(fields))
    taken = {column for _, column in roles}
    wanted = set(fields.data) if fields.data is not None else where.keys() - taken
    names = _data_names(name, [column for column in columns if column in wanted], fields)
    keys = tuple(names)
    mask = tuple(column in wanted for column in columns)
    to = where[fields.address]
    if len(roles) == 1 and fields.address_as is None:
        return _plain_reader(to, keys, mask)
    cc, bcc, key = (
        where[field] if field else None for field in (fields.cc, fields.bcc, fields.key)
    )
    tags = [(tag, where[column]) for tag, column in fields.tags.items()]
    headers = [(header, where[column]) for header, column in fields.headers.items()]
    if fields.address_as is not None:
        keys = (*keys, fields.address_as)

    def data(record: list[str]) -> dict[str, str] | None:
        address = () if fields.address_as is None else (record[to],)
        return dict(zip(keys, chain(compress(record, mask), address), strict=True)) or None

    def read(record: list[str]) -> Recipient:
        return Recipient(
            record[to],
            () if cc is None else split_addresses(record[cc]),
            () if bcc is None else split_addresses(record[bcc]),
            data(record),
            {tag: record[at] for tag, at in tags if record[at]} or None,
            {header: record[at] for header, at in headers if record[at]} or None,
            None if key is None else record[key] or None,
        )

    return read


def _plain_reader(to: int, keys: tuple[str, ...], mask: tuple[bool, ...]) -> RecordReader:
    """Do as `compile_reader` in a third of the time; for an address and data alone."""

    def read(record: list[str]) -> Recipient:
        # B905: `strict` costs a tenth of a microsecond, and `mask` was made of `keys`.
        data = dict(zip(keys, compress(record, mask))) if keys else None  # noqa: B905
        return _new(Recipient, (record[to], (), (), data, None, None, None))

    return read


def resolve(columns: Sequence[str], fields: Fields) -> Fields:
    """Replace the column names of `fields` by those of the file, which may differ in case.

    If `fields` leaves the address column at its default, the first of `ADDRESS_COLUMNS` is it.
    """
    by_folded: dict[str, str] = {}
    for column in columns:
        by_folded.setdefault(column.casefold(), column)

    def found(column: str) -> str:
        return column if column in columns else by_folded.get(cleaned(column).casefold(), column)

    address = found(fields.address)
    if fields.address == Fields().address and address not in columns:
        by_bare = {_bare(column): column for column in reversed(columns)}
        known = (by_bare[each] for each in ADDRESS_COLUMNS if each in by_bare)
        address = next(known, address)
    return replace(
        fields,
        address=address,
        cc=fields.cc and found(fields.cc),
        bcc=fields.bcc and found(fields.bcc),
        key=fields.key and found(fields.key),
        data=None if fields.data is None else tuple(map(found, fields.data)),
        tags={tag: found(column) for tag, column in fields.tags.items()},
        headers={header: found(column) for header, column in fields.headers.items()},
        rename={found(column): name for column, name in fields.rename.items()},
    )


def _bare(column: str) -> str:
    """Normalise a name for `ADDRESS_COLUMNS`: "E-Mail", "e_mail" and "Email" are the same."""
    return _joints.sub("", unicodedata.normalize("NFC", column).casefold())


def choice(columns: Sequence[str], fields: Fields) -> str | None:
    """Return a note on the address column, if its name differs from that in `fields`.

    Others that may hold addresses are named: a list may have two for each person.
    """
    address = resolve(columns, fields).address
    if address == fields.address:
        return None
    told = f'the addresses are those of the column "{address[:_NAME_SHOWN_CHARS]}"'
    others = [column for column in columns if column != address and _may_be_address(column)]
    if not others:
        return told
    shown = ", ".join(f'"{column[:_NAME_SHOWN_CHARS]}"' for column in others[:COLUMNS_SHOWN_MAX])
    return f'{told}, not of {shown}; [recipients] address = "..." chooses another'


def _may_be_address(column: str) -> bool:
    """Return True if a column's name is, or ends with, one for addresses: "Work email"."""
    bare = _digits.sub("", _bare(column))
    known = {_digits.sub("", each) for each in ADDRESS_COLUMNS}
    return bare in known or _ends_in_email(column.casefold()) is not None


def names_of(fields: Fields) -> dict[str, str]:
    """Return the list's names for a recipient's fields."""
    named = {"to": fields.address, "cc": fields.cc, "bcc": fields.bcc, "key": fields.key}
    return {field: column[:_NAME_SHOWN_CHARS] for field, column in named.items() if column}


def _data_names(name: str, columns: Sequence[str], fields: Fields) -> list[str]:
    """Return the template's names for these columns. Raises SourceError."""
    names = [fields.rename.get(column, column) for column in columns]
    given = [*names, fields.address_as] if fields.address_as is not None else names
    twice = next((each for each, times in Counter(given).items() if times > 1), None)
    if twice is not None:
        raise SourceError(
            f'{name}: two columns would be "{twice}" in the template; change [recipients] rename '
            "or address_as, or list the columns to use in [recipients] data"
        )
    return names


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
                f'{name}: [recipients] {role} names the column "{column}", which is not there'
                f"{_meant(column, columns)}; the columns are: {_listed(columns)}"
            )


def _no_address(name: str, columns: Sequence[str], address: str) -> str:
    if any("@" in column for column in columns):
        # Not listed: these are somebody's data, and this text goes to logs.
        return (
            f"{name}: the first line looks like a recipient; it must name the columns, the one "
            f'with the addresses "{address}": put a line such as "{address},name" above it'
        )
    if sum(map(bool, columns)) == 1:
        return (
            f'{name}: no column is called "{address}"; the first line is "{_listed(columns)}". '
            "It must name the columns: remove a title above them, or say which column holds the "
            'addresses: [recipients] address = "..."'
        )
    return (
        f'{name}: no column is called "{address}"{_meant(address, columns)}; '
        f"the columns are: {_listed(columns)}. "
        'Say which one holds the addresses: [recipients] address = "..."'
    )


def _meant(column: str, columns: Sequence[str]) -> str:
    close = get_close_matches(column, columns, n=1)
    return f' (did you mean "{close[0][:_NAME_SHOWN_CHARS]}"?)' if close else ""


def _listed(columns: Sequence[str]) -> str:
    shown = [column[:_NAME_SHOWN_CHARS] for column in columns if column][:COLUMNS_SHOWN_MAX]
    return ", ".join(shown) + (", ..." if len(columns) > COLUMNS_SHOWN_MAX else "")


def _roles(fields: Fields) -> Iterator[tuple[str, str]]:
    """Yield every configured role except data, with its column."""
    yield "address", fields.address
    for role, column in (("cc", fields.cc), ("bcc", fields.bcc), ("key", fields.key)):
        if column is not None:
            yield role, column
    yield from ((f"tags.{tag}", column) for tag, column in fields.tags.items())
    yield from ((f"headers.{header}", column) for header, column in fields.headers.items())


def _named(fields: Fields) -> Iterator[tuple[str, str]]:
    yield from _roles(fields)
    yield from (("data", column) for column in fields.data or ())
    yield from (("rename", column) for column in fields.rename)


def configured(fields: Fields) -> frozenset[str]:
    """Yield every column that `fields` names."""
    return frozenset(column for _, column in _named(fields))
