"""A link unsubscribes its recipient, and nobody makes or changes one without the key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.suppression import links
from mailsluice.suppression.links import Unsubscription

KEY = b"k" * 32
ASKED = Unsubscription(-(2**63) + 5, "news", "abcdefghijklmnop-1234567")

SCOPES = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
SOURCES = st.from_regex(r"[A-Za-z0-9_-]{0,216}", fullmatch=True)


@given(st.integers(-(2**63), 2**63 - 1), SCOPES, SOURCES)
def test_a_token_says_what_it_was_made_of(digest: int, scope: str, source: str) -> None:
    asked = Unsubscription(digest, scope, source)
    token = links.token(KEY, asked)
    assert links.read(KEY, token) == asked
    assert links.read(KEY, token.upper()) == asked
    assert links.read(b"other" * 7, token) is None
    assert len(token) <= links.TOKEN_CHARACTERS_MAX
    assert token.isalnum()


@given(st.data())
def test_no_changed_token_is_taken(data: st.DataObject) -> None:
    token = links.token(KEY, ASKED)
    at = data.draw(st.integers(0, len(token) - 1))
    char = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
    changed = token[:at] + char + token[at + 1 :]
    if links.read(KEY, changed) is not None:
        assert links.read(KEY, changed) == ASKED  # bits beyond the last byte say nothing


@given(st.text(max_size=600) | st.binary(max_size=60).map(lambda b: b.hex()))
def test_no_text_is_taken_or_makes_it_fail(text: str) -> None:
    assert links.read(KEY, text) is None


def test_a_token_of_usual_size_is_short() -> None:
    assert len(links.token(KEY, ASKED)) <= 112


def test_both_headers_are_there() -> None:
    assert links.headers("https://u.example.com/x") == {
        "List-Unsubscribe": "<https://u.example.com/x>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://u.example.com/{token}", None),
        ("https://u.example.com/?t={token}&x=1", None),
        ("http://u.example.com/{token}", "https://"),
        ("mailto:u@example.com?subject={token}", "https://"),
        ("https://u.example.com/", "{token}"),
        ("https://u.example.com/{token}/{token}", "once"),
        ("https://u.example.com/{token}\r\nBcc: x", "blanks"),
        ("https://u.example.com/é{token}", "ASCII"),
        ("https://u.example.com/{token}" + "x" * 400, "360"),
    ],
)
def test_a_url_that_mail_programs_would_not_use_is_named(url: str, why: str | None) -> None:
    found = links.why_unusable(url)
    assert found is None if why is None else why in (found or "")
