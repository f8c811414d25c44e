"""A state machine for any journal: random legal records, closing and crashing, against a model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mailsluice.journal import (
    AddressColumns,
    Addresses,
    Event,
    Intent,
    Journal,
    Record,
    Resolution,
    RunHeader,
    Settlement,
    Taken,
)
from mailsluice.journal.standing import Standing
from mailsluice.model import Remark, SourceIdentity, State
from tests.journal.backends import BACKENDS

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ADDRESS = TEXT.filter(bool)  # neither is ever empty
CODES = {
    "s": State.SENT,
    "r": State.REJECTED,
    "f": State.FAILED,
    "i": State.IN_DOUBT,
    "p": State.PENDING,
    "b": State.PENDING,
    "d": State.PENDING,
}
OPERATORS = {
    State.IN_DOUBT: [State.SENT, State.FAILED, State.PENDING],
    State.REJECTED: [State.PENDING],
    State.FAILED: [State.PENDING],
    State.PENDING: [State.REJECTED, State.IN_DOUBT, State.SUPPRESSED],
}
"""What a row in this state may be resolved to."""


class JournalMachine(RuleBasedStateMachine):
    """`backend` names the journal; what was committed must be there, in order, whatever happens."""

    backend: str

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="mailsluice-machine-")
        self.place = BACKENDS[self.backend](Path(self._folder.name))
        self.journal: Journal = self.place.open()
        self.records: list[Record] = []
        self.states: dict[int, State] = {}
        self.dropped: set[int] = set()
        """Rows upon which an operator has spoken the last word."""
        self.open: dict[int, list[int]] = {}
        self.batch = 0
        self.run: RunHeader | None = None

    def teardown(self) -> None:
        self.journal.close()
        self._folder.cleanup()

    @initialize(name=TEXT, size=st.none() | st.integers(0, 2**40), digest=TEXT)
    def begin(self, name: str, size: int | None, digest: str) -> None:
        source = SourceIdentity(name=name, size=size, modified=1.5, tag=None)
        self.run = RunHeader(id="a" * 16, begun_at=12.25, source=source, mailing_digest=digest)
        self.journal.begin(self.run)

    def commit(self, *records: Record) -> None:
        self.journal.commit(records)
        self.records += records

    def rows(self, *states: State) -> list[int]:
        busy = {seq for seqs in self.open.values() for seq in seqs}
        free = self.states.keys() - busy - self.dropped
        return sorted(seq for seq in free if self.states[seq] in states)

    @rule(
        remarks=st.lists(
            st.none() | st.tuples(st.sampled_from(["refused", "duplicate"]), TEXT, TEXT),
            min_size=1,
            max_size=9,
        )
    )
    def take(self, remarks: list[tuple[str, str, str] | None]) -> None:
        first = len(self.states) + 1
        made = []
        for seq, remark in enumerate(remarks, first):
            self.states[seq] = State(remark[0]) if remark else State.PENDING
            if remark:
                made.append(Remark(seq, State(remark[0]), remark[1], None, remark[2]))
        self.commit(Taken(1.0, first, len(self.states), made), Event(1.0, "waiting", "the source"))

    @precondition(lambda self: self.rows(State.PENDING))
    @rule(data=st.data(), texts=st.lists(ADDRESS, min_size=1, max_size=3), key=st.none() | ADDRESS)
    def intend(self, data: st.DataObject, texts: list[str], key: str | None) -> None:
        seqs = data.draw(
            st.lists(st.sampled_from(self.rows(State.PENDING)), min_size=1, unique=True)
        )
        self.batch += 1
        self.open[self.batch] = seqs
        to = [Addresses(texts, [], texts[1:], key) for _ in seqs]
        self.commit(Intent(2.0, self.batch, seqs, AddressColumns.of(to)))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), text=TEXT)
    def settle(self, data: st.DataObject, text: str) -> None:
        batch = data.draw(st.sampled_from(sorted(self.open)))
        seqs = self.open.pop(batch)
        size = len(seqs)
        codes = data.draw(st.lists(st.sampled_from(sorted(CODES)), min_size=size, max_size=size))
        self.states.update({seq: CODES[code] for seq, code in zip(seqs, codes, strict=True)})
        statuses = data.draw(st.lists(TEXT, min_size=size, max_size=size))
        ids = [text if code == "s" else None for code in codes]
        self.commit(Settlement(3.0, batch, "".join(codes), statuses, ids, [None] * size))

    @precondition(lambda self: self.rows(*OPERATORS))
    @rule(data=st.data(), reason=TEXT)
    def resolve(self, data: st.DataObject, reason: str) -> None:
        seq = data.draw(st.sampled_from(self.rows(*OPERATORS)))
        becomes = data.draw(st.sampled_from(OPERATORS[self.states[seq]]))
        if self.states[seq] is State.IN_DOUBT and becomes is State.FAILED:
            self.dropped.add(seq)
        self.states[seq] = becomes
        self.commit(Resolution(4.0, [seq], becomes, "RESOLVED", reason))

    @rule(name=st.sampled_from(["resumed", "held", "stopped", "waiting"]), text=TEXT)
    def note(self, name: str, text: str) -> None:
        self.commit(Event(5.0, name, text))

    @rule()
    def close_and_open(self) -> None:
        self.journal.close()
        self.journal = self.place.open()

    @rule()
    def crash(self) -> None:
        before, self.journal = self.journal, self.place.crash()
        if before is not self.journal:
            before.close()

    @invariant()
    def all_that_was_committed_is_there_in_order(self) -> None:
        assert self.journal.run == self.run
        found = [plain(record) for record in self.journal.replay(details=True)]
        assert found == [plain(record) for record in self.records]

    @invariant()
    def it_adds_up_to_the_model(self) -> None:
        standing = Standing().apply_all(self.journal.replay(details=False))
        assert standing.counts.conserved
        for state in State:
            held = sum(each is state for each in self.states.values())
            assert getattr(standing.counts, state.value) == held
        for seq, state in self.states.items():
            assert (seq in standing.settled) == (state is not State.PENDING)
        assert standing.open == self.open


def plain(record: Record) -> object:
    """Records by value: a list and a tuple of the same elements are the same column."""

    def flat(value: object) -> object:
        return [flat(each) for each in value] if isinstance(value, list | tuple) else value

    return type(record).__name__, flat(record)


def machine(backend: str) -> type[JournalMachine]:
    """The machine for this journal."""
    return type(f"{backend.title()}Machine", (JournalMachine,), {"backend": backend})
