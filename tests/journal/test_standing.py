"""Which transitions are legal; and conservation after every one of them."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mailsluice.journal import Intent, Record, Resolution, Settlement, Taken
from mailsluice.journal.standing import Standing
from mailsluice.model import Remark, State
from mailsluice.model.errors import JournalError


def taken(first: int, last: int, *remarks: Remark) -> Taken:
    return Taken(0.0, first, last, remarks)


def intent(batch: int, *seqs: int) -> Intent:
    return Intent(0.0, batch, list(seqs))


def settled(batch: int, states: str) -> Settlement:
    return Settlement(0.0, batch, states, [], [], [])


ILLEGAL: dict[str, tuple[list[Record], Record]] = {
    "rows skipped by intake": ([taken(1, 5)], taken(7, 9)),
    "rows taken twice": ([taken(1, 5)], taken(5, 6)),
    "an intent for a row that was not read": ([taken(1, 5)], intent(1, 6)),
    "an intent for a row under way": ([taken(1, 5), intent(1, 1)], intent(2, 1)),
    "an intent for a sent row": ([taken(1, 5), intent(1, 1), settled(1, "s")], intent(2, 1)),
    "an intent for a rejected row": ([taken(1, 5), intent(1, 1), settled(1, "r")], intent(2, 1)),
    "an intent for a failed row": ([taken(1, 5), intent(1, 1), settled(1, "f")], intent(2, 1)),
    "an intent for a row in doubt": ([taken(1, 5), intent(1, 1), settled(1, "i")], intent(2, 1)),
    "a batch number used again": ([taken(1, 5), intent(2, 1)], intent(2, 2)),
    "a settlement without an intent": ([taken(1, 5)], settled(1, "s")),
    "a second settlement": ([taken(1, 5), intent(1, 1), settled(1, "p")], settled(1, "s")),
    "a settlement of another length": ([taken(1, 5), intent(1, 1, 2)], settled(1, "s")),
    "a resolution of a sent row": (
        [taken(1, 5), intent(1, 1), settled(1, "s")],
        Resolution(0.0, [1], State.PENDING, "", ""),
    ),
    "a ruling on a row under way": (
        [taken(1, 5), intent(1, 1)],
        Resolution(0.0, [1], State.REJECTED, "", ""),
    ),
}


@pytest.mark.parametrize("case", ILLEGAL)
def test_an_illegal_record_is_refused_and_changes_nothing(case: str) -> None:
    before, illegal = ILLEGAL[case]
    standing = Standing().apply_all(before)
    counts = standing.counts
    with pytest.raises(JournalError, match=r"journal cannot be trusted|must not be sent again"):
        standing.apply(illegal)
    assert counts == standing.counts


class Machine(RuleBasedStateMachine):
    """Random legal records against a dictionary of states."""

    def __init__(self) -> None:
        super().__init__()
        self.standing = Standing()
        self.model: dict[int, State] = {}
        self.open: dict[int, list[int]] = {}
        self.batch = 0

    def in_state(self, state: State) -> list[int]:
        busy = {seq for seqs in self.open.values() for seq in seqs}
        return [seq for seq, each in self.model.items() if each is state and seq not in busy]

    @rule(states=st.lists(st.sampled_from(["", "refused", "duplicate"]), min_size=1, max_size=9))
    def take(self, states: list[str]) -> None:
        first = len(self.model) + 1
        remarks = []
        for seq, state in enumerate(states, first):
            self.model[seq] = State(state) if state else State.PENDING
            if state:
                remarks.append(Remark(seq, State(state), "", None, ""))
        self.standing.apply(taken(first, len(self.model), *remarks))

    @precondition(lambda self: self.in_state(State.PENDING))
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        seqs = data.draw(
            st.lists(st.sampled_from(self.in_state(State.PENDING)), min_size=1, unique=True)
        )
        self.batch += 1
        self.open[self.batch] = seqs
        self.standing.apply(intent(self.batch, *seqs))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(sorted(self.open)))
        seqs = self.open.pop(batch)
        codes = data.draw(
            st.lists(st.sampled_from("srfipb"), min_size=len(seqs), max_size=len(seqs))
        )
        names = {"s": State.SENT, "r": State.REJECTED, "f": State.FAILED, "i": State.IN_DOUBT}
        for seq, code in zip(seqs, codes, strict=True):
            self.model[seq] = names.get(code, State.PENDING)
        self.standing.apply(settled(batch, "".join(codes)))

    @precondition(lambda self: self.in_state(State.IN_DOUBT))
    @rule(data=st.data(), state=st.sampled_from([State.SENT, State.PENDING, State.FAILED]))
    def resolve(self, data: st.DataObject, state: State) -> None:
        seq = data.draw(st.sampled_from(self.in_state(State.IN_DOUBT)))
        self.model[seq] = state
        self.standing.apply(Resolution(0.0, [seq], state, "", ""))

    @invariant()
    def counts_agree_and_are_conserved(self) -> None:
        counts = self.standing.counts
        assert counts.conserved
        for state in State:
            assert getattr(counts, state.value) == sum(s is state for s in self.model.values())

    @invariant()
    def exactly_the_settled_rows_are_settled(self) -> None:
        closed = set(State) - {State.PENDING}
        for seq, state in self.model.items():
            assert (state in closed) == (seq in self.standing.settled)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
