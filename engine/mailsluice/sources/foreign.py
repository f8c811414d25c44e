"""Files that are no text list, whatever their name: recognised by their first bytes. Pure."""

from __future__ import annotations

from mailsluice.model.errors import SourceError
from mailsluice.sources.lines import UTF8_BOM

_SAVE = 'save the list as "CSV UTF-8"'

_KINDS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    (
        (b"PK\x03\x04",),
        "a workbook (.xlsx, .ods, .numbers) or a zip archive",
        f"{_SAVE}, or unpack the archive",
    ),
    ((b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",), "a workbook of old Excel (.xls)", _SAVE),
    ((b"%PDF-",), "a PDF document", f"{_SAVE} in the program that made it"),
    ((b"{\\rtf",), "formatted text (RTF)", 'save it as plain text, in "UTF-8"'),
    (
        (b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"),
        "compressed (bzip2, xz, zstd, 7z or rar)",
        "unpack it, or compress it by gzip instead",
    ),
)
"""First bytes, the kind of file, and the remedy."""

_MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<table")
_MARKUP_BYTES_MAX = 1024


def kind_of(begin: bytes) -> tuple[str, str] | None:
    """Return the kind of a file that begins so, and the remedy; None if it may be a list."""
    for marks, kind, remedy in _KINDS:
        if begin.startswith(marks):
            return kind, remedy
    text = begin[:_MARKUP_BYTES_MAX].removeprefix(UTF8_BOM).lstrip().lower()
    if text.startswith(_MARKUP):
        return "a web page or XML", f"{_SAVE}, or download it again: it may be a page of errors"
    return None


def require_list(name: str, begin: bytes) -> None:
    """Raise SourceError, naming the list `name`, if its first bytes show that it is none."""
    if (found := kind_of(begin)) is not None:
        kind, remedy = found
        raise SourceError(f"{name} is {kind}, not a list as text: {remedy}")
