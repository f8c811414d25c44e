"""CSV: dialects, headers, rows that cannot be read, and blocks cut anywhere."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.model import Recipient
from mailsluice.model.errors import SourceError
from mailsluice.sources import ROW_BYTES_MAX, ROWS_MAX, Fields, Row
from mailsluice.sources.columns import split_addresses
from mailsluice.sources.csv import ROW_LINES_MAX, UNCLOSED, CsvParser
from mailsluice.sources.files import open_source
from mailsluice.sources.lines import NOT_UTF8, TOO_LONG

NAMES = {"to": "email"}
ANN = Row(2, Recipient("ann@example.com", data={"name": "Ann"}), names=NAMES)
BOB = Row(3, Recipient("bob@example.com", data={"name": "Bob"}), names=NAMES)


def parse(*blocks: bytes, fields: Fields | None = None) -> list[Row]:
    parser = CsvParser("list.csv", fields or Fields())
    lists = [rows for block in blocks for rows in parser.feed(block)]
    lists += parser.finish()
    assert all(len(rows) <= ROWS_MAX for rows in lists)
    return [row for rows in lists for row in rows]


def recipients(rows: list[Row]) -> list[Recipient | None]:
    return [row.recipient for row in rows]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"email,name\nann@example.com,Ann\nbob@example.com,Bob\n", id="comma, LF"),
        pytest.param(b"email,name\nann@example.com,Ann\nbob@example.com,Bob", id="no last LF"),
        pytest.param(b"email,name\r\nann@example.com,Ann\r\nbob@example.com,Bob\r\n", id="CRLF"),
        pytest.param(b"email,name\rann@example.com,Ann\rbob@example.com,Bob\r", id="lone CR"),
        pytest.param(b"email,name\rann@example.com,Ann\rbob@example.com,Bob", id="no last CR"),
        pytest.param(b"email;name\nann@example.com;Ann\nbob@example.com;Bob\n", id="semicolon"),
        pytest.param(b"email\tname\nann@example.com\tAnn\nbob@example.com\tBob\n", id="tab"),
        pytest.param(b"email|name\nann@example.com|Ann\nbob@example.com|Bob\n", id="bar"),
        pytest.param(
            b"\xef\xbb\xbfemail,name\nann@example.com,Ann\nbob@example.com,Bob\n", id="BOM"
        ),
        pytest.param(
            b'"email","name"\n"ann@example.com","Ann"\n"bob@example.com","Bob"\n', id="quoted"
        ),
        pytest.param(
            b" email , name \nann@example.com,Ann\nbob@example.com,Bob\n", id="padded header"
        ),
        pytest.param(
            b"email,name,,\nann@example.com,Ann,,\nbob@example.com,Bob,x,\n", id="unnamed columns"
        ),
    ],
)
async def test_every_dialect_gives_the_same_rows(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    rows = [row async for rows in open_source(path, Fields()).rows() for row in rows]
    assert rows == [ANN, BOB]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "^"])
@pytest.mark.parametrize("bom", ["", "\N{BYTE ORDER MARK}"])
def test_excels_sep_line_tells_the_separator(separator: str, bom: str) -> None:
    text = f"{bom}sep={separator}\r\nemail{separator}name\r\nann@example.com{separator}Ann\r\n"
    assert parse(text.encode()) == [ANN._replace(line=3)]


def test_a_file_of_nothing_but_sep_lines_has_no_column() -> None:
    with pytest.raises(SourceError, match="no column is called"):
        parse(b"sep=,\n" * 5_000)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("email;first, last;city", ["first, last", "city"]),
        ("email,first;last,city", ["first;last", "city"]),
        ('"email";"a,b"', ["a,b"]),
        ('email,"na\nme"', ["na me"]),
        ("last, first;email", ["last, first"]),
    ],
)
def test_the_separator_is_the_one_by_which_the_address_is_found(
    header: str, columns: list[str]
) -> None:
    separator = ";" if header.count(";") > header.count(",") or header[0] in '"l' else ","
    row = separator.join(["x"] * (len(columns) + 1))
    [found] = parse(f"{header}\n{row}\n".encode())
    assert found.recipient is not None
    assert list(found.recipient.data or {}) == columns


async def test_one_column_of_a_tsv_may_hold_commas(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text("email\nSmith, Ann <ann@example.com>\n")
    [[row]] = [rows async for rows in open_source(path, Fields()).rows()]
    assert row.recipient == Recipient("Smith, Ann <ann@example.com>")


def test_blank_rows_are_no_rows() -> None:
    content = b"\n\nemail,name\n\nann@example.com,Ann\n,\n  ,\n   \n\r\nbob@example.com,Bob\n\n"
    assert parse(content) == [ANN._replace(line=5), BOB._replace(line=10)]


def test_rows_are_known_by_the_line_on_which_they_begin() -> None:
    content = b'email,name\na@example.com,"1\n2\r\n3"\nb@example.com,x\n'
    assert parse(content) == [
        Row(2, Recipient("a@example.com", data={"name": "1\n2\r\n3"}), names=NAMES),
        Row(5, Recipient("b@example.com", data={"name": "x"}), names=NAMES),
    ]


FIELDS = Fields(
    address="to", cc="copy", bcc="blind", tags={"kind": "k"}, headers={"X-Id": "x"}, key="id"
)


def test_columns_play_the_parts_that_are_configured_and_the_rest_is_data() -> None:
    content = (
        b"id,to,copy,blind,k,x,city,note\n"
        b'7,ann@example.com,"""B; c"" <b@example.com>; c@example.com",d@example.com,a,b,Rome,\n'
        b",ann@example.com,,,,,,\n"
    )
    assert recipients(parse(content, fields=FIELDS)) == [
        Recipient(
            to="ann@example.com",
            cc=('"B; c" <b@example.com>', "c@example.com"),
            bcc=("d@example.com",),
            data={"city": "Rome", "note": ""},
            tags={"kind": "a"},
            headers={"X-Id": "b"},
            key="7",
        ),
        Recipient("ann@example.com", data={"city": "", "note": ""}),
    ]


