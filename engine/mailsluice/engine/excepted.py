"""Recipients that other journals list as sent or in doubt: a new run can leave them out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mailsluice.journal import Addresses, Intent, Journal, lock
from mailsluice.journal.standing import Standing
from mailsluice.mailing import addresses
from mailsluice.mailing.dedupe import Mailed
from mailsluice.model import Dedupe, State
from mailsluice.model.errors import ConfigurationError

logger = logging.getLogger(__name__)

OpenToRead = Callable[[Path], Journal]


@dataclass(frozen=True, slots=True)
class Excepted:
    """Hashes of those recipients: 7-8 bytes each, twice that if they have keys."""

    mailed: Mailed | None = None
    """Hashes of addresses or keys; None if no journal is named."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """Journals of the runs that list them, by run id."""


def read(paths: Sequence[Path], dedupe: Dedupe, open_: OpenToRead, own: str) -> Excepted:
    """Read which recipients the journals at `paths` list as sent, in doubt, or dropped in doubt.

    `own` names the run's own journal. Reads each journal twice, in constant memory except for the
    hashes. Raises ConfigurationError if one is the run's own, is missing, has no run or is being
    written, and JournalError.
    """
    mailed, runs = Mailed(by_key=dedupe == "key"), dict[str, str]()
    nested: dict[str, str] = {}
    for path in paths:
        if not path.is_file():
            raise ConfigurationError(f"{path}: there is no such journal to --except")
        if Path(own).exists() and path.samefile(own):
            raise ConfigurationError(f"{path}: it is this run's own journal; --except another's")
        if lock.is_being_written(path):
            raise ConfigurationError(
                f"{path}: it is open for writing, so that its run may mail more people than are "
                "excepted now; wait until that has ended, or stop it, and close an engine that has "
                "the journal open"
            )
        with closing(open_(path)) as journal:
            if journal.run is None:
                raise ConfigurationError(f"{path}: there is no run in it to --except")
            runs[journal.run.id] = str(path)
            standing = Standing().apply_all(journal.replay(details=False))
            nested |= standing.excepting
            if standing.counts.pending:
                logger.warning(
                    "%s: %d of its recipients are pending, and not left out here; if its run goes "
                    "on, it mails them as well",
                    path,
                    standing.counts.pending,
                )
            _remember(journal, standing, mailed)
    for each in (name for run, name in nested.items() if run not in runs):
        logger.warning(
            "%s: a run that is excepted has left out those whom this journal lists; they are not "
            "left out here, unless --except names it too",
            each,
        )
    return Excepted(mailed, runs) if runs else Excepted()


def _remember(journal: Journal, standing: Standing, mailed: Mailed) -> None:
    in_flight = {seq for seqs in standing.open.values() for seq in seqs}
    for record in journal.replay(details=True):
        if not isinstance(record, Intent):
            continue
        for place, seq in enumerate(record.seqs):
            if seq in in_flight or _may_have_been_sent(standing, seq):
                to = record.addresses.at(place)
                mailed.add(_first_address(to), to.key)


def _may_have_been_sent(standing: Standing, seq: int) -> bool:
    """Return True if an attempted row was sent, or may have been; an unsettled one was not."""
    if any(seq in standing.revisable[state] for state in (State.REJECTED, State.FAILED)):
        return False
    return seq in standing.settled or seq in standing.doubted


def _first_address(to: Addresses) -> str:
    """Return the address by which intake recognises a recipient."""
    first = next(text for texts in (to.to, to.cc, to.bcc) for text in texts)
    return addresses.normalise(first).key
