"""What a worker knows of keys, against a model that forgets nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.worker import keys
from mailsluice.worker.keys import Keys

RETENTION_S = 100.0

STEPS = st.lists(st.tuples(st.floats(0, 60), st.integers(0, 30).map(str)), min_size=1, max_size=200)


@given(earlier=st.sets(st.integers(20, 40).map(str)), steps=STEPS)
def test_a_key_is_known_as_long_as_the_queue_keeps_a_message(
    earlier: set[str], steps: list[tuple[float, str]]
) -> None:
    known = Keys(RETENTION_S)
    known.add_all(earlier, 0.0)
    sent_at = dict.fromkeys(earlier, 0.0)
    now = 0.0
    for passed_s, key in steps:
        now += passed_s
        if key not in known:  # as the worker does: what is known is not sent
            known.add(key, now)
            sent_at[key] = now
        for each, at in sent_at.items():
            if now - at < RETENTION_S:
                assert each in known
    assert "another" not in known


def test_memory_is_bounded_by_what_the_queue_keeps() -> None:
    known = Keys(RETENTION_S)
    known.add_all((f"earlier{n}" for n in range(500)), 0.0)
    most = 0
    for n in range(5_000):
        known.add(str(n), 1.0 + n)
        most = max(most, len(known))
    assert most <= 500 + 2 * RETENTION_S
    assert len(known) <= 2 * RETENTION_S


def test_none_is_forgotten_where_many_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "SHARE_MAX", 100)
    known = Keys(RETENTION_S)
    for n in range(1_000):
        known.add(str(n), 1.0)
    assert len(known) == 1_000
    assert all(str(n) in known for n in range(1_000))
