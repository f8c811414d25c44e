"""The history of one recipient, attempt by attempt, read from a journal."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mailsluice.journal import (
    STATES_BY_CODE,
    Addresses,
    Event,
    Intent,
    Record,
    Resolution,
    Settlement,
    Taken,
)
from mailsluice.journal.walk import Answered, Step, Unanswered, paired
from mailsluice.mailing import addresses
from mailsluice.model import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call that a recipient was part of. Times are seconds since the epoch."""

    batch: int
    recipients: int
    """Recipients in the batch."""
    at: float
    """When its intent was durable: the call follows at once."""
    waited_s: float
    """Since the recipient was read, or since the answer to the attempt before."""
    answered_at: float | None = None
    """None, as all that follows, where no answer has been recorded."""
    status: str | None = None
    message_id: str | None = None
    error: str | None = None
    state: State | None = None
    """The recipient's state because of it; pending: it was deferred."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A recipient's outcome outside a call: an operator's decision, or a ruling."""

    at: float
    state: State
    status: str
    reason: str


@dataclass(slots=True, kw_only=True)
class RecipientHistory:
    """Everything that the journal says of one row."""

    seq: int
    addresses: Addresses
    read_at: float
    state: State = State.PENDING
    """The final state; an attempt without an answer has not changed it."""
    reason: str | None = None
    """Why it was never accepted: refused, duplicate or suppressed."""
    events: list[Attempt | Decision] = field(default_factory=list)
    """Attempts and decisions, in the order in which they became durable."""

    @property
    def open(self) -> bool:
        """True if its last attempt has no answer: in flight, or in doubt if nothing is sending."""
        last = self.events[-1] if self.events else None
        return isinstance(last, Attempt) and last.answered_at is None


def find_histories(records: Iterable[Record], address: str) -> list[RecipientHistory]:
    """Return the histories of all rows with this address as To, Cc or Bcc, in row order.

    Rows that were read and never attempted are not among them: the journal has only their numbers,
    not their addresses.
    """
    collector = _Collector(_key(address))
    for step in paired(records):
        collector.take(step)
    return [collector.histories[seq] for seq in sorted(collector.histories)]


def _key(text: str) -> str:
    try:
        return addresses.normalise(text).key
    except addresses.AddressError:
        return text.strip().lower()  # what was refused is found as it was written


class _Collector:
    def __init__(self, key: str) -> None:
        self.histories: dict[int, RecipientHistory] = {}
        self._key = key
        self._taken: list[tuple[int, float]] = []
        """Last row and time of each list of rows that was read."""

    def take(self, step: Step) -> None:
        match step:
            case Taken():
                self._read(step)
            case Intent():
                self._begin(step)
            case Answered(intent, settlement):
                self._answer(intent, settlement)
            case Resolution():
                self._decide(step)
            case Event() | Unanswered():
                pass

    def _is_meant(self, text: str) -> bool:
        # Nearly all are told apart by the quick half of this.
        return (self._key in text.lower() or not text.isascii()) and _key(text) == self._key

    def _read(self, record: Taken) -> None:
        self._taken.append((record.last, record.at))
        for seq, state, address, key, reason in record.remarks:
            if self._is_meant(address):
                to = Addresses((address,), (), (), key)
                self.histories[seq] = RecipientHistory(
                    seq=seq, addresses=to, read_at=record.at, state=state, reason=reason
                )

    def _read_at(self, seq: int) -> float:
        return self._taken[bisect_left(self._taken, (seq, 0.0))][1]

    def _begin(self, record: Intent) -> None:
        for place, seq in enumerate(record.seqs):
            to = record.addresses.at(place)
            if not any(map(self._is_meant, (*to.to, *to.cc, *to.bcc))):
                continue
            found = self.histories.get(seq)
            if found is None:
                found = self.histories[seq] = RecipientHistory(
                    seq=seq, addresses=to, read_at=self._read_at(seq)
                )
            attempt = Attempt(
                batch=record.batch,
                recipients=len(record.seqs),
                at=record.at,
                waited_s=max(0.0, record.at - _free_since(found)),
            )
            found.events.append(attempt)

    def _answer(self, intent: Intent, record: Settlement) -> None:
        for seq in self.histories.keys() & intent.seqs:
            found = self.histories[seq]
            attempt = found.events[-1] if found.events else None
            if not isinstance(attempt, Attempt) or attempt.batch != record.batch:
                continue  # the address that is looked for was not the row's in this call
            found.events.pop()
            place = intent.seqs.index(seq)
            found.state = STATES_BY_CODE[record.states[place]]
            found.events.append(
                replace(
                    attempt,
                    answered_at=record.at,
                    status=record.statuses[place],
                    message_id=record.message_ids[place],
                    error=record.errors[place],
                    state=found.state,
                )
            )

    def _decide(self, record: Resolution) -> None:
        for place, seq in enumerate(record.seqs if any(record.addresses) else ()):
            to = record.addresses.at(place)
            if seq not in self.histories and any(map(self._is_meant, (*to.to, *to.cc, *to.bcc))):
                self.histories[seq] = RecipientHistory(
                    seq=seq, addresses=to, read_at=self._read_at(seq)
                )
        for seq in self.histories.keys() & record.seqs:
            found = self.histories[seq]
            found.state = record.state
            found.events.append(Decision(record.at, record.state, record.status, record.reason))


def _free_since(found: RecipientHistory) -> float:
    """Return the time since which nothing was under way for it."""
    last = found.events[-1] if found.events else None
    match last:
        case None:
            return found.read_at
        case Decision():
            return last.at
        case Attempt():
            return last.answered_at or last.at
