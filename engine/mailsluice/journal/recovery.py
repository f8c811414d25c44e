"""How a run begins or resumes in a journal: its mailing, its source, and calls left open."""

from __future__ import annotations

import hashlib
import logging
from base64 import b32encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, get_args

import orjson

from mailsluice.journal import (
    DOUBTED_CODE,
    STATE_CODES,
    Event,
    Journal,
    Record,
    Resolution,
    RunHeader,
    Settlement,
)
from mailsluice.journal.standing import EXCEPTING, REOPENED, REVISED, Standing
from mailsluice.model import InDoubt, SourceIdentity, State
from mailsluice.model.codes import NO_ANSWER, RESOLVED, WITHDRAWN
from mailsluice.model.errors import (
    ConfigurationError,
    JournalError,
    MailingChangedError,
    RunFinishedError,
)

logger = logging.getLogger(__name__)

RUN_ID_BYTES = 10
"""80 random bits: `mailsluice-id` tags stay unique across all runs of an organisation."""

BEGUN = "begun"
RESUMED = "resumed"

MESSAGES = "messages"
"""The digest in a journal of single messages, which have many mailings."""

_LEFT_BEHIND = "its process ended before it was sent"

Only = Literal["failed", "rejected", "in_doubt"]
"""The part of a finished run that can be sent once more, by its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The part of its recipients that a run sends to."""

    only: Only | None = None
    """Send once more to the recipients of a finished run in this state."""
    again: bool = False
    """Send to the recipients that the run has not settled, although the mailing has changed."""
    excepted: tuple[Path, ...] = ()
    """Leave out recipients that these journals list as sent or in doubt."""

    def __post_init__(self) -> None:
        """Check the combination. Raises ConfigurationError."""
        if self.only not in (None, *get_args(Only)):
            raise ConfigurationError(f"only={self.only!r}: there are {', '.join(get_args(Only))}")

    @property
    def revises(self) -> bool:
        """True if the mailing may differ from the one that earlier recipients were sent."""
        return self.again or self.only is not None


_ORPHANED = "the process ended before the answer was recorded"

_NOT_RESENT = 'an earlier attempt had no answer, and delivery.in_doubt has become "hold"'


def standing_of(journal: Journal) -> Standing:
    """Add the journal's records up. Blocks for about a second per million recipients."""
    return Standing().apply_all(journal.replay(details=False))


def claim(  # noqa: PLR0913, PLR0917  # what a run is known by
    journal: Journal,
    standing: Standing,
    digest: str,
    excepting: Mapping[str, str],
    source: SourceIdentity | None,
    at: float,
    random: Random,
) -> tuple[RunHeader, list[Record]]:
    """Begin a run in the journal, or resume the one that it has. Return it, and what to record.

    A run that never took a row is replaced by a new one: a list with an unusable header, say, must
    not bind the mended list. `require_same_mailing` has admitted the mailing's `digest`, and
    `require_same_exceptions` the runs in `excepting`. Raises JournalError.
    """
    run = journal.run
    if run is not None and run.mailing_digest == MESSAGES:
        raise JournalError(
            f"{journal.name}: it is the journal of single messages; a mailing's run needs its own"
        )
    if run is None or not standing.counts.read:
        run = RunHeader(id=_new_id(random), begun_at=at, source=source, mailing_digest=digest)
        journal.begin(run)
        begun: list[Record] = [Event(at, BEGUN, "")]
        if excepting or standing.excepting:
            begun.append(Event(at, EXCEPTING, orjson.dumps(dict(excepting)).decode()))
        return run, begun
    resumed = Event(at, RESUMED, "")
    if digest == (standing.revised or run.mailing_digest):
        return run, [resumed]
    logger.warning("%s: the mailing has changed since this run began", journal.name)
    return run, [Event(at, REVISED, digest), resumed]


def recovered(standing: Standing, in_doubt: InDoubt, at: float) -> list[Record]:
    """Return the records with which a new process begins: the doubts that the last one left.

    These are calls without an answer, and, under "hold", deferred rows that a run under "resend"
    would have sent again, except those that an operator has ordered to be sent.
    """
    records: list[Record] = [*orphans(standing, in_doubt, at)]
    under_way = {seq for seqs in standing.open.values() for seq in seqs}
    held = sorted(standing.doubted - standing.ordered - under_way)
    if in_doubt == "hold" and held:
        records.append(Resolution(at, held, State.IN_DOUBT, NO_ANSWER, _NOT_RESENT))
    return records


def orphans(standing: Standing, in_doubt: InDoubt, at: float) -> list[Settlement]:
    """Return settlements in doubt for the intents that an earlier process left open."""
    code = DOUBTED_CODE if in_doubt == "resend" else STATE_CODES[State.IN_DOUBT]
    return [
        Settlement(
            at,
            number,
            code * len(seqs),
            [NO_ANSWER] * len(seqs),
            [None] * len(seqs),
            [_ORPHANED] * len(seqs),
        )
        for number, seqs in standing.open.items()
    ]


