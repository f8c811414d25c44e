"""Checks that a source is the one that a journal's rows were taken from.

The bytes of a file or an object are compared as far as the run has read them, whatever their date
or name. The rows of any source are compared as they come (`mailing.recognition`).
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime

from mailsluice.journal import Intent, Journal, Taken
from mailsluice.journal.none import NoJournal
from mailsluice.journal.standing import Standing
from mailsluice.mailing.fingerprints import KEYED_BYTES, ORDERED_BYTES
from mailsluice.mailing.recognition import DifferentRowError, Prints, Recogniser
from mailsluice.model import Head, SourceIdentity
from mailsluice.model.errors import ConfigurationError, RunFinishedError, SourceChangedError
from mailsluice.sources import Source

DIGEST_SHOWN = 16
"""Hexadecimal digits of a SHA-256 that a message shows: enough to compare by eye."""


def read_back(journal: Journal, *, by_key: bool) -> tuple[Standing, Recogniser]:
    """Add the records up, and make a recogniser for rows that the source gives again.

    `by_key`: rows may come in any order, if the journal's fingerprints allow it. Raises
    ConfigurationError if the run began by key and does not go on by key: keys say nothing of
    addresses, and one of them could be sent again. Blocks for about a second per million
    recipients, and three if the journal has no fingerprints.
    """
    width = KEYED_BYTES if by_key else ORDERED_BYTES
    standing, prints = Standing(), Prints(0 if isinstance(journal, NoJournal) else width)
    for record in journal.replay(details=False):
        standing.apply(record)
        if isinstance(record, Taken):
            prints.take(record)
    if prints.known and prints.width == KEYED_BYTES and not by_key:
        raise ConfigurationError(
            f'{journal.name}: this run began with [recipients] dedupe = "key"; give the same'
        )
    if prints.has_blanks:
        for record in journal.replay(details=True):
            if isinstance(record, Intent):
                prints.fill(record)
    return standing, prints.recogniser(by_key=by_key)


async def identified(
    journal: Journal, standing: Standing, source: Source, rows: Recogniser
) -> SourceIdentity | None:
    """Identify the source as it is now.

    Raises SourceChangedError (RunFinishedError if the run has finished) if the journal's rows were
    taken from other bytes. A source that cannot be read twice, or whose rows are known by key, is
    not judged by its bytes.
    """
    now = await source.identify()
    before = journal.run.source if journal.run else None
    if now is None or before is None or rows.by_key or not rows.known or _same_object(now, before):
        return now
    what = None
    if now.size is not None and before.size is not None and now.size < before.size:
        what = "it is shorter"
    elif standing.head is not None:
        found = await source.head_of(standing.head.size)
        if found is not None and found != standing.head:
            what = "what the run has read of it is another content"
    if what is not None:
        what = f"{what}; it was {_described(before, standing.head)}"
        raise changed(journal, standing, now, what, "" if standing.finished else _RESTORE)
    return now


async def require_nobody_new(
    journal: Journal, standing: Standing, source: Source, rows: Recogniser
) -> None:
    """Raise RunFinishedError if the source gives a recipient that the finished run did not have.

    Call `identified` before. Reads the rows even if the bytes are the same, because other settings
    make other recipients of them.
    """
    now = await source.identify()
    async with aclosing(source.rows()) as lists:
        async for some in lists:
            try:
                new = rows.place(some).new
            except DifferentRowError as error:
                raise changed(journal, standing, now, difference(journal, error)) from error
            if new:
                what = f"it has rows that the run never had, from row {new.start} on"
                raise changed(journal, standing, now, what, AGAIN)
    if rows.missing and not rows.by_key:
        what = f"it ends before row {rows.known - rows.missing + 1}, which the run has had"
        raise changed(journal, standing, now, what)


def changed(
    journal: Journal, standing: Standing, now: SourceIdentity | None, what: str, remedy: str = ""
) -> SourceChangedError | RunFinishedError:
    """Return the error to raise if the source differs before this process has sent anything."""
    name = "the recipients" if now is None else now.name
    name = "standard input" if name == "-" else name
    if standing.finished:
        return RunFinishedError(
            f"{name}: the run of {journal.name} has finished, and this is another list ({what}); "
            "nothing was sent. Name another --journal for it: that mails everybody on it, also "
            "those who were mailed before, unless you leave them out with --except "
            f"{journal.name}{remedy}"
        )
    return SourceChangedError(
        f"{name}: it has changed since {journal.name} began ({what}); nothing was sent. "
        f"{remedy}A new run with another --journal mails everybody on it again, unless you leave "
        f"out those who were mailed with --except {journal.name}"
    )


def difference(journal: Journal, error: DifferentRowError) -> str:
    """Describe the row that differs: what it was and what it is. Blocks as long as a replay takes.

    Names keys, but no addresses: the text is logged, and appears in reports.
    """
    seq, (line, recipient, _, _) = error.seq, error.row
    before, now = _key_of(journal, seq), recipient and recipient.key
    gives = "other addresses" if now and now == before else "another recipient"
    if error.known_as:
        gives = f"row {error.known_as} of the journal"
    return (
        f"row {seq}{f' (line {line} of the list)' if line else ''} is not the same: "
        f"{journal.name} has there {_keyed('a recipient', before)}, and the source "
        f"gives now {_keyed(gives, now)} (`mailsluice export "
        f"{journal.name}` shows the journal's rows)"
    )


def _key_of(journal: Journal, seq: int) -> str | None:
    """Return the key under which a row was attempted."""
    for record in journal.replay(details=True):
        if isinstance(record, Intent) and seq in record.seqs:
            return record.addresses.at(record.seqs.index(seq)).key
    return None


def _keyed(what: str, key: object) -> str:
    """Add a row's key to a text, unless the key may be an address."""
    return f"{what} with the key {key!r}" if isinstance(key, str) and "@" not in key else what


def _same_object(now: SourceIdentity, before: SourceIdentity) -> bool:
    return now.tag is not None and now.tag == before.tag


def _described(before: SourceIdentity, head: Head | None) -> str:
    """Describe the source as the run knew it: at its beginning, or when it was read last."""
    grown = before.size is not None and head is not None and head.size > before.size
    parts = [] if grown or before.size is None else [f"{before.size:,} bytes"]
    if before.modified is not None and not grown:
        at = datetime.fromtimestamp(before.modified, UTC)
        parts.append(f"modified {at:%Y-%m-%d %H:%M:%S} UTC")
    if head is not None:
        shown = head.digest[:DIGEST_SHOWN]
        parts.append(f"SHA-256 of its first {head.size} bytes {shown}…")
    return ", ".join(parts)


_RESTORE = "Restore it to that, at whatever time and place, to go on. "

AGAIN = (
    ". If it is still the same mailing, --again sends it to those on the list whom the run has not "
    "settled"
)
"""The remedy for a list that has gained recipients since its run finished."""
