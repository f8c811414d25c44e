"""Lists in other encodings than UTF-8: read if their encoding is named, else refused as a whole."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.config import loading
from mailsluice.model import Recipient
from mailsluice.model.errors import ConfigurationError, SourceError
from mailsluice.sources import Fields, Row
from mailsluice.sources.csv import CsvParser
from mailsluice.sources.encoding import RecodingParser
from mailsluice.sources.files import open_source

NAMES = ("Jürgen", "Ann", "Zoë")
TEXT = "email,name\r\n" + "".join(f"u{n}@example.com,{name}\r\n" for n, name in enumerate(NAMES))
ROWS = [
    Row(n + 2, Recipient(f"u{n}@example.com", data={"name": name}), names={"to": "email"})
    for n, name in enumerate(NAMES)
]


async def read(path: Path, encoding: str = "utf-8") -> list[Row]:
    source = open_source(path, Fields(), encoding=encoding)
    return [row async for rows in source.rows() for row in rows]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "UTF8", "mac-roman", "cp850"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".txt"])
async def test_a_list_is_read_in_the_encoding_that_is_named(
    tmp_path: Path, encoding: str, suffix: str
) -> None:
    path = tmp_path / f"list{suffix}"
    stored = TEXT.encode(encoding)
    path.write_bytes(gzip.compress(stored) if suffix.endswith(".gz") else stored)
    assert await read(path, encoding) == ROWS


async def test_a_list_of_which_many_rows_do_not_decode_is_refused_before_its_first_row(
    tmp_path: Path,
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(TEXT.encode("cp1252"))
    with pytest.raises(SourceError, match=r'encoding = "cp1252".* \(2 of the first 4 lines\)$'):
        await read(path)


async def test_one_broken_row_among_many_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    good = b"".join(b"u%d@example.com,U\n" % n for n in range(1_000))
    path.write_bytes(b"email,name\n" + good + b"x@example.com,M\xfcller\n")
    rows = await read(path)
    assert [row.line for row in rows if row.problem] == [1_002]
    assert len(rows) == 1_001


async def test_a_character_cut_by_the_samples_end_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    header = "email,name\n"
    path.write_text(header + "a@example.com,é" * 1 + "é" * 1024 * 1024 + "\n" + "b@example.com,é\n")
    assert [row.problem for row in await read(path)] == [None, None]


async def test_a_byte_that_the_encoding_does_not_know_refuses_its_row_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"email,name\na@example.com,\x81\nb@example.com,M\xfcller\n")
    bad, good = await read(path, "cp1252")
    assert (bad.line, bad.recipient, bad.problem is not None) == (2, None, True)
    assert good.recipient == Recipient("b@example.com", data={"name": "Müller"})


@given(
    st.sampled_from(["cp1252", "utf-16", "utf-8-sig", "shift_jis"]), st.lists(st.integers(0, 99))
)
def test_where_the_blocks_are_cut_makes_no_difference(encoding: str, cuts: list[int]) -> None:
    names = ["日本", "é"]
    text = "email,name\n" + "".join(f"a@example.com,{n}\n" for n in names)
    stored = text.encode(encoding, errors="replace")
    places = sorted({min(cut, len(stored)) for cut in cuts} | {0, len(stored)})
    parser = RecodingParser(CsvParser, encoding, "list.csv", Fields())
    rows = [
        row
        for begin, end in itertools.pairwise(places)
        for some in parser.feed(stored[begin:end])
        for row in some
    ]
    rows += [row for some in parser.finish() for row in some]
    expected = stored.decode(encoding).splitlines()[1:]
    assert [row.recipient and (row.recipient.data or {})["name"] for row in rows] == [
        line.partition(",")[2] for line in expected
    ]


def test_an_encoding_that_nobody_knows_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "mailing.toml"
    path.write_text(
        '[mailing]\nfrom = "a@example.com"\ntemplate = "t"\n[recipients]\nencoding = "x"\n'
    )
    with pytest.raises(ConfigurationError, match=r"\[recipients\] encoding: unknown encoding"):
        loading.load(path)
    with pytest.raises(ConfigurationError, match="unknown encoding"):
        loading.load(path, ["recipients.encoding=base64"])
