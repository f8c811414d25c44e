"""The memory of duplicates, against a plain set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailsluice.mailing.dedupe import Seen


@given(st.lists(st.text(max_size=3)))
def test_a_text_is_new_exactly_once(texts: list[str]) -> None:
    seen, plain = Seen(), set[str]()
    for text in texts:
        assert (text in seen) == (text in plain)
        assert seen.add(text) == (text not in plain)
        plain.add(text)
    assert len(seen) == len(plain)


def test_two_hundred_thousand_addresses_are_told_apart_and_recognised() -> None:
    seen = Seen()
    texts = [f"user{i}@example.com" for i in range(200_000)]
    assert all(map(seen.add, texts))
    assert not any(map(seen.add, texts))
    assert len(seen) == 200_000


def test_a_match_across_two_records_is_no_match() -> None:
    """A bucket is searched as bytes: a hit astride two records means nothing."""
    seen = Seen()
    text = "a@example.com"
    assert seen.add(text)
    index = next(index for index, bucket in enumerate(seen._buckets) if bucket)
    record = seen._buckets[index]
    seen._buckets[index] = astride = b"\x00\x00\x00" + record + b"\x00\x00\x00"
    assert text not in seen
    assert seen.add(text)
    assert seen._buckets[index] == astride + record
    assert not seen.add(text)
