"""NDJSON: shapes of rows, and rows that cannot be read."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice import Mailing
from mailsluice.mailing.intake import Intake
from mailsluice.model import Recipient
from mailsluice.model.errors import SourceError
from mailsluice.sources import ROW_BYTES_MAX, ROWS_MAX, Fields, Row
from mailsluice.sources.lines import TOO_LONG
from mailsluice.sources.ndjson import NdjsonParser


def parse(*blocks: bytes, fields: Fields | None = None) -> list[Row]:
    parser = NdjsonParser("list.ndjson", fields or Fields())
    lists = [rows for block in blocks for rows in parser.feed(block)]
    lists += parser.finish()
    assert all(len(rows) <= ROWS_MAX for rows in lists)
    return [row for rows in lists for row in rows]


def parse_one(row: object, fields: Fields | None = None) -> Row:
    [found] = parse(orjson.dumps(row), fields=fields)
    return found


A = "a@example.com"
MAILING = Mailing(from_address=A, template="t")
RENAMED = Fields(
    address="mail",
    cc="copy",
    data=("city",),
    tags={"kind": "k"},
    headers={"X-Id": "x"},
    key="id",
)


@pytest.mark.parametrize(
    ("row", "fields", "recipient"),
    [
        ({"email": A}, Fields(), Recipient(A, (), (), {})),
        ({"to": A}, Fields(), Recipient(A, (), (), {})),
        (
            {"email": A, "city": "Rome", "n": 1},
            Fields(),
            Recipient(A, data={"city": "Rome", "n": 1}),
        ),
        ({"email": A, "data": {"n": [1]}}, Fields(), Recipient(A, data={"n": [1]})),
        ({"email": A, "data": None, "n": 1}, Fields(), Recipient(A, data={"n": 1})),
        (
            {
                "to": [A, "b@example.com"],
                "cc": "c@example.com",
                "bcc": ["d@example.com"],
                "data": {},
                "tags": {"t": "1"},
                "headers": {"X": "2"},
                "key": "k",
            },
            Fields(),
            Recipient(
                [A, "b@example.com"],
                "c@example.com",
                ["d@example.com"],
                {},
                {"t": "1"},
                {"X": "2"},
                "k",
            ),
        ),
        ({"cc": [A]}, Fields(), Recipient((), [A], data={})),
        ({"to": A}, Fields(address="to"), Recipient(A, data={})),
        (
            {"mail": A, "copy": [A], "city": "Rome", "k": "v", "x": "", "id": "7", "rest": 1},
            RENAMED,
            Recipient(A, [A], data={"city": "Rome"}, tags={"kind": "v"}, key="7"),
        ),
        (
            {"mail": A, "tags": {"t": "1"}, "k": None, "x": "h", "data": {"n": 1}},
            RENAMED,
            Recipient(A, data={"n": 1}, tags={"t": "1"}, headers={"X-Id": "h"}),
        ),
    ],
)
def test_a_row_becomes_a_recipient(row: object, fields: Fields, recipient: Recipient) -> None:
    def plain(values: tuple[Any, ...]) -> list[Any]:
        return [each or None for each in values]

    found = parse_one(row, fields)
    assert found.recipient is not None, found.problem
    assert plain(found.recipient) == plain(
        tuple(list(v) if type(v) is tuple else v for v in recipient)
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (A, "is not a JSON object"),
        ({"address": A}, 'has neither "email" nor "to"'),
        ({"email": A, "to": [A]}, 'has both "email" and "to"'),
        ({"email": [A]}, '"email" is not text'),
        ({"to": [1]}, '"to" is neither text nor a list of texts'),
        ({"email": A, "cc": {}}, '"cc" is neither text nor a list of texts'),
        ({"email": A, "data": "x"}, '"data" is not an object'),
        (
            {"email": A, "data": {}, "citty": 1},
            '"citty" is unknown; beside "data" there is no other',
        ),
        ({"email": A, "tags": ["x"]}, '"tags" is not an object'),
        ({"email": A, "tags": {"n": 1}}, '"tags.n" is not text'),
        ({"email": A, "headers": {"X": None}}, '"headers.X" is not text'),
        ({"email": A, "key": 7}, '"key" is not text'),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not(row: object, problem: str) -> None:
    assert parse_one(row) == Row(1, None, problem)


@pytest.mark.parametrize(
    "line",
    [b'{"email": "a@example.com"', b"a@example.com", b'{"email": "\xff@example.com"}', b"{}{}"],
)
def test_broken_json_is_one_bad_row_that_tells_no_address(line: bytes) -> None:
    good = b'{"email":"a@example.com"}'
    rows = parse(good + b"\n\n  \r\n" + line + b"\r\n" + good)
    assert [(row.line, row.problem is None) for row in rows] == [(1, True), (4, False), (5, True)]
    assert str(rows[1].problem).startswith("is not JSON: ")
    assert "example.com" not in str(rows[1].problem)


def test_a_line_too_long_is_one_bad_row() -> None:
    good = b'{"email":"a@example.com"}\n'
    chunk = b"x" * (ROW_BYTES_MAX // 2)
    rows = parse(good, chunk, chunk, b"x\n" + good)
    assert [row.problem for row in rows] == [None, TOO_LONG, None]
    assert [row.line for row in rows] == [1, 2, 3]


@pytest.mark.parametrize(
    ("row", "fields", "reason"),
    [
        ({"email": "a"}, Fields(), "email: there is no @"),
        ({"to": ["a"]}, Fields(), "to: there is no @"),
        ({"mail": "a"}, Fields(address="mail"), "mail: there is no @"),
        ({"email": None, "n": 1}, Fields(), "email: there is no address"),
        ({"email": A, "copy": "a"}, Fields(cc="copy"), "copy: there is no @"),
    ],
)
def test_a_refusal_names_the_field_of_the_row(
    row: dict[str, Any], fields: Fields, reason: str
) -> None:
    [remark] = Intake(MAILING, "run").take(parse(orjson.dumps(row), fields=fields)).remarks
    assert remark.reason == f"line 1: {reason}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'\n [{"email": "a@example.com"}]', "JSON array"),
        ('{"email": "a@example.com"}'.encode("utf-16"), 'encoding = "utf-16"'),
    ],
)
def test_what_is_no_ndjson_at_all_is_refused_with_the_remedy(content: bytes, told: str) -> None:
    with pytest.raises(SourceError, match=told) as caught:
        parse(content)
    assert "list.ndjson" in str(caught.value)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse(b'\xef\xbb\xbf{"email":"a@example.com"}\n')[0].problem is None


@given(
    texts=st.lists(st.text(max_size=6), max_size=20),
    places=st.lists(st.integers(0, 2**16), max_size=20),
)
def test_rows_do_not_depend_on_where_blocks_are_cut(texts: list[str], places: list[int]) -> None:
    lines = [orjson.dumps({"email": A, "note": text}) for text in texts]
    content = b"\n".join(lines)
    edges = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    rows = parse(*(content[begin:end] for begin, end in pairwise(edges)))
    assert [row.recipient and row.recipient.data for row in rows] == [{"note": t} for t in texts]


def test_numbers_reach_the_request_as_they_were_written() -> None:
    text = b'{"email":"a@example.com","id":12345678901234567890123,"price":19.90}\n'
    [entry] = Intake(MAILING, "run").take(parse(text)).entries
    assert rb"{\"id\":12345678901234567890123,\"price\":19.90}" in entry.body


def test_a_row_with_one_key_twice_is_refused() -> None:
    [row] = parse(b'{"email":"a@example.com","email":"b@example.com"}\n')
    assert row == Row(1, None, 'has the key "email" twice')
