"""An address that is suppressed is found by every process, until it is allowed again."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.model.errors import StoreError
from mailsluice.suppression import store as store_module
from mailsluice.suppression.scopes import ALL, MAILINGS, Reason, Suppression
from mailsluice.suppression.store import Suppressions

NOW = 1_795_683_600.0
ANN = "ann@example.com"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "suppressions.db"


@pytest.fixture
def store(path: Path) -> Iterator[Suppressions]:
    opened = Suppressions.open(path)
    yield opened
    opened.close()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is made anew after a handful of changes."""
    monkeypatch.setattr(store_module, "CHANGES_LEAST", 5)


def bounce(address: str = ANN, scope: str = ALL, expires: float | None = None) -> Suppression:
    return Suppression(address, Reason.BOUNCE, scope, NOW, "test", expires)


def users(first: int, last: int) -> list[Suppression]:
    return [bounce(f"user{number}@example.com") for number in range(first, last)]


def found(store: Suppressions, address: str = ANN, to: str | None = "news") -> bool:
    store.refresh()
    return store.find(address, to, NOW) is not None


def test_what_was_added_is_found_with_its_reason(store: Suppressions) -> None:
    assert store.add([bounce()]) == 1
    store.refresh()
    assert store.find("Ann@Example.com", "news", NOW) == bounce()
    assert store.find("anna@example.com", "news", NOW) is None


def test_adding_again_changes_nothing(store: Suppressions) -> None:
    assert store.add([bounce(), bounce()]) == 1
    assert store.add([Suppression(ANN, Reason.MANUAL, ALL, NOW + 5, "later")]) == 0
    assert list(store.entries()) == [bounce()]


@pytest.mark.parametrize(
    ("scope", "news", "other", "transactional"),
    [
        (ALL, True, True, True),
        (MAILINGS, True, True, False),
        ("news", True, False, False),
    ],
)
def test_a_scope_says_which_mail_is_kept_back(
    store: Suppressions, scope: str, *, news: bool, other: bool, transactional: bool
) -> None:
    store.add([bounce(scope=scope)])
    wanted = (news, other, transactional)
    assert tuple(found(store, to=to) for to in ("news", "other", None)) == wanted


def test_scopes_are_apart(store: Suppressions) -> None:
    store.add([bounce(scope="news"), bounce(scope=MAILINGS)])
    assert store.remove(ANN, "news") == 1
    assert found(store)
    assert store.remove(ANN) == 1
    assert not found(store)
    assert store.remove(ANN) == 0


@pytest.mark.parametrize("scope", ["", "a b", "é", "x" * 65, "a\n"])
def test_what_cannot_be_a_scope_is_refused(store: Suppressions, scope: str) -> None:
    with pytest.raises(StoreError, match="cannot be a scope"):
        store.add([bounce(scope=scope)])
    assert list(store.entries()) == []


def test_a_suppression_ends_when_it_expires(store: Suppressions) -> None:
    store.add([bounce(expires=NOW + 10)])
    store.refresh()
    assert store.find(ANN, "news", NOW + 9) is not None
    assert store.find(ANN, "news", NOW + 10) is None


def test_of_two_times_the_later_counts_and_never_is_the_latest(store: Suppressions) -> None:
    store.add([bounce(expires=NOW + 10)])
    store.add([bounce(expires=NOW + 5)])
    assert [each.expires for each in store.entries()] == [NOW + 10]
    store.add([bounce()])
    store.add([bounce(expires=NOW + 20)])
    assert [each.expires for each in store.entries()] == [None]


def test_one_that_has_expired_is_replaced(store: Suppressions) -> None:
    store.add([bounce(expires=NOW + 10)])
    later = Suppression(ANN, Reason.UNSUBSCRIBE, ALL, NOW + 50, "link")
    store.add([later])
    assert list(store.entries()) == [later]


def test_refresh_names_what_any_process_has_changed(path: Path, store: Suppressions) -> None:
    other = Suppressions.open(path)
    assert store.refresh() == frozenset()
    other.add([bounce()])
    assert store.refresh() == frozenset({store.hash(ANN)})
    assert store.refresh() == frozenset()
    assert store.find(ANN, "news", NOW) is not None
    other.remove(ANN)
    assert store.refresh() == frozenset({store.hash(ANN)})
    assert store.find(ANN, "news", NOW) is None
    store.add([bounce()])
    assert store.refresh() == frozenset({store.hash(ANN)}), "its own changes as well"
    other.close()


