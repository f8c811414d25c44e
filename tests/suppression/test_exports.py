"""Lists of other providers are taken over, row by row, and nothing is left out in silence."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.suppression import exports
from mailsluice.suppression.exports import Format, Refused, Unusable
from mailsluice.suppression.scopes import ALL, MAILINGS, Reason, Suppression

NOW = 1_795_683_600.0
B, C, U, M = Reason.BOUNCE, Reason.COMPLAINT, Reason.UNSUBSCRIBE, Reason.MANUAL


def read(content: bytes, format_: Format = "csv", reason: Reason | None = None) -> list[Any]:
    return list(exports.parse(content, format_, reason, NOW))


def of(address: str, reason: Reason, at: float = NOW, source: str = "csv") -> Suppression:
    scope = MAILINGS if reason in (C, U) else ALL
    return Suppression(address, reason, scope, at, source)


SES = orjson.dumps(
    {
        "SuppressedDestinationSummaries": [
            {"EmailAddress": "a@x.com", "Reason": "BOUNCE", "LastUpdateTime": 1700000000.5},
            {"EmailAddress": "b@x.com", "Reason": "COMPLAINT", "LastUpdateTime": "2023-11-14"},
        ],
        "NextToken": "more",
    }
)
SES_LINES = b"""{"emailAddress":"a@x.com","reason":"BOUNCE"}
{"emailAddress":"b@x.com","reason":"COMPLAINT"}
"""
POSTMARK = orjson.dumps(
    {
        "Suppressions": [
            {
                "EmailAddress": "a@x.com",
                "SuppressionReason": "HardBounce",
                "Origin": "Recipient",
                "CreatedAt": "2023-11-14T22:13:20-00:00",
            },
            {"EmailAddress": "b@x.com", "SuppressionReason": "SpamComplaint"},
            {"EmailAddress": "c@x.com", "SuppressionReason": "ManualSuppression"},
        ]
    }
)
MAILGUN = b"""address,code,error,created_at
a@x.com,550,"No such mailbox, sorry","Tue, 14 Nov 2023 22:13:20 UTC"
"""
MAILGUN_API = orjson.dumps(
    {"items": [{"address": "a@x.com", "tags": ["*"], "created_at": "2023-11-14T22:13:20Z"}]}
)
SENDGRID = b"""status,reason,email,created
5.1.1,"550 5.1.1 unknown",a@x.com,1700000000
"""
SENDGRID_SPAM = orjson.dumps([{"created": 1700000000, "email": "a@x.com", "ip": "192.0.2.1"}])


@pytest.mark.parametrize(
    ("content", "format_", "wanted"),
    [
        (SES, "ses", [("a@x.com", B, 1700000000.5), ("b@x.com", C, 1699920000.0)]),
        (b"a@x.com,BOUNCE\nb@x.com,COMPLAINT\n", "ses", [("a@x.com", B), ("b@x.com", C)]),
        (SES_LINES, "ses", [("a@x.com", B), ("b@x.com", C)]),
        (POSTMARK, "postmark", [("a@x.com", B, 1.7e9), ("b@x.com", C), ("c@x.com", U)]),
        (MAILGUN, "mailgun", [("a@x.com", B, 1.7e9)]),
        (MAILGUN_API, "mailgun", [("a@x.com", U, 1.7e9)]),
        (SENDGRID, "sendgrid", [("a@x.com", B, 1.7e9)]),
        (SENDGRID_SPAM, "sendgrid", [("a@x.com", C, 1.7e9)]),
        (b"\xef\xbb\xbfE-Mail;Type\r\na@x.com;Hard bounce\r\n", "csv", [("a@x.com", B)]),
        (b"Email Address\tReason\na@x.com\topt-out\n", "csv", [("a@x.com", U)]),
        (b"email,created\na@x.com,1700000000000\n", "csv", [("a@x.com", M, 1.7e9)]),
        (b"a@x.com\n\n b@x.com \n", "csv", [("a@x.com", M), ("b@x.com", M)]),
    ],
)
def test_each_providers_list_is_read(
    content: bytes, format_: Format, wanted: list[tuple[Any, ...]]
) -> None:
    says_nothing = format_ == "csv"
    assert read(content, format_, M if says_nothing else None) == [
        of(address, reason, at[0] if at else NOW, format_) for address, reason, *at in wanted
    ]


def test_what_is_given_comes_before_what_columns_give_away() -> None:
    assert read(SENDGRID, "sendgrid", C) == [of("a@x.com", C, 1.7e9, "sendgrid")]


def test_what_a_row_says_comes_before_what_is_given() -> None:
    assert read(b"email,reason\na@x.com,spam\nb@x.com,\n", reason=B) == [
        of("a@x.com", C),
        of("b@x.com", B),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"email,reason\na@x.com,holiday\n", "'holiday' is no reason"),
        (b"email\na@x.com\n", "give --reason"),
        (b"name,reason\nAnn,bounce\n", "no column has an address; there are: name, reason"),
        (b"email,reason\n,bounce\n", "no column has an address"),
        (b"email,reason,date\na@x.com,bounce,soon\n", "its time cannot be read"),
        (b"email,reason,date\na@x.com,bounce,nan\n", "its time cannot be read"),
        (b'[{"email": 5, "reason": "bounce"}]', "no column has an address"),
        (b"[7]", "no column has an address; there are: none"),
        (b'[{"email": "a@x.com", "reason": "bounce", "at": true}]', "its time"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(content: bytes, why: str) -> None:
    [refused] = read(content)
    assert isinstance(refused, Refused)
    assert refused.row == 1
    assert why in refused.why
    assert "a@x.com" not in refused.why


def test_a_bad_row_costs_no_other_row() -> None:
    found = read(b"email,reason\na@x.com,bounce\n,bounce\nc@x.com,bounce\n")
    assert [type(each) for each in found] == [Suppression, Refused, Suppression]
    assert found[1].row == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        ("email\né@x.com".encode("latin-1"), "not UTF-8"),
        ("email\n".encode("utf-16"), "not UTF-8"),
        (b'{"email": "a@x.com"}\n{"email": \n', "line 2 is not JSON"),
        (b"{", "line 1 is not JSON"),
        (b'email\n"' + b"x" * 5_000_000, "no CSV"),  # above any limit of the process
    ],
)
def test_a_file_that_cannot_be_used_says_why(content: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read(content, reason=B)


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    st.sampled_from(["ses", "mailgun", "sendgrid", "postmark", "csv"]),
)
def test_nothing_else_makes_it_fail(content: bytes, format_: Format) -> None:
    try:
        found = read(content, format_, B)
    except Unusable:
        return
    for each in found:
        assert isinstance(each, Suppression | Refused)


CELLS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
NAMES = st.sampled_from(["email", "reason", "created", "at", "status", "Suppressions", "items"])


@given(
    st.lists(st.dictionaries(NAMES, CELLS | st.lists(CELLS, max_size=2))),
    st.sampled_from(["mailgun", "sendgrid", "csv"]),
)
def test_no_json_makes_it_fail(rows: list[dict[str, Any]], format_: Format) -> None:
    assert len(read(json.dumps(rows).encode(), format_)) == len(rows)
