"""What a worker knows of keys, against a model that forgets nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.journal import Event
from mailsluice.worker.queue import known_keys
from mailsluice.worker.queue.known_keys import GAP_MAX_S, JournalClock, Keys

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
    monkeypatch.setattr(known_keys, "SHARE_MAX", 100)
    known = Keys(RETENTION_S)
    for n in range(1_000):
        known.add(str(n), 1.0)
    assert len(known) == 1_000
    assert all(str(n) in known for n in range(1_000))


DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("journals", "ages_s"),
    [
        # The newest first; each by the times of its records, in the order of its commits.
        ([[1000, 1010]], [0]),
        ([[1000, 1010], [900, 990]], [0, 10 + 10]),
        ([[1000, 1010], [900, 990], [800, 850]], [0, 20, 20 + 90 + 50]),
        ([[1000], [], [990]], [0, 0, 10]),  # nothing was ever sent in the second
        ([[10 * DAY_S], [0]], [0, GAP_MAX_S]),  # a pause, or a clock that is fast since
        ([[0], [10 * DAY_S]], [0, 0]),  # a clock that was fast
        ([[0, 10, 10 * DAY_S, 20], [-5]], [0, 10 + GAP_MAX_S + 5]),  # it was for a moment
    ],
)
def test_the_age_of_a_journal_is_what_its_records_say_without_jumps(
    journals: list[list[float]], ages_s: list[float]
) -> None:
    clock, found = JournalClock(), []
    for times in journals:
        assert len(list(clock.watch(Event(at, "", "") for at in times))) == len(times)
        found.append(clock.age_s)
    assert found == ages_s


TIMES = st.lists(st.lists(st.floats(0, 50), min_size=1, max_size=6), min_size=1, max_size=5)


@given(TIMES, st.floats(-20 * DAY_S, 20 * DAY_S))
def test_no_jump_between_two_journals_makes_one_older_than_the_longest_gap(
    gaps: list[list[float]], jump_s: float
) -> None:
    """Journals from the oldest on; the clock is set by `jump_s` before the newest is begun."""
    true_now = said_now = 0.0
    written: list[list[float]] = []
    for number, each in enumerate(gaps):
        jump = jump_s if number == len(gaps) - 1 else 0.0
        said_now += jump
        times = []
        for passed_s in each:
            true_now, said_now = true_now + passed_s, said_now + passed_s
            times.append(said_now)
        written.append(times)
    clock = JournalClock()
    for times in reversed(written):
        list(clock.watch(Event(at, "", "") for at in times))
    assert clock.age_s <= true_now + GAP_MAX_S
