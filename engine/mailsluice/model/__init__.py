"""Values that travel between rooms, small containers, errors and codes. Pure.

Everything that at least two rooms must name stands here: recipients, entries, batches and outcomes
(this module), the tree of errors (`errors`), the statuses of our own (`codes`), texts of holds
(`hold`), why a run is not faster (`wait_reason`), sets of rows (`bitmap`), the rolling 24 hours
(`rolling_window`), complaints about settings (`complaints`), and texts and JSON that must not lose
or fake anything (`plain`, `exact_json`), and the `repr` of long-lived objects (`shown`).

It knows no other room, no I/O and no clock. Start with `Entry`, `Batch` and `Outcome` below.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from mailsluice.model.codes import EXCEPTED, EXCEPTED_TEXT, SUPPRESSED

BATCH_RECIPIENTS_MAX = 50
"""Entries in one `SendBulkEmail` call (SES developer guide, "send personalized email")."""

RECIPIENT_ADDRESSES_MAX = 50
"""To+Cc+Bcc addresses of one message (SES quotas page)."""


SIMULATOR_DOMAIN = "@simulator.amazonses.com"
"""SES's mailbox simulator: it counts to the rate, and not to the daily quota (SES developer guide,
"Using the mailbox simulator")."""


Lane = Literal["transactional", "bulk"]
"""A priority class; all lanes share one quota."""

LANE_SHARES: dict[Lane, float] = {"transactional": 0.9, "bulk": 0.1}
"""Shares of the rate while both lanes want more than it. What one leaves goes to the other."""

InDoubt = Literal["hold", "resend"]

Dedupe = Literal["address", "key", "none"]


class State(enum.StrEnum):
    """What became of a recipient. Every row that was read is in exactly one state."""

    REFUSED = "refused"
    """Cannot be sent as it stands: never accepted, never attempted."""
    DUPLICATE = "duplicate"
    """The same address or key came earlier in this run."""
    SUPPRESSED = "suppressed"
    """Accepted syntax, but on a list of addresses not to be mailed."""
    PENDING = "pending"
    """Accepted, and to be sent: not attempted yet, or deferred."""
    SENT = "sent"
    """SES gave a MessageId for it."""
    REJECTED = "rejected"
    """SES refused it for good."""
    FAILED = "failed"
    """Its attempts are exhausted."""
    IN_DOUBT = "in_doubt"
    """The request may have reached SES and the answer is unknown."""


class Recipient(NamedTuple):
    """One destination with its own data, tags and headers, as given by a source or a caller.

    `to`, `cc` and `bcc` are addresses (`"a@example.com"` or `"Ann <a@example.com>"`), 50 at most in
    all. `data` overrides the mailing's data key by key; `tags` and `headers` are added to the
    mailing's, or replace those of the same name. `key` is the caller's own identity for it.

    A NamedTuple, as `Entry` is, because one is built for every row: a frozen dataclass costs four
    times as much to construct.
    """

    to: str | Sequence[str] = ()
    cc: str | Sequence[str] = ()
    bcc: str | Sequence[str] = ()
    data: Mapping[str, Any] | None = None
    tags: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    key: str | None = None


class Entry(NamedTuple):
    """An accepted recipient, encoded once: what travels from intake to the wire."""

    seq: int
    """Its row in the source, counted from 1."""
    weight: int
    """Number of addresses: what the SES quota counts."""
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    key: str | None
    body: bytes
    """The JSON of its `BulkEmailEntry`, UTF-8."""


class Remark(NamedTuple):
    """A row that intake does not hand on: refused, duplicate or suppressed."""

    seq: int
    state: State
    address: str
    """The first To address as the source gave it; empty if there is none."""
    key: str | None
    reason: str
    """For a person: which line, which field, what is wrong with it."""

    @property
    def status(self) -> str:
        """EXCEPTED or SUPPRESSED of a suppressed row; otherwise empty."""
        if self.state is not State.SUPPRESSED:
            return ""
        return EXCEPTED if self.reason.endswith(EXCEPTED_TEXT) else SUPPRESSED


class Chunk(NamedTuple):
    """Rows after intake. Those that are new to the journal are `first .. last`, both inclusive."""

    first: int
    last: int
    """Less than `first` if none is new."""
    entries: list[Entry]
    """Those of all rows that are to be sent."""
    remarks: list[Remark]
    """Those of the new rows."""
    prints: bytes
    """Fingerprints of the new rows (`mailing.recognition`); empty for single messages."""
    unfit: list[Remark]
    """Rows that were accepted before, and cannot be sent as the source gives them now."""


@dataclass(frozen=True)
class Batch:
    """One `SendBulkEmail` call: 1-50 entries of one mailing."""

    number: int
    """Identity of this attempt in the journal; never used twice in a run."""
    entries: tuple[Entry, ...]

    def without(self, seqs: Collection[int]) -> Batch:
        """Return the batch without these rows."""
        return Batch(self.number, tuple(each for each in self.entries if each.seq not in seqs))

    @cached_property
    def weight(self) -> int:
        """Addresses in the whole batch."""
        return sum([entry.weight for entry in self.entries])

    @cached_property
    def daily_weight(self) -> int:
        """Addresses that count to the daily quota."""
        return sum(
            [
                entry.weight
                for entry in self.entries
                if not (entry.to and SIMULATOR_DOMAIN in entry.to[0])
            ]
        )


class Outcome(NamedTuple):
    """What became of one attempt for one recipient."""

    state: State
    """The recipient's new state: `PENDING` if the attempt was deferred."""
    status: str
    """SES's status, its error code, or one of `codes.NO_ANSWER` and its kin."""
    message_id: str | None = None
    error: str | None = None
    burned: bool = False
    """True if the attempt counts against `delivery.max_attempts`."""
    doubted: bool = False
    """True if SES may have accepted the message all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many recipients are in each state. `read` is always the sum of the others."""

    read: int = 0
    refused: int = 0
    duplicate: int = 0
    suppressed: int = 0
    sent: int = 0
    rejected: int = 0
    failed: int = 0
    in_doubt: int = 0
    pending: int = 0

    @property
    def conserved(self) -> bool:
        """True if `read` is the sum of the others, and none is negative."""
        values: dict[str, int] = asdict(self)
        read = values.pop("read")
        return read == sum(values.values()) and min(values.values()) >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What GetAccount says about the account (SES API reference, GetAccount)."""

    rate_per_s: float
    """MaxSendRate: recipients per second."""
    daily_max: float
    """Max24HourSend: recipients per 24 hours; -1 is unlimited."""
    daily_sent: float
    """SentLast24Hours."""
    sending_enabled: bool = True
    enforcement: str = "HEALTHY"
    production: bool = True
    pricing_plan: str | None = None
    """PricingAttributes.CurrentPlan: NONE, ESSENTIALS, PRO or ENTERPRISE; None if not said."""

    @property
    def daily_left(self) -> float:
        """Recipients left in the rolling 24 hours; infinite if unlimited."""
        return float("inf") if self.daily_max < 0 else max(0.0, self.daily_max - self.daily_sent)


class Head(NamedTuple):
    """The beginning of a source's bytes, as they are stored (compressed, perhaps)."""

    size: int
    """Bytes."""
    digest: str
    """Their SHA-256, hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceIdentity:
    """What identifies a source, as it was when a run began."""

    name: str
    size: int | None = None
    """Bytes; None if it has no size, as standard input."""
    modified: float | None = None
    """Modification time, seconds since the epoch. It only tells people which file it was."""
    tag: str | None = None
    """Entity tag of an object in S3: the content is the same while the tag is."""


class EntryResult(NamedTuple):
    """One element of SES's `BulkEmailEntryResults`, as it came."""

    status: str
    message_id: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one call came back with: results for its entries, or one error for the whole call."""

    results: tuple[EntryResult, ...] = ()
    code: str | None = None
    """None if `results` count; otherwise SES's error code or one of `codes.NOT_SENT` …"""
    http_status: int | None = None
    error: str | None = None
