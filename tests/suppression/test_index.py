"""The index says of every hash whether it is in it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.model.errors import StoreError
from mailsluice.suppression import index
from mailsluice.suppression.index import Version

DIGESTS = st.integers(-(2**63), 2**63 - 1)


@given(st.sets(DIGESTS, max_size=40), st.lists(DIGESTS, max_size=10))
def test_it_has_what_was_put_in_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, inside: set[int], others: list[int]
) -> None:
    path = tmp_path_factory.mktemp("index") / "some.index"
    index.write(path, Version(7, 8), sorted(inside))
    found = index.opened(path)
    assert found is not None
    assert (found.version, len(found)) == ((7, 8), len(inside))
    for digest in [*inside, *others]:
        for near in (digest, digest ^ 1, digest ^ 1 << 40):
            if -(2**63) <= near < 2**63:
                assert (near in found) == (near in inside)
    found.close()


def test_a_hash_made_of_parts_of_two_others_is_not_in_it(tmp_path: Path) -> None:
    """Records lie side by side in a bucket: one that begins in the middle of one is none."""
    random = Random(3)
    inside = sorted({random.getrandbits(48) for _ in range(2_000)})  # all in one bucket
    index.write(tmp_path / "some.index", Version(1, 1), inside)
    found = index.opened(tmp_path / "some.index")
    assert found is not None
    records = b"".join(each.to_bytes(6, "big") for each in inside)
    for at in range(len(records) - 6):
        digest = int.from_bytes(records[at : at + 6], "big")
        assert (digest in found) == (at % 6 == 0 or digest in inside)
    found.close()


def test_an_open_index_stays_as_it_was_when_another_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "some.index"
    index.write(path, Version(1, 1), [1, 2])
    before = index.opened(path)
    index.write(path, Version(2, 2), [3])
    after = index.opened(path)
    assert before is not None
    assert after is not None
    assert [digest in before for digest in (1, 2, 3)] == [True, True, False]
    assert [digest in after for digest in (1, 2, 3)] == [False, False, True]


def test_an_index_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "some.index"
    index.write(path, Version(1, 1), [1])

    def breaks() -> object:
        yield 1
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        index.write(path, Version(2, 2), breaks())  # type: ignore[arg-type]  # it breaks off
    assert [each.name for each in tmp_path.iterdir()] == ["some.index"]
    found = index.opened(path)
    assert found is not None
    assert found.version == (1, 1)


@given(st.integers(0), st.integers(1, 255))
def test_no_flipped_bits_are_trusted(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("index") / "some.index"
    index.write(path, Version(1, 1), range(100))
    content = bytearray(path.read_bytes())
    # Beyond the version, which the store compares with what it knows itself.
    content[40 + at % (len(content) - 40)] ^= flip
    path.write_bytes(content)
    assert index.opened(path) is None
