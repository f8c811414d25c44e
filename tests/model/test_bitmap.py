"""A bitmap is a set of numbers, whatever way they are put in, taken out and asked for."""

from hypothesis import given
from hypothesis import strategies as st

from mailsluice.model.bitmap import Bitmap

NUMBERS = st.integers(0, 300)
RUNS = st.builds(lambda first, size: range(first, first + size), NUMBERS, st.integers(0, 70))
GROUPS = st.lists(NUMBERS, max_size=20) | RUNS


@given(changes=st.lists(st.tuples(st.booleans(), GROUPS), max_size=12), asked=RUNS)
def test_it_is_a_set(changes: list[tuple[bool, list[int] | range]], asked: range) -> None:
    bitmap, expected = Bitmap(), set[int]()
    for put_in, numbers in changes:
        (bitmap.add if put_in else bitmap.discard)(numbers)
        expected = expected | set(numbers) if put_in else expected - set(numbers)
        assert bitmap.has_any(asked) == bool(expected & set(asked))
        assert bitmap.has_any(list(asked)) == bool(expected & set(asked))
    assert list(bitmap) == sorted(expected)
    assert len(bitmap) == len(expected)
    assert all((n in bitmap) == (n in expected) for n in asked)
    if asked:
        assert set(bitmap.within(asked[0], asked[-1])) == expected & set(asked)
        assert list(bitmap.missing(asked[0], asked[-1])) == sorted(set(asked) - expected)