def test_another_process_is_noticed(path: Path, store: Suppressions) -> None:
    store.refresh()
    if (child := os.fork()) == 0:
        Suppressions.open(path).add([bounce()])
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert store.refresh() == frozenset({store.hash(ANN)})
    assert store.find(ANN, "news", NOW) == bounce()


@pytest.mark.usefixtures("few")
def test_the_index_is_made_anew_when_much_has_changed(path: Path, store: Suppressions) -> None:
    index = Path(f"{path}.index")
    store.add(users(0, 5))
    store.refresh()
    assert not index.exists()
    store.add(users(5, 20))
    assert store.refresh() is None, "so much that everybody is to be looked at"
    assert index.exists()
    with sqlite3.connect(path) as other:
        [(changes,)] = other.execute("SELECT count(*) FROM change")
    other.close()
    assert changes == 1
    for number in range(20):
        assert found(store, f"user{number}@example.com")
    assert not found(store, "user20@example.com")


@pytest.mark.usefixtures("few")
def test_what_was_removed_is_not_found_by_an_old_index(store: Suppressions) -> None:
    store.add(users(0, 20))
    store.refresh()
    store.remove("user3@example.com")
    assert not found(store, "user3@example.com")
    assert found(store, "user4@example.com")


@pytest.mark.usefixtures("few")
def test_a_process_that_has_slept_takes_the_index_of_another(
    path: Path, store: Suppressions
) -> None:
    store.refresh()
    other = Suppressions.open(path)
    for first in range(0, 100, 10):
        other.add(users(first, first + 10))
        other.refresh()
    made = Path(f"{path}.index").stat().st_ino
    assert store.refresh() is None
    assert Path(f"{path}.index").stat().st_ino == made
    assert all(found(store, f"user{number}@example.com") for number in range(100))
    other.close()


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("harm", ["missing", "cut", "flipped", "empty", "of an older copy"])
def test_an_index_that_cannot_be_trusted_is_made_anew(path: Path, harm: str) -> None:
    store = Suppressions.open(path)
    store.add(users(0, 20))
    store.refresh()
    old = Path(f"{path}.index").read_bytes()
    store.add(users(20, 40))
    store.refresh()
    store.close()
    index = Path(f"{path}.index")
    content = bytearray(index.read_bytes())
    if harm == "missing":
        index.unlink()
    elif harm == "cut":
        index.write_bytes(content[:-6])
    elif harm == "flipped":
        content[-3] ^= 1
        index.write_bytes(content)
    elif harm == "empty":
        index.write_bytes(b"")
    else:
        index.write_bytes(old)
    again = Suppressions.open(path)
    assert all(found(again, f"user{number}@example.com") for number in range(40))
    again.close()


@pytest.mark.usefixtures("few")
def test_an_index_of_another_future_is_not_trusted(path: Path) -> None:
    """A store is restored from a copy, and has other changes of the same numbers since."""
    store = Suppressions.open(path)
    store.add(users(0, 20))
    store.refresh()
    store.close()
    copy = path.read_bytes()
    indexes = []
    for first in (100, 200):
        path.write_bytes(copy)
        store = Suppressions.open(path)
        store.add(users(first, first + 20))
        store.refresh()
        assert all(found(store, f"user{n}@example.com") for n in range(first, first + 20))
        store.close()
        indexes.append(Path(f"{path}.index").read_bytes())
    assert indexes[0][24:32] == indexes[1][24:32], "both know as many changes"
    Path(f"{path}.index").write_bytes(indexes[0])
    again = Suppressions.open(path)
    assert found(again, "user210@example.com")
    assert not found(again, "user110@example.com")
    again.close()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "refresh", "reopen"]),
            st.integers(0, 12),
            st.sampled_from([ALL, "news"]),
            st.integers(0, 1),
        ),
        max_size=30,
    )
)
def test_it_says_what_a_set_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "CHANGES_LEAST", 3)
        path = tmp_path_factory.mktemp("set") / "suppressions.db"
        stores = [Suppressions.open(path), Suppressions.open(path)]
        kept: set[tuple[int, str]] = set()
        for what, number, scope, which in steps:
            address = f"user{number}@example.com"
            if what == "add":
                stores[which].add([bounce(address, scope)])
                kept.add((number, scope))
            elif what == "remove":
                stores[which].remove(address, scope)
                kept.discard((number, scope))
            elif what == "refresh":
                stores[which].refresh()
            else:
                stores[which].close()
                stores[which] = Suppressions.open(path)
            for store in stores:
                store.refresh()
                for to in ("news", "other"):
                    wanted = (number, ALL) in kept or (to == "news" and (number, to) in kept)
                    assert (store.find(address, to, NOW) is not None) == wanted
        for store in stores:
            store.close()


