"""JSON that loses nothing on its way."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.model import exact_json

AS_WRITTEN = [
    "1.10",
    "12345678901234567890123",
    "-12345678901234567890123",
    "18446744073709551616",
    "0.1000000000000000055511151231257827",
    "123456789012345678.25",
    "0.0",
    "-1.50",
    "19.9",
    "1E+5",
]


@pytest.mark.parametrize("number", AS_WRITTEN)
@pytest.mark.parametrize("text", ['{"n":%s}', "[%s]", '{"a":{"b":[1,%s ]},"c":"x"}'])
def test_a_number_comes_out_as_it_was_written(number: str, text: str) -> None:
    found = exact_json.loads((text % number).encode())
    assert number in exact_json.dumps(found).decode()


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', '{"a":1, "b":[{"x":1,"x" : 1}]}', '{"a":":","a":1}', '{"":1,"":1}']
)
def test_a_key_that_comes_twice_is_refused(text: str) -> None:
    with pytest.raises(exact_json.JSONLossError, match=r"has the key .* twice"):
        exact_json.loads(text.encode())


@pytest.mark.parametrize(
    "text",
    ['{"a":"\\":1"}', '{"a" :{"a":1}}', '[{"a":1},{"a":1}]', '{"a":"1.10 12345678901234567890"}'],
)
def test_what_only_looks_like_a_loss_is_read(text: str) -> None:
    assert exact_json.loads(text.encode()) == json.loads(text)


def test_nesting_without_end_is_an_error_and_no_crash() -> None:
    for text in (b"[" * 1000 + b"1e5" + b"]" * 1000, b"[" * 100_000):
        with pytest.raises(ValueError, match=r"nested|recursion|depth|unexpected"):
            exact_json.loads(text)


NUMBERS = st.one_of(
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False, places=4),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.text() | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_written_is_read_again_digit_for_digit(value: Any) -> None:
    text = exact_json.dumps(value)
    assert exact_json.dumps(exact_json.loads(text)) == text


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), [object()]])
def test_what_is_no_json_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        exact_json.dumps(value)
