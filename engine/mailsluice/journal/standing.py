"""The sum of a journal's records: counts, settled rows, open calls.

Only this module knows which transitions are legal (docs/guarantees.md draws them):

    pending ──intent──▶ open ──settlement──▶ sent, rejected, failed, in doubt, or pending again
    outside a call, by a `Resolution`: see `_RESOLVED_FROM`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, get_args

import orjson

from mailsluice.journal import (
    BURNED_CODE,
    DOUBTED_CODE,
    STATE_CODES,
    STATES_BY_CODE,
    Event,
    Intent,
    Record,
    Resolution,
    Settlement,
    Taken,
)
from mailsluice.model import Counts, Head, State
from mailsluice.model.bitmap import Bitmap
from mailsluice.model.errors import JournalError
from mailsluice.model.hold import Hold
from mailsluice.model.rolling_window import Sends

End = Literal["finished", "held", "stopped"]
"""How a process leaves a run: the name of the event that records it."""

FINISHED: Final = "finished"
"""Nothing is left to do."""

HELD: Final = "held"
"""The run stopped for a cause outside the recipients; the event's text has the hold."""

STOPPED: Final = "stopped"
"""The run was told to stop."""

REOPENED: Final = "reopened"
"""An operator sends a part of a finished run once more; the event's text is that part's state."""

EXCEPTING: Final = "excepting"
"""The run leaves out recipients that other runs have mailed; the event's text is a JSON object of
those runs' journals by run id."""

REVISED: Final = "revised"
"""The mailing has been changed on purpose; the event's text is the new digest."""

WAITING: Final = "waiting"
"""What keeps a running process from sending, or from sending faster; the text says what."""

_RESOLVED_FROM = {
    State.SENT: {State.IN_DOUBT},
    State.FAILED: {State.IN_DOUBT, State.PENDING},
    State.PENDING: {State.IN_DOUBT, State.REJECTED, State.FAILED},
    State.REJECTED: {State.PENDING},
    State.IN_DOUBT: {State.PENDING},
    State.SUPPRESSED: {State.PENDING},
}
"""The legal resolutions: by the new state, the states that a row may have before.

An operator settles a doubt as sent, failed (dropped: never sent again) or pending (sent again), and
may reopen rejected and failed rows. A pending row becomes rejected if it was to blame for a refused
batch, in doubt if an earlier attempt may have delivered it, failed if it is a single message that
was withdrawn, and suppressed if the suppression list has an address of it by now.
"""

_NOT_TAKEN = {STATE_CODES[state] for state in (State.REJECTED, State.FAILED, State.PENDING)} | {
    BURNED_CODE
}
"""Codes of states in which SES has not accepted the recipient."""

_REMARKED = {State.REFUSED: "refused", State.DUPLICATE: "duplicate", State.SUPPRESSED: "suppressed"}


