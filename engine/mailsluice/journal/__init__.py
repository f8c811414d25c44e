"""The durable record of a run: its records, and the protocol that every journal follows.

A journal is an append-only sequence of records. The source owns what is pending; the journal owns
everything from the intent on. `standing` adds the records up, the same way for every journal.
Records hold columns, not objects per recipient: one list per field, one element per recipient, in
the order of the batch. `sqlite`, `memory` and `none` keep the records, `writer` commits those of
all calls together, `recovery` begins or resumes a run.

It knows the model. Start here, then `standing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mailsluice.model import Batch, Head, Outcome, Remark, SourceIdentity, State
from mailsluice.model.bitmap import Bitmap

STATE_CODES = {
    State.SENT: "s",
    State.REJECTED: "r",
    State.FAILED: "f",
    State.IN_DOUBT: "i",
    State.PENDING: "p",
}
"""One letter per recipient in `Settlement.states`."""

BURNED_CODE = "b"
"""Pending again, and the attempt counts against `delivery.max_attempts`."""

DOUBTED_CODE = "d"
"""As `BURNED_CODE`, and SES may have accepted the attempt (`in_doubt = "resend"`)."""

STATES_BY_CODE = {code: state for state, code in STATE_CODES.items()} | {
    BURNED_CODE: State.PENDING,
    DOUBTED_CODE: State.PENDING,
}


class Addresses(NamedTuple):
    """The addresses of one recipient, and the caller's key for it."""

    to: Sequence[str]
    cc: Sequence[str]
    bcc: Sequence[str]
    key: str | None


class AddressColumns(NamedTuple):
    """The `Addresses` of a batch by column; a column is empty if no recipient has a value in it."""

    to: Sequence[str | Sequence[str]] = ()
    """A single address is a string, several are a sequence."""
    cc: Sequence[Sequence[str] | None] = ()
    bcc: Sequence[Sequence[str] | None] = ()
    key: Sequence[str | None] = ()

    @classmethod
    def of(cls, each: Sequence[Addresses]) -> AddressColumns:
        """Make the columns of these recipients."""
        return cls.joined(*zip(*each, strict=True)) if each else cls()

    @classmethod
    def joined(
        cls,
        to: Sequence[Sequence[str]],
        cc: Sequence[Sequence[str]],
        bcc: Sequence[Sequence[str]],
        key: Sequence[str | None],
    ) -> AddressColumns:
        """Make the columns of a batch from the columns of its entries."""
        return cls(
            [each[0] if len(each) == 1 else each for each in to] if any(to) else (),
            [each or None for each in cc] if any(cc) else (),
            [each or None for each in bcc] if any(bcc) else (),
            key if any(key) else (),
        )

    def at(self, place: int) -> Addresses:
        """Return the addresses of the recipient at that place in the batch, from 0."""
        to = self.to[place] if self.to else ()
        return Addresses(
            (to,) if isinstance(to, str) else to,
            (self.cc[place] if self.cc else None) or (),
            (self.bcc[place] if self.bcc else None) or (),
            self.key[place] if self.key else None,
        )


class Taken(NamedTuple):
    """Intake has read the rows `first .. last`; all but those in `remarks` are accepted."""

    at: float
    first: int
    last: int
    remarks: Sequence[Remark]
    prints: bytes = b""
    """A fingerprint per row, 4 or 8 bytes (`mailing.recognition`); empty for single messages."""
    head: Head | None = None
    """The source's bytes read by then; None if it cannot be read twice, or if they are the same as
    in the record before."""


class Intent(NamedTuple):
    """A batch is about to be sent. Durable before its first byte leaves."""

    at: float
    batch: int
    seqs: Sequence[int]
    """A `range` if the rows are consecutive."""
    addresses: AddressColumns = AddressColumns()
    """Empty if the journal was replayed without details."""
    weight: int = 0
    """Addresses that count to the daily quota."""


class Settlement(NamedTuple):
    """The outcomes of a batch. Durable before they are counted or reported."""

    at: float
    batch: int
    states: str
    """A code of `STATES_BY_CODE` for each recipient."""
    statuses: Sequence[str]
    message_ids: Sequence[str | None]
    errors: Sequence[str | None]


class Resolution(NamedTuple):
    """Recipients settled outside a call.

    By an operator, as the culprits of a refused batch, or as suppressed before they were attempted.
    """

    at: float
    seqs: Sequence[int]
    state: State
    status: str
    reason: str
    addresses: AddressColumns = AddressColumns()
    """Of rows that no intent has named; empty if intents have them, or nobody knows them."""


class Event(NamedTuple):
    """An event of the run as a whole, such as resumed, held, stopped or finished."""

    at: float
    name: str
    text: str


Record = Taken | Intent | Settlement | Resolution | Event


def intent(batch: Batch, at: float) -> Intent:
    """Make the record that must be durable before `batch` is sent."""
    seqs, _, to, cc, bcc, keys, _ = zip(*batch.entries, strict=True)
    run = range(seqs[0], seqs[0] + len(seqs))
    return Intent(
        at,
        batch.number,
        run if seqs == tuple(run) else seqs,
        AddressColumns.joined(to, cc, bcc, keys),
        batch.daily_weight,
    )


def settlement(number: int, outcomes: Sequence[Outcome], at: float) -> Settlement:
    """Make the record of the outcomes of batch `number`."""
    states, statuses, message_ids, errors, burned, _ = zip(*outcomes, strict=True)
    if any(burned):
        codes = "".join(map(_code, outcomes))
    else:
        codes = "".join([STATE_CODES[state] for state in states])
    return Settlement(at, number, codes, statuses, message_ids, errors)


def _code(outcome: Outcome) -> str:
    if outcome.state is State.PENDING and outcome.burned:
        return DOUBTED_CODE if outcome.doubted else BURNED_CODE
    return STATE_CODES[outcome.state]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """What a journal knows of its run from the beginning."""

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
        """The journal's name in messages: a file's path, or "memory"."""

    @property
    def blocks(self) -> bool:
        """True if `commit` may block, and so belongs in a worker thread."""

    @property
    def run(self) -> RunHeader | None:
        """The run of this journal; None before `begin`."""

    def begin(self, run: RunHeader) -> None:
        """Bind the journal to `run`; durable on return.

        Raises JournalError if rows of another run have been taken already.
        """

    def commit(self, records: Sequence[Record]) -> None:
        """Append records, all or none; durable on return.

        Raises JournalError, after which nothing more may be committed: what is durable is unknown
        until the journal is opened again.
        """

    def replay(self, *, details: bool) -> Iterator[Record]:
        """Yield all records in the order of commit.

        Without `details`, addresses, statuses, message ids and errors are empty: enough for
        `Standing`. Raises JournalError at a record that cannot be trusted.
        """

    def reopened(self) -> tuple[int, Bitmap]:
        """Return the number of records, and the rows that an operator has sent once more.

        A reader that walks the records once needs both at the start. Raises as `replay` does.
        """

    def close(self) -> None:
        """Release the journal. Safe to call twice."""
