"""Files that are no list whatever they are called are refused by what they are."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from mailsluice.model.errors import SourceError
from mailsluice.sources import Fields
from mailsluice.sources.files import open_source

LIST = b"email,name\nann@example.com,J\xc3\xbcrgen\n"


def zipped(*members: str) -> bytes:
    """A zip archive, as .xlsx and .ods are, too."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in members:
            archive.writestr(name, LIST * 100)
    return made.getvalue()


FOREIGN = {
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "workbook", "CSV UTF-8"),
    "zip": (zipped("list.csv"), "zip archive", "unpack"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(range(256)) * 9, ".xls", "CSV UTF-8"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF", "CSV UTF-8"),
    "rtf": (b"{\\rtf1\\ansi email,name\\par}", "RTF", "plain text"),
    "html": (b"\n <!DOCTYPE html><html><body>404</body></html>", "web page", "download it again"),
    "excel's html": (
        b"\xef\xbb\xbf<table><tr><td>email</td></tr></table>",
        "web page",
        "CSV UTF-8",
    ),
    "xml": (b'<?xml version="1.0" encoding="UTF-8"?><Workbook/>', "XML", "CSV UTF-8"),
    "bzip2": (bz2.compress(LIST), "compressed", "gzip"),
    "xz": (lzma.compress(LIST), "compressed", "gzip"),
}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".ndjson", ".txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_file_that_is_no_list_is_named_as_what_it_is(
    tmp_path: Path, kind: str, suffix: str, encoding: str
) -> None:
    content, told, remedy = FOREIGN[kind]
    path = tmp_path / f"list{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    source = open_source(path, Fields(), encoding=encoding)
    assert await source.estimate() is None
    with pytest.raises(SourceError) as raised:
        [rows async for rows in source.rows()]
    text = str(raised.value)
    assert text.startswith(f"{path} is ")
    assert told in text
    assert remedy in text
    assert "cp1252" not in text


@pytest.mark.parametrize(
    "begin", [b"PK,email\n1,", b"%PDF,email\n1,", b"<id>,email\n1,", b"BZ,email\n1,"]
)
async def test_a_list_that_only_begins_alike_is_read(tmp_path: Path, begin: bytes) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(begin + b"ann@example.com\n")
    [[row]] = [rows async for rows in open_source(path, Fields()).rows()]
    assert row.recipient is not None
    assert row.recipient.to == "ann@example.com"
