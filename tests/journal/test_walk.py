"""The walk over a journal's records, on which export, history and the known keys stand."""

from mailsluice.journal import Event, Intent, Settlement, Taken
from mailsluice.journal.walk import Answered, Unanswered, paired

TAKEN = Taken(0.0, 1, 4, ())
FIRST, SECOND = Intent(1.0, 1, range(1, 3)), Intent(2.0, 2, range(3, 5))
ANSWER = Settlement(3.0, 2, "ss", ("SUCCESS",) * 2, ("a", "b"), (None,) * 2)
STOPPED = Event(4.0, "stopped", "")


def test_a_settlement_comes_with_its_intent_whatever_lies_between() -> None:
    steps = list(paired([TAKEN, FIRST, SECOND, ANSWER, STOPPED]))
    assert steps[:-1] == [TAKEN, FIRST, SECOND, Answered(SECOND, ANSWER), STOPPED]


def test_a_call_without_an_answer_comes_after_the_last_record() -> None:
    assert list(paired([FIRST, STOPPED])) == [FIRST, STOPPED, Unanswered(FIRST)]
    assert list(paired([SECOND, ANSWER])) == [SECOND, Answered(SECOND, ANSWER)]
