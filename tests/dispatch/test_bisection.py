import math

from hypothesis import given
from hypothesis import strategies as st

from mailsluice.dispatch.bisection import SUSPECTS_MAX, Bisection
from mailsluice.model import Answer, Entry
from mailsluice.model.hold import Hold
from mailsluice.ses.statuses import Verdict, classify


def entries(*seqs: int) -> tuple[Entry, ...]:
    return tuple(Entry(seq, 1, (f"{seq}@example.com",), (), (), None, b"{}") for seq in seqs)


def refusal(text: str = "bad") -> Verdict:
    return classify(Answer(code="BadRequestException", http_status=400, error=text), 1)[0]


def bisect(size: int, bad: dict[int, str]) -> tuple[Bisection, set[int], int]:
    """Try a batch of `size` against an SES that refuses any call with a bad entry in it."""
    bisection, rejected, calls = Bisection(), set[int](), 1
    batch = entries(*range(size))
    while True:
        texts = [bad[entry.seq] for entry in batch if entry.seq in bad]
        if texts:
            culprits = bisection.refused(calls, batch, refusal(texts[0]))
        else:
            culprits = bisection.accepted(calls)
        rejected |= {suspect.entry.seq for suspect in culprits}
        if not bisection.waiting:
            return bisection, rejected, calls
        calls += 1
        batch = bisection.next(calls)


@given(size=st.integers(2, 50), data=st.data())
def test_exactly_the_bad_entries_are_rejected_where_one_is_good(
    size: int, data: st.DataObject
) -> None:
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=size - 1))
    bisection, rejected, calls = bisect(size, dict.fromkeys(bad, "bad"))
    assert bad == rejected
    assert bisection.mailing_at_fault is None
    assert not bisection.open
    assert calls <= 1 + 2 * len(bad) * math.ceil(math.log2(size))


def test_one_bad_entry_among_fifty_costs_two_calls_a_level() -> None:
    _, _, calls = bisect(50, {17: "bad"})
    assert calls <= 1 + 2 * math.ceil(math.log2(50))


@given(size=st.integers(2, 50))
def test_a_batch_in_which_every_entry_fails_alike_points_at_the_mailing(size: int) -> None:
    bisection, rejected, calls = bisect(size, dict.fromkeys(range(size), "broken template"))
    assert (bisection.mailing_at_fault is not None) == (size >= SUSPECTS_MAX)
    assert bisection.settle_suspects() == []
    assert rejected == set()
    assert bisection.mailing_at_fault is not None
    assert bisection.mailing_at_fault.error == "broken template"
    assert calls <= 2 * size


def test_a_later_call_that_is_accepted_clears_the_mailing() -> None:
    bisection, rejected, calls = bisect(14, dict.fromkeys(range(14), "bad domain"))
    assert rejected == set()
    culprits = bisection.accepted(calls + 1)
    assert {suspect.entry.seq for suspect in culprits} == set(range(14))


def test_held_before_for_the_same_reason_the_last_ones_are_to_blame() -> None:
    for before, blamed in (
        (Hold("BadRequestException", "bad"), [1, 2]),
        (Hold("BadRequestException", "other"), []),
        (None, []),
    ):
        bisection = Bisection(before)
        bisection.accepted(1)
        for number in (2, 3):
            bisection.refused(number, entries(number - 1), refusal())
        assert [suspect.entry.seq for suspect in bisection.settle_suspects()] == blamed
        assert (bisection.mailing_at_fault is None) == bool(blamed)


def test_entries_that_fail_differently_are_each_to_blame() -> None:
    bisection, rejected, _ = bisect(4, {0: "a", 1: "b", 2: "c", 3: "d"})
    assert {0, 1, 2, 3} == rejected
    assert bisection.mailing_at_fault is None


def test_too_many_batches_of_one_that_fail_alike_point_at_the_mailing() -> None:
    bisection = Bisection()
    for number in range(SUSPECTS_MAX):
        assert bisection.mailing_at_fault is None
        assert bisection.refused(number, entries(number), refusal()) == []
    assert bisection.mailing_at_fault is not None


def test_a_lone_suspect_is_culprits_at_the_end_only_where_something_was_ever_accepted() -> None:
    alone, proven = Bisection(), Bisection()
    proven.accepted(1)
    for bisection in (alone, proven):
        bisection.refused(2, entries(7), refusal())
    assert alone.settle_suspects() == []
    assert alone.mailing_at_fault is not None
    assert [suspect.entry.seq for suspect in proven.settle_suspects()] == [7]
    assert proven.mailing_at_fault is None


def test_a_call_from_before_the_suspicion_proves_nothing() -> None:
    bisection = Bisection()
    bisection.refused(5, entries(1), refusal())
    assert bisection.accepted(4) == []
    assert [suspect.entry.seq for suspect in bisection.accepted(6)] == [1]


def test_a_half_that_was_throttled_leaves_the_question_open() -> None:
    bisection = Bisection()
    bisection.refused(1, entries(1, 2), refusal())
    bisection.next(2)
    bisection.departed(2)
    assert bisection.refused(3, bisection.next(3), refusal()) == []
    assert bisection.mailing_at_fault is None
    assert [suspect.entry.seq for suspect in bisection.accepted(4)] == [2]
