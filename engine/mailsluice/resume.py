"""How a run begins or goes on in a journal: whose it is, what the source is, what was left open."""

from __future__ import annotations

import hashlib
import logging
import secrets
from base64 import b32encode

from mailsluice.dispatcher import InDoubt
from mailsluice.errors import SourceChangedError
from mailsluice.journal import DOUBTED_CODE, STATE_CODES, Event, Journal, Record, Run, Settlement
from mailsluice.journal.standing import Standing
from mailsluice.model import SourceIdentity, State
from mailsluice.statuses import NO_ANSWER

logger = logging.getLogger(__name__)

RUN_ID_BYTES = 10
"""80 random bits: `mailsluice-id` tags stay unique across all runs of an organisation."""

BEGUN = "begun"
RESUMED = "resumed"

_ORPHANED = "the process ended before the answer was recorded"


def standing_of(journal: Journal) -> Standing:
    """What the journal's records add up to. Blocks for about a second per million recipients."""
    return Standing().apply_all(journal.replay(details=False))


def claim(
    journal: Journal, standing: Standing, prefix: bytes, source: SourceIdentity | None, at: float
) -> tuple[Run, Event]:
    """Begin a run in the journal, or go on with the one that it has.

    A run of which no row was ever taken gives way to a new one: what kept it from beginning (a
    header that cannot be used, say) must not bind the mended list. `prefix` is the mailing's part
    of each request, by which a changed mailing is noticed. Raises JournalError.
    """
    digest = hashlib.sha256(prefix).hexdigest()
    run = journal.run
    if run is None or not standing.counts.read:
        run = Run(id=_new_id(), begun_at=at, source=source, mailing_digest=digest)
        journal.begin(run)
        return run, Event(at, BEGUN, "")
    if digest == run.mailing_digest:
        return run, Event(at, RESUMED, "")
    logger.warning("%s: the mailing has changed since this run was begun", journal.name)
    return run, Event(at, RESUMED, "the mailing has changed")


def orphans(standing: Standing, in_doubt: InDoubt, at: float) -> list[Record]:
    """Settlements for intents that an earlier process left open: SES may have them or not."""
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


def _new_id() -> str:
    return b32encode(secrets.token_bytes(RUN_ID_BYTES)).decode().lower()


def require_same(journal: Journal, standing: Standing, now: SourceIdentity | None) -> None:
    """Raise SourceChangedError where rows of another source have been taken into the journal."""
    before = journal.run.source if journal.run and standing.counts.read else None
    if before is None or now is None:
        return
    for what in ("size", "modified", "head"):
        was, is_ = getattr(before, what), getattr(now, what)
        if was is not None and is_ is not None and was != is_:
            raise SourceChangedError(
                f"{now.name}: it has changed since {journal.name} was begun ({_NAMES[what]}); "
                "restore it to go on, or begin a new run with another --journal"
            )


_NAMES = {
    "size": "another size",
    "modified": "another modification time",
    "head": "other contents at its beginning",
}