def test_hash_only_leaves_no_address_in_any_file(path: Path, tmp_path: Path) -> None:
    store = Suppressions.open(path, keep="hash")
    store.add([bounce()])
    assert found(store)
    assert [each.address for each in store.entries(ANN)] == [None]
    for closed in (False, True):
        if closed:
            store.close()
        for each in tmp_path.iterdir():
            assert b"ann@" not in each.read_bytes(), each


def test_a_forgotten_address_is_in_no_file_and_still_suppressed(
    tmp_path: Path, store: Suppressions
) -> None:
    store.add([bounce(), bounce("bob@example.com")])
    assert any(b"ann@" in each.read_bytes() for each in tmp_path.iterdir())
    assert store.forget("ANN@example.com") == 1
    assert store.forget(ANN) == 0
    for each in tmp_path.iterdir():
        assert b"ann@" not in each.read_bytes(), each
    assert found(store)
    store.add([bounce()])
    assert [each.address for each in store.entries(ANN)] == [None]
    assert [each.address for each in store.entries("bob@example.com")] == ["bob@example.com"]


def test_forgetting_says_so_if_a_reader_is_in_the_way(path: Path, store: Suppressions) -> None:
    store.add([bounce()])
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM entry").fetchall()
    with pytest.raises(StoreError, match="another process is reading it"):
        store.forget(ANN)
    reader.close()
    assert store.forget(ANN) == 0
    assert all(b"ann@" not in each.read_bytes() for each in path.parent.iterdir())


def test_a_link_suppresses_by_the_hash_alone(store: Suppressions) -> None:
    assert store.add_hash(store.hash(ANN), "news", NOW, "run-7") == 1
    assert store.add_hash(store.hash(ANN), "news", NOW, "run-8") == 0
    store.refresh()
    kept = store.find(ANN, "news", NOW)
    assert kept == Suppression(None, Reason.UNSUBSCRIBE, "news", NOW, "run-7")
    assert not found(store, to="other")


def test_a_suppression_without_an_address_cannot_be_added(store: Suppressions) -> None:
    with pytest.raises(StoreError, match="without an address"):
        store.add([Suppression(None, Reason.MANUAL, ALL, NOW)])


def test_two_stores_share_no_hashes(tmp_path: Path) -> None:
    one, two = (Suppressions.open(tmp_path / name) for name in ("one.db", "two.db"))
    assert one.hash(ANN) != two.hash(ANN)
    assert one.keys.links != one.keys.check
    one.close()
    two.close()


def test_without_its_key_or_with_another_one_it_is_refused(path: Path, tmp_path: Path) -> None:
    Suppressions.open(path).close()
    key = Path(f"{path}.key")
    right = key.read_bytes()
    key.unlink()
    with pytest.raises(StoreError, match=r"the key is missing.*restore it"):
        Suppressions.open(path)
    key.write_bytes(right[:-1])
    with pytest.raises(StoreError, match="it has 31 bytes"):
        Suppressions.open(path)
    Suppressions.open(tmp_path / "other.db").close()
    key.write_bytes((tmp_path / "other.db.key").read_bytes())
    with pytest.raises(StoreError, match="another store's key"):
        Suppressions.open(path)
    key.write_bytes(right)
    Suppressions.open(path).close()


def test_only_its_owner_may_read_it(path: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store_module, "CHANGES_LEAST", 1)
            store = Suppressions.open(path)
            store.add(users(0, 5))
            store.refresh()
    finally:
        os.umask(before)
    names = {each.name for each in tmp_path.iterdir()}
    assert names >= {f"suppressions.db{end}" for end in ("", ".key", ".index", "-wal")}
    for each in tmp_path.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each
    store.close()
