"""Which column plays which part: names as people write them, and names for the template."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from mailsluice.model import Recipient
from mailsluice.model.errors import SourceError
from mailsluice.sources import Fields, Row
from mailsluice.sources.csv import CsvParser
from mailsluice.sources.files import open_source
from mailsluice.sources.ndjson import NdjsonParser

A = "a@example.com"


def parse(text: str, **fields: Any) -> list[Row]:
    parser = CsvParser("list.csv", Fields(**fields))
    return [row for rows in (*parser.feed(text.encode()), *parser.finish()) for row in rows]


def parse_json(text: str, **fields: Any) -> list[Row]:
    parser = NdjsonParser("list.ndjson", Fields(**fields))
    return [row for rows in (*parser.feed(text.encode()), *parser.finish()) for row in rows]


def data_of(rows: list[Row]) -> dict[str, Any]:
    [row] = rows
    assert row.recipient is not None, row.problem
    return dict(row.recipient.data or {})


@pytest.mark.parametrize(
    "column",
    [
        *("email", "Email", " EMAIL ", "E-Mail", "e-mail", "Email Address", "E-mail Address"),
        *("Mail", "email_address", "EmailAddress", "E-mail 1 - Value"),
        *("E-Mail-Adresse", "E-Mail Adresse", "Mailadresse", "Emailadresse"),
        *("Adresse e-mail", "Adresse E-mail", "Adresse email", "Courriel", "Adresse courriel"),
        *("Adresse électronique", "Adresse e\u0301lectronique", "Adresse de messagerie"),
    ],
)
def test_the_usual_names_of_the_address_column_are_found(column: str) -> None:
    [row] = parse(f"Name;{column}\nAnn;{A}\n")
    assert row.recipient == Recipient(A, data={"Name": "Ann"})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Email Address,First Name,Last Name,Address,MEMBER_RATING,OPTIN_TIME", "Email Address"),
        ("Record ID,First Name,Last Name,Email,Phone Number,Lead Status", "Email"),
        ("First Name,Middle Name,E-mail 1 - Label,E-mail 1 - Value", "E-mail 1 - Value"),
    ],
    ids=["Mailchimp", "HubSpot", "Google Contacts"],
)
async def test_exports_of_other_services_are_read_and_the_column_is_said(
    tmp_path: Path, header: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "list.csv"
    cells = [A if column == expected else "x" for column in header.split(",")]
    path.write_text(f"{header}\n{','.join(cells)}\n")
    with caplog.at_level(logging.WARNING):
        source = open_source(path, Fields())
        await source.estimate()
        [[row]] = [rows async for rows in source.rows()]
    assert row.recipient is not None
    assert row.recipient.to == A
    said = [record.getMessage() for record in caplog.records]
    assert said == [f'{path}: the addresses are those of the column "{expected}"']


@pytest.mark.parametrize(
    ("header", "taken", "said"),
    [
        ("Email,E-mail 2", 0, '"Email", not of "E-mail 2"; [recipients] address = "..." chooses'),
        ("E-mail 1 - Value,E-mail 2 - Value", 0, '"E-mail 1 - Value", not of "E-mail 2 - Value"'),
        ("E-Mail-Adresse,E-Mail 2-Adresse,Mail", 2, 'of "E-Mail-Adresse", "E-Mail 2-Adresse";'),
        ("Email,Work email,Work E-mail Address", 0, 'not of "Work email", "Work E-mail Address";'),
        ("Voicemail,Email,Email Opt-In", 1, 'those of the column "Email"'),
        ("Work,Email", 1, 'the addresses are those of the column "Email"'),
    ],
)
def test_of_several_address_columns_the_choice_is_said(header: str, taken: int, said: str) -> None:
    parser = CsvParser("list.csv", Fields())
    addresses = [f"u{n}@example.com" for n in range(header.count(",") + 1)]
    text = f"{header}\n{','.join(addresses)}\n"
    [row] = [row for rows in (*parser.feed(text.encode()), *parser.finish()) for row in rows]
    assert row.recipient is not None
    assert row.recipient.to == addresses[taken]
    assert said in str(parser.notice)
    assert ("not of" in str(parser.notice)) is (";" in said or "not of" in said)


@pytest.mark.parametrize("column", ["email", "Email"])
def test_of_a_column_that_was_named_no_choice_is_said(column: str) -> None:
    parser = CsvParser("list.csv", Fields(address=column))
    assert list(parser.feed(f"{column},E-mail 2\n{A},b@example.com\n".encode()))
    assert parser.notice is None


@pytest.mark.parametrize(
    "header",
    [
        "\ufeffemail,first name",
        "em\u00adail,\u200bfirst name\u200b",
        "email\u200e,first\u00a0name",
        '"\u2060email ","first\r\nname"',
    ],
    ids=ascii,
)
def test_what_nobody_sees_in_a_columns_name_is_no_part_of_it(header: str) -> None:
    [row] = parse(f"\ufeff{header}\n{A},Ann\n", rename={"First  \u200bName": "n"})
    assert row.recipient == Recipient(A, data={"n": "Ann"})


async def test_nothing_is_said_of_a_column_that_is_called_as_configured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"email\n{A}\n")
    assert [rows async for rows in open_source(path, Fields()).rows()]
    assert not caplog.records


def test_a_name_that_was_configured_is_looked_for_alone() -> None:
    with pytest.raises(SourceError, match=r'no column is called "mial" \(did you mean "mail"\?\)'):
        parse(f"mail,name\n{A},Ann\n", address="mial")


def test_case_and_space_make_no_difference_but_an_exact_name_goes_first() -> None:
    fields = {"address": "e-mail", "key": "ID", "tags": {"t": "KIND"}, "data": ("first name",)}
    [row] = parse(f"E-MAIL , First Name,id,Kind\n{A},Ann,7,x\n", **fields)
    assert row.recipient == Recipient(A, data={"First Name": "Ann"}, tags={"t": "x"}, key="7")
    [row] = parse(f"Email,email\nb@example.com,{A}\n")
    assert row.recipient == Recipient(A, data={"Email": "b@example.com"})


def test_columns_are_renamed_for_the_template() -> None:
    rename = {"First Name": "first_name", "city": "town"}
    rows = parse(f"Email,First Name,City,x\n{A},Ann,Rome,1\n", rename=rename)
    assert data_of(rows) == {"first_name": "Ann", "town": "Rome", "x": "1"}
    rows = parse_json(f'{{"email":"{A}","First Name":"Ann","n":1}}', rename=rename)
    assert data_of(rows) == {"first_name": "Ann", "n": 1}


def test_the_address_is_in_the_template_on_request() -> None:
    assert data_of(parse(f"email,name\n{A},Ann\n", address_as="email")) == {
        "name": "Ann",
        "email": A,
    }
    for row in (f'{{"email":"{A}","n":1}}', f'{{"to":["{A}","b@example.com"],"data":{{"n":1}}}}'):
        assert data_of(parse_json(row, address_as="address")) == {"n": 1, "address": A}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"rename": {"nmae": "n"}}, r'rename names the column "nmae", .*\(did you mean "name"\?\)'),
        ({"rename": {"name": "city"}}, 'two columns would be "city" in the template'),
        ({"address_as": "name"}, 'two columns would be "name" in the template'),
    ],
)
def test_names_that_cannot_be_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        parse(f"email,name,city\n{A},Ann,Rome\n", **fields)


def test_a_row_of_json_that_names_two_fields_alike_is_refused() -> None:
    [row] = parse_json(f'{{"email":"{A}","a":1,"b":2}}', rename={"a": "b"})
    assert row.problem == "has two fields that [recipients] rename gives one name"
    [row] = parse_json(f'{{"email":"{A}","a":1}}', address_as="a")
    assert row.problem == 'has "a", which [recipients] address_as sets'