def test_data_may_be_named_and_may_play_another_part_as_well() -> None:
    fields = Fields(data=("city", "id"), key="id")
    [row] = parse(b"id,email,city,other\n1,a@example.com,Rome,x\n", fields=fields)
    assert row.recipient == Recipient("a@example.com", data={"id": "1", "city": "Rome"}, key="1")


@pytest.mark.parametrize(
    ("cell", "addresses"),
    [
        ("", ()),
        (" ; ,", ()),
        ("a@x.org", ("a@x.org",)),
        ("a@x.org, b@x.org;c@x.org", ("a@x.org", "b@x.org", "c@x.org")),
        ('"A, B" <a@x.org>, <"x;y"@x.org>', ('"A, B" <a@x.org>', '<"x;y"@x.org>')),
        (r'"A \", B" <a@x.org>, b@x.org', (r'"A \", B" <a@x.org>', "b@x.org")),
        ('"never closed, b@x.org', ('"never closed, b@x.org',)),
    ],
)
def test_address_lists_are_cut_outside_quotes_and_brackets(
    cell: str, addresses: tuple[str, ...]
) -> None:
    assert split_addresses(cell) == addresses


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"x@example.com", "has 1 fields, the header has 2"),
        (b"x@example.com,X,Y", "has 3 fields, the header has 2"),
        (b"x@example.com,M\xfcller", NOT_UTF8),
        (b"x@example.com,\xed\xa0\x80", NOT_UTF8),
        (b"x@example.com,a\0b", "has a NUL character"),
        (b'x@example.com,"a"b', UNCLOSED),
        (b'x@example.com,"a', UNCLOSED),
        (b"x@example.com," + b"x" * ROW_BYTES_MAX, TOO_LONG),
    ],
)
def test_a_bad_row_does_not_touch_its_neighbours(line: bytes, problem: str) -> None:
    content = b"email,name\nann@example.com,Ann\n%b\nbob@example.com,Bob\n" % line
    cut = [content[at : at + 100_000] for at in range(0, len(content), 100_000)]
    assert parse(*cut) == [ANN, Row(3, None, problem), BOB._replace(line=4)]


