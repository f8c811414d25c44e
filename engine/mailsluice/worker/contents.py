"""What a mailing's folder contains: the mailing and its settings, list, journal and report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import orjson

from mailsluice import config, overview
from mailsluice.config import SesSettings, Settings
from mailsluice.errors import ConfigurationError
from mailsluice.mailing import Mailing
from mailsluice.model import Counts
from mailsluice.sources import files
from mailsluice.sources.files import FileSource
from mailsluice.worker import body
from mailsluice.worker.body import BodyError, FromList
from mailsluice.worker.folder import JOURNAL, MESSAGE, mailing_file
from mailsluice.worker.job import Job, JobState
from mailsluice.worker.segments import OpenJournal


def mailing_of(path: Path) -> tuple[Mailing, Settings]:
    """As the mailing file says, or the message. Raises ConfigurationError, BodyError."""
    message = path / MESSAGE
    if not message.exists():
        return config.load(mailing_file(path))
    read = body.parse(message.read_bytes())
    if not isinstance(read, FromList):
        raise BodyError(f"{MESSAGE}: it names no list")
    return read.mailing, body.settings_of(read)


def list_of(path: Path, settings: Settings, ses: SesSettings) -> FileSource:
    """The list, in the folder or elsewhere. Raises ConfigurationError, SourceError."""
    list_ = settings.recipients.path
    if list_ is None or list_ == "-":
        raise ConfigurationError(f"{path.name}: [recipients] path must name the list beside it")
    return files.open_source(
        list_ if files.is_elsewhere(list_) else path / list_,
        settings.recipients.fields(),
        encoding=settings.recipients.encoding,
        region=ses.region,
        profile=ses.profile,
    )


def counts_of(path: Path, open_journal: OpenJournal) -> Counts:
    """What the journal says, if there is one. Raises JournalError."""
    if not (path / JOURNAL).exists():
        return Counts()
    journal = open_journal(path / JOURNAL)
    try:
        return overview.of(journal, running=False).counts
    finally:
        journal.close()


def report_of(job: Job, state: JobState, why: str | None) -> bytes:
    """What became of it, as JSON."""
    report = {
        "state": state.value,
        "why": why,
        "counts": asdict(job.counts) if job.counts else None,
        "report": job.report.as_dict() if job.report else None,
    }
    return orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
