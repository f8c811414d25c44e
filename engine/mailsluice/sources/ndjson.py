"""NDJSON: one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mailsluice.model import Recipient, exact_json
from mailsluice.model.errors import SourceError
from mailsluice.sources import ROWS_MAX, Fields, Row
from mailsluice.sources.lines import TOO_LONG, UTF8_BOM, UTF16, LineCutter, is_utf16

TO = "to"
"""The field that holds a list of addresses, beside the configured one that holds one."""


class _WrongFieldError(ValueError):
    """Which field is wrong, and how. Never its value: reasons are logged."""


class NdjsonParser:
    """Takes an NDJSON file block by block and gives its rows in lists of up to `ROWS_MAX`.

    Where the cuts between the blocks fall makes no difference to the rows. Its methods are lazy:
    the work is done while their result is iterated over, some 2 ms for each list. A list is empty
    if it had only blank lines. They raise SourceError, naming the file `name`, if it is UTF-16 or
    one large JSON array.
    """

    def __init__(self, name: str, fields: Fields) -> None:
        self.line = 0
        """Lines whose rows have been handed on."""
        self.notice: str | None = None
        """Always empty: JSON fields are matched only by their exact names."""
        self._name = name
        self._reader = ObjectReader(fields)
        self._cutter = LineCutter(lone_cr=False)
        self._at_start = True

    def feed(self, block: bytes) -> Iterator[list[Row]]:
        """Yield the rows that `block` completes; a block has at most `ROW_BYTES_MAX` bytes."""
        for piece in self._cutter.feed(block):
            yield from self._take(piece)

    def finish(self) -> Iterator[list[Row]]:
        """Yield the last row, if no line end follows it."""
        for piece in self._cutter.finish():
            yield from self._take(piece)

    def _take(self, piece: bytes | None) -> Iterator[list[Row]]:
        if piece is None:
            self.line += 1
            yield [Row(self.line, None, TOO_LONG)]
            return
        lines = self._begin(piece).removesuffix(b"\n").split(b"\n")
        for first in range(0, len(lines), ROWS_MAX):
            found = map(self._row, lines[first : first + ROWS_MAX])
            yield [row for row in found if row is not None]

    def _begin(self, piece: bytes) -> bytes:
        if not self._at_start:
            return piece
        if is_utf16(piece):
            raise SourceError(f"{self._name} {UTF16}")
        piece = piece.removeprefix(UTF8_BOM)
        if begun := piece.lstrip():
            self._at_start = False
            if begun.startswith(b"["):
                raise SourceError(
                    f"{self._name} is a JSON array; write one object a line (jq -c '.[]' does it)"
                )
        return piece

    def _row(self, text: bytes) -> Row | None:
        self.line += 1
        reader = self._reader
        try:
            row = exact_json.loads(text)
            return Row(self.line, reader.read(row), None, reader.names_in(row))
        except exact_json.JSONDecodeError as error:
            if not text.strip():
                return None
            return Row(self.line, None, f"is not JSON: {error.msg} at column {error.colno}")
        except (exact_json.JSONLossError, _WrongFieldError) as error:
            return Row(self.line, None, str(error))


class ObjectReader:
    """Makes a Recipient of a row's object.

    Reserved names: the address field, `to`, `cc`, `bcc`, `data`, `tags`, `headers`, `key`, and the
    fields that are configured in their place. All others are template data if the row has no
    `data` object and `fields.data` does not name the ones that are.
    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._cc = fields.cc or "cc"
        self._bcc = fields.bcc or "bcc"
        self._key = fields.key or "key"
        self._destination = (fields.address, TO, self._cc, self._bcc)
        self._taken = frozenset((*self._destination, self._key, "data", "tags", "headers")).union(
            fields.tags.values(), fields.headers.values()
        )
        own = {"cc": self._cc, "bcc": self._bcc, "key": self._key}
        self._names_with_list = {TO: TO, **own}
        self._names = {TO: fields.address, **own}

    def names_in(self, row: dict[str, Any]) -> dict[str, str]:
        """Return this row's names for the fields of its recipient."""
        return self._names_with_list if row.get(TO) else self._names

    def read(self, row: object) -> Recipient:
        """Make a Recipient of a row's object. Raises ValueError, naming the wrong field."""
        if not isinstance(row, dict):
            raise _WrongFieldError("is not a JSON object")
        if not any(name in row for name in self._destination):
            raise _WrongFieldError(f'has neither "{self._fields.address}" nor "{TO}"')
        to = self._to(row)
        return Recipient(
            to,
            _addresses(row, self._cc),
            _addresses(row, self._bcc),
            self._with_address(self._renamed(self._data(row)), to),
            _texts(row, "tags", self._fields.tags),
            _texts(row, "headers", self._fields.headers),
            _text(row, self._key),
        )

    def _to(self, row: dict[str, Any]) -> str | list[str]:
        single = self._fields.address
        to = _addresses(row, TO)
        if single == TO:
            return to
        address = _text(row, single)
        if address and to:
            raise _WrongFieldError(f'has both "{single}" and "{TO}"')
        return address or to

    def _renamed(self, data: dict[str, Any]) -> dict[str, Any]:
        rename = self._fields.rename
        if not rename:
            return data
        renamed = {rename.get(name, name): value for name, value in data.items()}
        if len(renamed) < len(data):
            raise _WrongFieldError("has two fields that [recipients] rename gives one name")
        return renamed

    def _with_address(self, data: dict[str, Any], to: str | list[str]) -> dict[str, Any]:
        name = self._fields.address_as
        if name is None or not to:
            return data
        if name in data:
            raise _WrongFieldError(f'has "{name[:60]}", which [recipients] address_as sets')
        return {**data, name: to if isinstance(to, str) else to[0]}

    def _data(self, row: dict[str, Any]) -> dict[str, Any]:
        given = row.get("data")
        if given is not None and not isinstance(given, dict):
            raise _WrongFieldError('"data" is not an object')
        if self._fields.data is not None:
            own = {name: row[name] for name in self._fields.data if name in row}
            return {**(given or {}), **own}
        if given is None:
            return {name: value for name, value in row.items() if name not in self._taken}
        for name in row:
            if name not in self._taken:
                raise _WrongFieldError(f'"{name[:60]}" is unknown; beside "data" there is no other')
        return given


def _addresses(row: dict[str, Any], name: str) -> str | list[str]:
    value = row.get(name)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise _WrongFieldError(f'"{name}" is neither text nor a list of texts')


def _text(row: dict[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise _WrongFieldError(f'"{name}" is not text')


def _texts(row: dict[str, Any], name: str, fields: dict[str, str]) -> dict[str, str] | None:
    """Return the row's object `name`, with what single fields add to it."""
    given = row.get(name)
    if given is None and not fields:
        return None
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise _WrongFieldError(f'"{name}" is not an object')
    for inner, value in given.items():
        if not isinstance(value, str):
            raise _WrongFieldError(f'"{name}.{inner[:60]}" is not text')
    added = {inner: _text(row, source) for inner, source in fields.items()}
    return {**given, **{inner: text for inner, text in added.items() if text}} or None