def test_an_open_quote_costs_one_row_in_a_file_of_any_length() -> None:
    count = ROW_LINES_MAX * 3
    content = b'email,name\nx@example.com,"X\n' + b"bob@example.com,Bob\n" * count
    whole = parse(content)
    assert whole[0] == Row(2, None, UNCLOSED)
    assert whole[1:] == [BOB._replace(line=3 + n) for n in range(count)]
    assert whole == parse(*(content[at : at + 65_536] for at in range(0, len(content), 65_536)))


def test_a_line_too_long_inside_an_open_quote_costs_those_two_rows() -> None:
    long = b"y" * (ROW_BYTES_MAX + 1)
    content = b'email,name\nx@example.com,"X\nann@example.com,Ann\n%b\nbob@example.com,Bob\n' % long
    rows = parse(content[:1_000_000], content[1_000_000:3_000_000], content[3_000_000:])
    assert rows == [
        Row(2, None, UNCLOSED),
        ANN._replace(line=3),
        Row(4, None, TOO_LONG),
        BOB._replace(line=5),
    ]


@pytest.mark.parametrize(
    ("content", "fields", "told"),
    [
        (b"", Fields(), ["is empty"]),
        (b" \n\r\n", Fields(), ["is empty"]),
        (b"contact,name\n", Fields(), ['"email"', "contact, name", "[recipients] address ="]),
        (b"email,name,name\n", Fields(), ['2 columns are called "name"']),
        (b"email,name\n", Fields(key="id"), ['[recipients] key names the column "id"']),
        (b"email,name\n", Fields(tags={"t": "x"}), ['[recipients] tags.t names the column "x"']),
        (b"email,name\n", Fields(data=("y",)), ['[recipients] data names the column "y"']),
        ("email,name\n".encode("utf-16"), Fields(), ['encoding = "utf-16"', "CSV UTF-8"]),
        (b"Our list of May;;\nemail;name;\n", Fields(), ["Our list of May", "remove a title"]),
        ("email,name\n".encode("utf-16-le"), Fields(), ["CSV UTF-8"]),
        ("email,pr\xe9nom\n".encode("latin-1"), Fields(), ["CSV UTF-8"]),
        (b'"email,name\n', Fields(), ["quotes"]),
        (b'"email,name\n' * 200, Fields(), ["quotes"]),
        (b"x" * (ROW_BYTES_MAX + 1), Fields(), ["longer than"]),
    ],
)
def test_an_unusable_header_is_refused_with_the_remedy(
    content: bytes, fields: Fields, told: list[str]
) -> None:
    with pytest.raises(SourceError) as caught:
        parse(content, fields=fields)
    assert all(text in str(caught.value) for text in ["list.csv", *told])


def test_a_file_without_header_is_refused_without_telling_its_first_address() -> None:
    with pytest.raises(SourceError, match="looks like a recipient") as caught:
        parse(b"ann@example.com,Ann\n")
    assert "ann@example.com" not in str(caught.value)


def cut_at(content: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    return [content[begin:end] for begin, end in pairwise(edges)]


CELLS = st.text(alphabet='ab",;\t| \n\r\né\N{GRINNING FACE}\u2028\x0b\x1c\x85', max_size=8)
PLACES = st.lists(st.integers(0, 2**16), max_size=20)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=12),
    separator=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    bom=st.sampled_from(["", "\N{BYTE ORDER MARK}"]),
    places=PLACES,
)
def test_what_csv_writers_write_is_read_back_wherever_blocks_are_cut(
    rows: list[tuple[str, str]], separator: str, end: str, bom: str, places: list[int]
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(("email", "note"))
    writer.writerows(("a@example.com", "".join(row)) for row in rows)
    content = (bom + text.getvalue()).encode()
    expected = [Recipient("a@example.com", data={"note": "".join(row)}) for row in rows]
    assert recipients(parse(*cut_at(content, places))) == expected


@given(
    content=st.lists(
        st.sampled_from(
            [
                b"a",
                b'"',
                b'""',
                b",",
                b";",
                b"\n",
                b"\r",
                b"\r\n",
                b" ",
                b"\xc3\xa9",
                b"\xff",
                b"\0",
            ]
        ),
        max_size=60,
    ).map(b"".join),
    places=PLACES,
)
def test_rows_do_not_depend_on_where_blocks_are_cut(content: bytes, places: list[int]) -> None:
    content = b"email,name\r\n" + content
    assert parse(*cut_at(content, places)) == parse(content)
