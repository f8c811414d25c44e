"""The quick reading of a call's entries accepts nothing that the whole reading would not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.emulator import mailboxes, submission
from mailsluice.emulator.exchange import RefusedError

odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", 0, 1, False, True, [], {}, [None], [[]], [{}], "x", {"a": 1}]
)
text = st.one_of(
    st.sampled_from(["a", "a-b_9", "", "a b", "ä", "x" * 256, "x" * 257, "a\n", "-", "²", "٣"]), odd
)
address = st.one_of(
    st.sampled_from(
        ["a@b.example", "a.b+c@d-e.example", "Ann <a@b.example>", "a@b", "@", "a@b.example\n"]
    ),
    odd,
)
tag = st.one_of(st.fixed_dictionaries({"Name": text, "Value": text}), odd)
header = st.one_of(
    st.fixed_dictionaries(
        {
            "Name": st.one_of(st.sampled_from(["X-A", "x:y", "N" * 126, "N" * 127]), odd),
            "Value": st.one_of(st.sampled_from(["v", "v\r", "v" * 870, "v" * 995]), odd),
        }
    ),
    odd,
)
data = st.one_of(
    st.sampled_from(["{}", '{"a":1}', "[]", "{", '{"a":"' + "x" * 262_144 + '"}', "null"]), odd
)
entry = st.one_of(
    st.fixed_dictionaries(
        {
            "Destination": st.one_of(
                st.fixed_dictionaries(
                    {"ToAddresses": st.one_of(st.lists(address, max_size=3), odd)},
                    optional={"CcAddresses": st.one_of(st.lists(address, max_size=2), odd)},
                ),
                odd,
            )
        },
        optional={
            "ReplacementTags": st.one_of(st.lists(tag, max_size=3), odd),
            "ReplacementHeaders": st.one_of(st.lists(header, max_size=2), odd),
            "ReplacementEmailContent": st.one_of(
                data.map(lambda each: {"ReplacementTemplate": {"ReplacementTemplateData": each}}),
                odd.map(lambda each: {"ReplacementTemplate": each}),
                odd,
            ),
        },
    ),
    odd,
)


@given(raw=st.one_of(st.lists(entry, max_size=3), odd))
def test_what_is_read_at_once_reads_the_same_one_by_one(raw: Any) -> None:
    at_once = submission._read_at_once(raw, {"d": "e"})
    if at_once is not None:
        assert at_once == submission._read_one_by_one(raw, {"d": "e"})


def test_a_common_request_is_read_at_once() -> None:
    raw = [
        {
            "Destination": {"ToAddresses": [f"first.last+{n}@mail.example.co.uk"]},
            "ReplacementTags": [{"Name": "mailsluice-id", "Value": f"ab_c-{n}"}],
            "ReplacementEmailContent": {
                "ReplacementTemplate": {"ReplacementTemplateData": '{"name":"Ünal"}'}
            },
            "ReplacementHeaders": [{"Name": "List-Unsubscribe", "Value": "<https://e.example/u>"}],
        }
        for n in range(50)
    ]
    assert submission._read_at_once(raw, {}) == submission._read_one_by_one(raw, {})


@given(
    st.one_of(st.emails(), st.from_regex(r"[a.@+-]{1,70}@([a-]{1,65}\.){1,3}[a-]{1,64}"), st.text())
)
def test_every_common_address_is_a_good_one(address: str) -> None:
    assert not mailboxes.are_plain([address]) or mailboxes.problem(address) is None


@given(st.binary(max_size=200))
def test_no_body_is_too_odd_to_be_refused(body: bytes) -> None:
    with pytest.raises(RefusedError):
        submission.read(body)


@given(
    st.dictionaries(
        st.sampled_from(
            ["FromEmailAddress", "DefaultContent", "BulkEmailEntries", "ReplyToAddresses"]
        ),
        st.recursive(odd | st.just({"Template": {"TemplateName": "t"}}), st.lists, max_leaves=4),
    )
)
def test_no_request_is_too_odd_to_be_refused(request: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        submission.read(orjson.dumps(request))