@dataclass(slots=True)
class Standing:
    """The state of a run after some of its records. `apply` is the only way to change it."""

    _tally: dict[str, int] = field(default_factory=lambda: asdict(Counts()))
    """The values of `counts`."""
    settled: Bitmap = field(default_factory=Bitmap)
    """Rows that must not be attempted: refused, duplicate, suppressed, sent, rejected, failed, in
    doubt."""
    remarked: Bitmap = field(default_factory=Bitmap)
    """Settled rows that were never accepted: refused, duplicate, suppressed."""
    open: dict[int, Sequence[int]] = field(default_factory=dict)
    """Rows by batch number, for intents without a settlement."""
    burned: dict[int, int] = field(default_factory=dict)
    """Burned attempts by row, for deferred rows."""
    doubted: set[int] = field(default_factory=set)
    """Deferred rows that SES may have accepted at an earlier attempt."""
    ordered: set[int] = field(default_factory=set)
    """Rows of `doubted` that an operator wants to be sent again, whatever `in_doubt` says."""
    revisable: dict[State, Bitmap] = field(
        default_factory=lambda: {
            state: Bitmap() for state in (State.IN_DOUBT, State.REJECTED, State.FAILED)
        }
    )
    """Settled rows that an operator may still decide on, by their state."""
    head: Head | None = None
    """The source's bytes read when the last rows were taken."""
    last_batch: int = 0
    calls: int = 0
    last_event: Event | None = None
    last_end: Event | None = None
    """How the last process that recorded its end left the run."""
    last_waiting: Event | None = None
    """What the present or last process waited for; None if it never waited for long."""
    reopened: State | None = None
    """The state whose recipients an operator has sent once more; None after that has finished."""
    revised: str | None = None
    """The digest of the mailing as it was changed last; None if it never was."""
    excepting: dict[str, str] = field(default_factory=dict)
    """Journals of the runs whose recipients this one leaves out, by run id."""
    last_at: float = 0.0
    sends: Sends = field(default_factory=Sends)
    """Recipients that SES has accepted in the last days, or may have."""
    _weights: dict[int, int] = field(default_factory=dict)
    """Daily weights of open batches, by batch number."""
    _underway: Bitmap = field(default_factory=Bitmap)
    _batches: Bitmap = field(default_factory=Bitmap)
    """Batch numbers used so far: intents of concurrent calls become durable in any order."""

    @property
    def counts(self) -> Counts:
        """How many recipients are in each state."""
        return Counts(**self._tally)

    @property
    def finished(self) -> bool:
        """True if the run has ended with nothing left to do (a resolution may reopen it)."""
        ended = self.last_event is not None and self.last_event.name == FINISHED
        return ended and self.counts.pending == 0

    @property
    def held_before(self) -> Hold | None:
        """The hold in which the run was left, if it has ever sent anything."""
        end = self.last_end
        return Hold.recorded(end.text) if end and end.name == HELD and self.counts.sent else None

    def check(self, record: Record) -> None:
        """Raise JournalError if `record` may not follow. Changes nothing."""
        match record:
            case Intent():
                self._check_intent(record)
            case Settlement():
                seqs = self.open.get(record.batch)
                _require(seqs is not None, f"batch {record.batch} is settled but not open")
                _require(len(seqs or ()) == len(record.states), "a settlement of another length")
            case Taken():
                _require(
                    record.first == self._tally["read"] + 1 and record.last >= record.first,
                    f"rows {record.first}-{record.last} do not follow row {self._tally['read']}",
                )
            case Resolution():
                self._check_resolution(record)
            case Event():
                pass

    def apply(self, record: Record) -> None:
        """Take one more record into account."""
        self.check(record)
        self.last_at = record.at
        self.sends.add(0, record.at)
        match record:
            case Taken():
                self._take(record)
            case Intent():
                self.open[record.batch] = record.seqs
                self._weights[record.batch] = record.weight
                self._underway.add(record.seqs)
                self._batches.add([record.batch])
                self.last_batch = max(self.last_batch, record.batch)
                self.calls += 1
            case Settlement():
                self._settle(record)
            case Resolution():
                self._resolve(record)
            case Event():
                self._note(record)

    def _check_intent(self, record: Intent) -> None:
        _require(record.batch not in self._batches, f"batch {record.batch} is used twice")
        if self.settled.has_any(record.seqs) or self._underway.has_any(record.seqs):
            rows = [seq for seq in record.seqs if seq in self.settled or seq in self._underway]
            raise JournalError(f"rows {rows}: settled or under way, and must not be sent again")
        run = isinstance(record.seqs, range)
        last = record.seqs[-1] if run else max(record.seqs)
        _require(last <= self._tally["read"], "an intent for rows that were not read")
        _require_distinct(record.seqs)

    def _check_resolution(self, record: Resolution) -> None:
        allowed = _RESOLVED_FROM[record.state]
        for seq in record.seqs:
            _require(
                self._state_of(seq) in allowed, f"row {seq} cannot be resolved as {record.state}"
            )
        _require_distinct(record.seqs)

    def _state_of(self, seq: int) -> State | None:
        """Return a row's state, if a resolution may change it; else None."""
        for state, rows in self.revisable.items():
            if seq in rows:
                return state
        free = seq <= self._tally["read"] and seq not in self.settled and seq not in self._underway
        return State.PENDING if free else None

    def _note(self, record: Event) -> None:
        if record.name == WAITING:
            self.last_waiting = record
            return
        if record.name == EXCEPTING:
            self.excepting = orjson.loads(record.text)
            return
        if record.name == REVISED:
            self.revised = record.text
            return
        self.last_event = record
        self.last_waiting = None
        if record.name in get_args(End):
            self.last_end = record
        if record.name == REOPENED:
            self.reopened = State(record.text)
        elif record.name == FINISHED:
            self.reopened = None

    def _take(self, record: Taken) -> None:
        self.head = record.head or self.head
        rows = record.last - record.first + 1
        moved = {"read": rows, "pending": rows - len(record.remarks)}
        for remark in record.remarks:
            name = _REMARKED[remark.state]
            moved[name] = moved.get(name, 0) + 1
        remarked = [remark.seq for remark in record.remarks]
        self.settled.add(remarked)
        self.remarked.add(remarked)
        self._shift(**moved)

    def _settle(self, record: Settlement) -> None:
        seqs = self.open.pop(record.batch)
        self._underway.discard(seqs)
        codes = record.states
        weight = self._weights.pop(record.batch)
        not_taken = sum(map(codes.count, _NOT_TAKEN))
        if not_taken < len(codes):
            # Each of them has one address at least: this is never too few.
            self.sends.add(max(0, weight - not_taken), record.at)
        for code in set(codes):
            rows = seqs if codes == code * len(codes) else _rows_of(code, seqs, codes)
            if code == DOUBTED_CODE:
                self.doubted.update(rows)
                self.ordered.difference_update(rows)
            if code in {BURNED_CODE, DOUBTED_CODE}:
                for seq in rows:
                    self.burned[seq] = self.burned.get(seq, 0) + 1
            elif STATES_BY_CODE[code] is not State.PENDING:
                self._close(rows, STATES_BY_CODE[code])

    def _close(self, rows: Sequence[int], state: State) -> None:
        self.settled.add(rows)
        if self.burned:
            for seq in rows:
                self.burned.pop(seq, None)
        if self.doubted:
            self.doubted.difference_update(rows)
            self.ordered.difference_update(rows)
        if state in self.revisable:
            self.revisable[state].add(rows)
        self._shift(**{state.value: len(rows), "pending": -len(rows)})

    def _resolve(self, record: Resolution) -> None:
        by_state: dict[State | None, list[int]] = {}
        for seq in record.seqs:
            by_state.setdefault(self._state_of(seq), []).append(seq)
        for state, rows in by_state.items():
            assert state is not None, "checked"
            if state is State.PENDING:
                self._close(rows, record.state)
            else:
                self._revise(rows, state, record.state)

    def _revise(self, rows: Sequence[int], was: State, becomes: State) -> None:
        """Apply an operator's decision. Dropped rows, and rows resolved as sent, are final."""
        self.revisable[was].discard(rows)
        if becomes is State.PENDING:
            self.settled.discard(rows)
            if was is State.IN_DOUBT:
                self.doubted.update(rows)
                self.ordered.update(rows)
        self._shift(**{becomes.value: len(rows), was.value: -len(rows)})

    def _shift(self, **by: int) -> None:
        for name, number in by.items():
            self._tally[name] += number

    def apply_all(self, records: Iterable[Record]) -> Standing:
        """Take all of `records` into account; return self."""
        for record in records:
            self.apply(record)
        return self


def _rows_of(code: str, seqs: Sequence[int], codes: str) -> list[int]:
    return [seq for seq, each in zip(seqs, codes, strict=True) if each == code]


def _require_distinct(seqs: Sequence[int]) -> None:
    _require(isinstance(seqs, range) or len(set(seqs)) == len(seqs), "a record names a row twice")


def _require(condition: bool, problem: str) -> None:  # noqa: FBT001  # reads as a sentence
    if not condition:
        raise JournalError(f"{problem}: the journal cannot be trusted")
