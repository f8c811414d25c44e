"""Lists of addresses for `mailsluice suppress`: read from files and arguments, and written."""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast, get_args

import orjson
import typer

from mailsluice.mailing import addresses
from mailsluice.model.errors import ConfigurationError, SourceError
from mailsluice.suppression import exports
from mailsluice.suppression.exports import Format, Refused
from mailsluice.suppression.scopes import ALL, Reason, Suppression, is_scope

REASONS = "|".join(Reason)
FORMATS = "|".join(get_args(Format))
EXPORTS = "csv|ndjson|ses"

STDIN = Path("-")

COLUMNS = ("address", "reason", "scope", "at", "source", "expires")
"""Columns of an export."""

_OF_SES = {Reason.BOUNCE: "BOUNCE", Reason.COMPLAINT: "COMPLAINT"}
"""Reasons that SES's account list knows."""

Each = TypeVar("Each")


def reason_of(text: str) -> Reason:
    """Read a reason. Raises typer.BadParameter."""
    try:
        return Reason(text)
    except ValueError:
        raise typer.BadParameter(f"--reason: it must be one of {REASONS}") from None


def format_of(text: str) -> Format:
    """Read the format of a list. Raises typer.BadParameter."""
    if text not in get_args(Format):
        raise typer.BadParameter(f"--format: it must be one of {FORMATS}")
    return cast("Format", text)


def scope_of(text: str | None) -> str | None:
    """Read a scope. Raises typer.BadParameter."""
    if text is not None and not is_scope(text):
        raise typer.BadParameter("--scope: it must be 1 to 64 of A-Z a-z 0-9 . _ -")
    return text


def export_of(text: str) -> str:
    """Read the format of an export. Raises typer.BadParameter."""
    if text not in EXPORTS.split("|"):
        raise typer.BadParameter(f"--format: it must be one of {EXPORTS}")
    return text


def keys_of(texts: Sequence[str]) -> list[str]:
    """Return addresses as they are compared, each once. Raises ConfigurationError."""
    found: dict[str, None] = {}
    for where, text in _given(texts):
        try:
            found[addresses.normalise(text).key] = None
        except addresses.AddressError as error:
            raise ConfigurationError(f"{where}: {error}; nothing was changed") from None
    if not found:
        raise ConfigurationError("standard input names no address; nothing was changed")
    return [*found]


def _given(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each address, and where it stands."""
    for number, text in enumerate(texts, 1):
        if text != str(STDIN):
            yield f"address {number}", text
            continue
        for line, each in enumerate(sys.stdin.buffer, 1):
            try:
                read = each.decode().strip()
            except UnicodeDecodeError:
                raise ConfigurationError(
                    f"standard input, line {line}: it is not UTF-8; nothing was changed"
                ) from None
            if read:
                yield f"standard input, line {line}", read


def read(
    path: Path, format_: Format, reason: Reason | None, scope: str | None, now: float
) -> Iterator[Suppression | Refused]:
    """Yield the rows of a file, addresses as they are compared. Raises SourceError."""
    try:
        content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    try:
        for number, row in enumerate(exports.parse(content, format_, reason, now), 1):
            yield row if isinstance(row, Refused) else _compared(number, row, scope)
    except exports.Unusable as error:
        raise SourceError(f"{path}: {error}") from None


def _compared(number: int, row: Suppression, scope: str | None) -> Suppression | Refused:
    """Bring a row's address into the form in which addresses are compared."""
    assert row.address is not None
    key = addresses.plain_key(row.address)
    if key is None:
        try:
            key = addresses.normalise(row.address).key
        except addresses.AddressError as error:
            return Refused(number, f"its address: {error}")
    return row._replace(address=key, scope=scope or row.scope)


def parts(rows: Iterable[Each], size: int) -> Iterator[list[Each]]:
    """Yield rows in lists of at most `size`."""
    rest = iter(rows)
    while part := list(itertools.islice(rest, size)):
        yield part


def as_dict(each: Suppression) -> dict[str, Any]:
    """Return a suppression as JSON has it; times are ISO 8601."""
    at, expires = _time(each.at), each.expires and _time(each.expires)
    return dict(
        zip(
            COLUMNS,
            (each.address, each.reason.value, each.scope, at, each.source, expires or None),
            strict=True,
        )
    )


def described(each: Suppression) -> str:
    """Say why an address is suppressed."""
    where = "from all mail" if each.scope == ALL else f"from {each.scope}"
    until = f", until {_time(each.expires)}" if each.expires is not None else ""
    source = f" ({each.source})" if each.source else ""
    return f"suppressed {where}: {each.reason}, since {_time(each.at)}{until}{source}"


def write(entries: Iterable[Suppression], format_: str, out: TextIO) -> int:
    """Write entries. Return how many the format cannot hold."""
    if format_ == "ndjson":
        out.writelines(orjson.dumps(as_dict(each)).decode() + "\n" for each in entries)
        return 0
    writer, left_out = csv.writer(out, lineterminator="\n"), 0
    if format_ == "csv":
        writer.writerow(COLUMNS)
        writer.writerows(as_dict(each).values() for each in entries)
        return 0
    for each in entries:
        if each.address is None or each.reason not in _OF_SES:
            left_out += 1
        else:
            writer.writerow((each.address, _OF_SES[each.reason]))
    return left_out


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
