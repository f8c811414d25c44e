"""What a mailing's folder contains: the mailing and its settings, list, journal and report."""

from __future__ import annotations

import os
import stat
from dataclasses import asdict
from pathlib import Path

import orjson

from mailsluice.config import loading
from mailsluice.config.settings import SesSettings, Settings
from mailsluice.journal import Journal
from mailsluice.mailing.mailing import Mailing
from mailsluice.model import Counts
from mailsluice.model.errors import ConfigurationError, JournalError
from mailsluice.reports import overview
from mailsluice.sources import files, reading
from mailsluice.sources.files import FileSource
from mailsluice.worker.mailings.inbox import JOURNAL, MESSAGE, mailing_file
from mailsluice.worker.mailings.job import Job, JobState
from mailsluice.worker.queue import messages
from mailsluice.worker.queue.journals import OpenJournal
from mailsluice.worker.queue.messages import BodyError, FromList

MESSAGE_BYTES_MAX = 2 * 1024 * 1024
"""Longest SQS message: 1 MiB (SQS API reference, SendMessage)."""

_JOURNAL_SUFFIXES = ("", "-wal", "-shm", "-journal", ".new")
"""Suffixes of the files of one journal, SQLite's and ours."""


def mailing_of(path: Path) -> tuple[Mailing, Settings]:
    """Read the mailing from its file, or from the message. Raises ConfigurationError, BodyError.

    A user who drops a mailing may have fewer rights than the worker: every file that the mailing
    names must lie in its folder.
    """
    message = path / MESSAGE
    if not os.path.lexists(message):
        return loading.load(mailing_file(path), within=path)
    try:
        read = messages.parse(reading.read(message, MESSAGE_BYTES_MAX, within=path))
    except OSError as error:
        raise ConfigurationError(f"{message}: it cannot be read: {error.strerror}") from error
    if not isinstance(read, FromList):
        raise BodyError(f"{MESSAGE}: it names no list")
    return read.mailing, messages.settings_of(read)


def list_of(path: Path, settings: Settings, ses: SesSettings) -> FileSource:
    """Open the list, in the folder or in S3. Raises ConfigurationError, SourceError."""
    list_ = settings.recipients.path
    if list_ is None or list_ == "-":
        raise ConfigurationError(f"{path.name}: [recipients] path must name the list beside it")
    return files.open_source(
        list_ if files.is_elsewhere(list_) else path / list_,
        settings.recipients.fields(),
        encoding=settings.recipients.encoding,
        region=ses.region,
        profile=ses.profile,
        within=path,
    )


def journal_of(path: Path, open_journal: OpenJournal) -> Journal:
    """Open the journal, or create it. Raises JournalError, ConfigurationError.

    SQLite opens files by name, so a dropped mailing must not lead it elsewhere by a symbolic or
    hard link.
    """
    for suffix in _JOURNAL_SUFFIXES:
        name = f"{JOURNAL}{suffix}"
        try:
            status = (path / name).lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(
                f"{path.name}: {name} is a link, or no file: a mailing may bring only a journal "
                "that a worker has written; remove it"
            )
        if status.st_nlink > 1:
            raise JournalError(
                f"{path.name}: {name} has {status.st_nlink} names (hard links), and what is "
                "written to it would appear under the others; remove those"
            )
    return open_journal(path / JOURNAL)


def counts_of(path: Path, open_journal: OpenJournal) -> Counts:
    """Return the journal's counts, if there is one. Raises JournalError, ConfigurationError."""
    if not os.path.lexists(path / JOURNAL):
        return Counts()
    journal = journal_of(path, open_journal)
    try:
        return overview.read_overview(journal, running=False).counts
    finally:
        journal.close()


def report_of(job: Job, state: JobState, why: str | None) -> bytes:
    """Return the mailing's report as JSON."""
    report = {
        "state": state.value,
        "why": why,
        "counts": asdict(job.counts) if job.counts else None,
        "report": job.report.as_dict() if job.report else None,
    }
    return orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
