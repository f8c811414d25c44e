"""What is durable of a run: the records, and the protocol that every journal follows.

A journal is an append-only sequence of records. The source owns what is pending; the journal owns
everything from the intent on. What the records add up to is `standing.Standing`'s to say, the same
way for every journal. Records hold columns, not objects per recipient: one list a field, one
element a recipient, in the order of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mailsluice.model import Batch, Outcome, Remark, SourceIdentity, State

STATE_CODES = {
    State.SENT: "s",
    State.REJECTED: "r",
    State.FAILED: "f",
    State.IN_DOUBT: "i",
    State.PENDING: "p",
}
"""One letter a recipient in `Settlement.states`."""

BURNED_CODE = "b"
"""Pending again, and the attempt counts against `delivery.max_attempts`."""

DOUBTED_CODE = "d"
"""As `BURNED_CODE`, and SES may have taken it all the same (`in_doubt = "resend"`)."""

STATES_BY_CODE = {code: state for state, code in STATE_CODES.items()} | {
    BURNED_CODE: State.PENDING,
    DOUBTED_CODE: State.PENDING,
}


class Addresses(NamedTuple):
    """To whom one recipient's mail goes, and the caller's key for it."""

    to: Sequence[str]
    cc: Sequence[str]
    bcc: Sequence[str]
    key: str | None


class Taken(NamedTuple):
    """Intake has read the rows `first .. last`; all but those in `remarks` are accepted."""

    at: float
    first: int
    last: int
    remarks: Sequence[Remark]


class Intent(NamedTuple):
    """A batch is about to be sent. Durable before its first byte leaves."""

    at: float
    batch: int
    seqs: Sequence[int]
    addresses: Sequence[Addresses]
    """Empty where a journal was asked to replay without details."""
    weight: int = 0
    """Addresses that count to the daily quota."""


class Settlement(NamedTuple):
    """What became of a batch. Durable before it is counted or reported."""

    at: float
    batch: int
    states: str
    """A code of `STATES_BY_CODE` for each recipient."""
    statuses: Sequence[str]
    message_ids: Sequence[str | None]
    errors: Sequence[str | None]


class Resolution(NamedTuple):
    """Recipients settled outside a call: by an operator, or as guilty of a refused batch."""

    at: float
    seqs: Sequence[int]
    state: State
    status: str
    reason: str


class Event(NamedTuple):
    """Something that happened to the run as a whole: begun, resumed, held, stopped, finished."""

    at: float
    name: str
    text: str


Record = Taken | Intent | Settlement | Resolution | Event


def intent(batch: Batch, at: float) -> Intent:
    """The record that must be durable before `batch` is sent."""
    return Intent(
        at,
        batch.number,
        [entry.seq for entry in batch.entries],
        [Addresses(entry.to, entry.cc, entry.bcc, entry.key) for entry in batch.entries],
        batch.daily_weight,
    )


def settlement(number: int, outcomes: Sequence[Outcome], at: float) -> Settlement:
    """The record of what became of batch `number`."""
    return Settlement(
        at,
        number,
        "".join(map(_code, outcomes)),
        [each.status for each in outcomes],
        [each.message_id for each in outcomes],
        [each.error for each in outcomes],
    )


def _code(outcome: Outcome) -> str:
    if outcome.state is State.PENDING and outcome.burned:
        return DOUBTED_CODE if outcome.doubted else BURNED_CODE
    return STATE_CODES[outcome.state]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a journal knows of its run from the start."""

    id: str
    """Random, 16 characters of `[a-z2-7]`; part of every recipient's `mailsluice-id` tag."""
    begun_at: float
    """Seconds since the epoch."""
    source: SourceIdentity | None
    mailing_digest: str
    """SHA-256 of the mailing's part of the request, hexadecimal."""


class Journal(Protocol):
    """A durable, append-only sequence of records with one writer."""

    @property
    def name(self) -> str:
        """What messages call it: a file's path, or "memory"."""

    @property
    def blocks(self) -> bool:
        """Whether `commit` may block, and so belongs in a worker thread."""

    @property
    def run(self) -> Run | None:
        """The run that it belongs to; None before `begin`."""

    def begin(self, run: Run) -> None:
        """Make it that run's; durable on return.

        Raises JournalError where rows of another run have been taken already.
        """

    def commit(self, records: Sequence[Record]) -> None:
        """Append records, all or none; durable on return.

        Raises JournalError, after which nothing more may be committed: what is durable is unknown
        until the journal is opened again.
        """

    def replay(self, *, details: bool) -> Iterator[Record]:
        """All records in the order of commit.

        Without `details`, addresses, statuses, message ids and errors are empty: enough for
        `Standing`. Raises JournalError where a record cannot be trusted.
        """

    def close(self) -> None:
        """Release it. Safe to call twice."""