def claim_for_messages(journal: Journal, at: float, random: Random) -> str:
    """Return the run id of single messages. Raises JournalError if the journal is a mailing's."""
    run = journal.run
    if run is None:
        run = RunHeader(id=_new_id(random), begun_at=at, source=None, mailing_digest=MESSAGES)
        journal.begin(run)
    if run.mailing_digest != MESSAGES:
        raise JournalError(
            f"{journal.name}: it is the journal of a mailing's run; single messages need their own"
        )
    return run.id


def abandoned(standing: Standing, at: float) -> list[Record]:
    """Return the records for single messages whose process has ended: they will not come again."""
    records: list[Record] = [*orphans(standing, "hold", at)]
    under_way = {seq for seqs in standing.open.values() for seq in seqs}
    unsettled = standing.settled.missing(1, standing.counts.read)
    left = [seq for seq in unsettled if seq not in under_way]
    doubted = [seq for seq in left if seq in standing.doubted]
    rest = [seq for seq in left if seq not in standing.doubted]
    if doubted:
        records.append(Resolution(at, doubted, State.IN_DOUBT, NO_ANSWER, _LEFT_BEHIND))
    if rest:
        records.append(Resolution(at, rest, State.FAILED, WITHDRAWN, _LEFT_BEHIND))
    return records


def resolved(
    standing: Standing, becomes: State, seqs: Sequence[int], reason: str, at: float
) -> tuple[list[int], list[Record]]:
    """Settle doubts for an operator: rows `seqs`, or all if it is empty. Return rows and records.

    Raises ConfigurationError for a row that is not in doubt.
    """
    records: list[Record] = [*orphans(standing, "hold", at)]
    standing.apply_all(records)
    in_doubt = standing.revisable[State.IN_DOUBT]
    rows = sorted(set(seqs or in_doubt))
    for row in rows:
        if row not in in_doubt:
            raise ConfigurationError(
                f"row {row} is not in doubt; `mailsluice status` names those that are"
            )
    if rows:
        records.append(Resolution(at, rows, becomes, RESOLVED, reason))
    return rows, records


def chosen(journal: Journal, standing: Standing, only: Only) -> list[int]:
    """Return the rows that `only` names; none if they are already being sent once more.

    Raises ConfigurationError if the run has not finished.
    """
    state = State(only)
    if standing.reopened is state and not standing.finished:
        return []
    if not (standing.finished and standing.counts.read):
        raise ConfigurationError(
            f"{journal.name}: there is no finished run in it, of which a part could be sent once "
            "more; finish it first, by the same command without --only"
        )
    return list(standing.revisable[state])


def reopened(rows: Sequence[int], only: Only, at: float) -> list[Record]:
    """Return the records that have these rows sent once more, as new attempts."""
    reason = f"to be sent once more: --only {only.replace('_', '-')}"
    resolution = Resolution(at, rows, State.PENDING, RESOLVED, reason)
    return [Event(at, REOPENED, only), *([resolution] if rows else [])]


def _new_id(random: Random) -> str:
    return b32encode(random.randbytes(RUN_ID_BYTES)).decode().lower()


def digest_of(prefix: bytes) -> str:
    """Return the digest of a mailing, from its part of each request (`Mailing.prefix`)."""
    return hashlib.sha256(prefix).hexdigest()


def require_same_mailing(journal: Journal, standing: Standing, digest: str) -> None:
    """Raise an error if some recipients have been sent another mailing than this.

    Raises RunFinishedError if the run has finished, MailingChangedError if it has not. A mailing
    of which nothing has been sent may be changed freely.
    """
    run, counts = journal.run, standing.counts
    if run is None or not counts.read or run.mailing_digest == MESSAGES:
        return  # `claim` refuses a journal of single messages, in its own words
    if digest == (standing.revised or run.mailing_digest):
        return
    if standing.finished:
        raise RunFinishedError(_ANOTHER_MAILING.format(journal=journal.name))
    mailed = counts.sent + counts.in_doubt + sum(map(len, standing.open.values()))
    if mailed or standing.doubted:
        raise MailingChangedError(_CHANGED_MAILING.format(journal=journal.name, mailed=mailed))


def require_same_exceptions(
    journal: Journal, standing: Standing, excepting: Mapping[str, str]
) -> None:
    """Raise ConfigurationError if the run began with other runs to leave out than these.

    Rows that were taken then have been judged by the runs named then.
    """
    before = standing.excepting
    if not standing.counts.read or before.keys() == excepting.keys():
        return
    if before:
        flags = " ".join(f"--except {each}" for each in before.values())
        remedy = f"this run began with {flags}; give the same again"
    else:
        remedy = "this run began without --except, which holds from the beginning; leave it out"
    raise ConfigurationError(f"{journal.name}: {remedy}")


_ANOTHER_MAILING = (
    "{journal}: its run has finished, and this is another mailing (its content has changed); "
    "nothing was sent. For the next mailing name another --journal: everybody on the list is "
    "mailed again, but for those whom you leave out with --except JOURNAL. If it is still the "
    "same mailing, --again sends it to those on the list whom this run has not settled, and --only "
    "failed|rejected to those whom it did not reach"
)

_CHANGED_MAILING = (
    "{journal}: the mailing has changed since this run began, and {mailed:,} recipients were "
    "sent the old one, or may have been; nothing was sent. Restore the mailing, or use --again to "
    "send it as it is now to the rest"
)
