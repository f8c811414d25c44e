"""An async, high-throughput sending engine for Amazon SES v2 that accounts for every recipient.

>>> from mailsluice import Engine, Mailing, Recipient, Settings

Names are loaded when they are first used: importing the package costs nothing of the AWS SDK.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from mailsluice.checking.checked import Checked as Checked
    from mailsluice.checking.findings import Finding as Finding
    from mailsluice.checking.findings import Level as Level
    from mailsluice.config.settings import DeliverySettings as DeliverySettings
    from mailsluice.config.settings import FeedbackSettings as FeedbackSettings
    from mailsluice.config.settings import LaneSettings as LaneSettings
    from mailsluice.config.settings import MessageSettings as MessageSettings
    from mailsluice.config.settings import QuotaSettings as QuotaSettings
    from mailsluice.config.settings import RecipientsSettings as RecipientsSettings
    from mailsluice.config.settings import SesSettings as SesSettings
    from mailsluice.config.settings import Settings as Settings
    from mailsluice.config.settings import SuppressionSettings as SuppressionSettings
    from mailsluice.config.settings import UnsubscribeSettings as UnsubscribeSettings
    from mailsluice.engine.engine import Engine as Engine
    from mailsluice.engine.fates import MailFate as MailFate
    from mailsluice.engine.outbox import OutboxStatistics as OutboxStatistics
    from mailsluice.engine.run import Statistics as Statistics
    from mailsluice.engine.sending import BatchSettled as BatchSettled
    from mailsluice.journal import Journal as Journal
    from mailsluice.journal import Record as Record
    from mailsluice.journal import RunHeader as RunHeader
    from mailsluice.journal.memory import MemoryJournal as MemoryJournal
    from mailsluice.journal.sqlite import SqliteJournal as SqliteJournal
    from mailsluice.mailing.mailing import Attachment as Attachment
    from mailsluice.mailing.mailing import Content as Content
    from mailsluice.mailing.mailing import Mailing as Mailing
    from mailsluice.mailing.message import Expired as Expired
    from mailsluice.mailing.message import Failed as Failed
    from mailsluice.mailing.message import Held as Held
    from mailsluice.mailing.message import InDoubt as InDoubt
    from mailsluice.mailing.message import Message as Message
    from mailsluice.mailing.message import QueueFull as QueueFull
    from mailsluice.mailing.message import Receipt as Receipt
    from mailsluice.mailing.message import Rejected as Rejected
    from mailsluice.mailing.message import SendError as SendError
    from mailsluice.model import Account as Account
    from mailsluice.model import Answer as Answer
    from mailsluice.model import Counts as Counts
    from mailsluice.model import EntryResult as EntryResult
    from mailsluice.model import Head as Head
    from mailsluice.model import Lane as Lane
    from mailsluice.model import Recipient as Recipient
    from mailsluice.model import SourceIdentity as SourceIdentity
    from mailsluice.model import State as State
    from mailsluice.model.errors import ArgumentError as ArgumentError
    from mailsluice.model.errors import ArgumentTypeError as ArgumentTypeError
    from mailsluice.model.errors import CheckFailedError as CheckFailedError
    from mailsluice.model.errors import ConfigurationError as ConfigurationError
    from mailsluice.model.errors import EngineError as EngineError
    from mailsluice.model.errors import JournalError as JournalError
    from mailsluice.model.errors import MailingChangedError as MailingChangedError
    from mailsluice.model.errors import MailsluiceError as MailsluiceError
    from mailsluice.model.errors import RunFinishedError as RunFinishedError
    from mailsluice.model.errors import SourceChangedError as SourceChangedError
    from mailsluice.model.errors import SourceError as SourceError
    from mailsluice.model.errors import StoreError as StoreError
    from mailsluice.model.errors import UsageError as UsageError
    from mailsluice.model.hold import Hold as Hold
    from mailsluice.reports.report import ExitCode as ExitCode
    from mailsluice.reports.report import Report as Report
    from mailsluice.ses import AccountUnavailableError as AccountUnavailableError
    from mailsluice.ses import Depart as Depart
    from mailsluice.ses import Transport as Transport
    from mailsluice.sources import Row as Row
    from mailsluice.sources import Source as Source

_NAMES = {
    "checking.checked": ("Checked",),
    "checking.findings": ("Finding", "Level"),
    "config.settings": (
        "DeliverySettings",
        "FeedbackSettings",
        "LaneSettings",
        "MessageSettings",
        "QuotaSettings",
        "RecipientsSettings",
        "SesSettings",
        "Settings",
        "SuppressionSettings",
        "UnsubscribeSettings",
    ),
    "engine.engine": ("Engine",),
    "engine.fates": ("MailFate",),
    "engine.outbox": ("OutboxStatistics",),
    "engine.run": ("Statistics",),
    "engine.sending": ("BatchSettled",),
    "journal": ("Journal", "Record", "RunHeader"),
    "journal.memory": ("MemoryJournal",),
    "journal.sqlite": ("SqliteJournal",),
    "mailing.mailing": ("Attachment", "Content", "Mailing"),
    "mailing.message": (
        "Expired",
        "Failed",
        "Held",
        "InDoubt",
        "Message",
        "QueueFull",
        "Receipt",
        "Rejected",
        "SendError",
    ),
    "model": (
        "Account",
        "Answer",
        "Counts",
        "EntryResult",
        "Head",
        "Lane",
        "Recipient",
        "SourceIdentity",
        "State",
    ),
    "model.errors": (
        "ArgumentError",
        "ArgumentTypeError",
        "CheckFailedError",
        "ConfigurationError",
        "EngineError",
        "JournalError",
        "MailingChangedError",
        "MailsluiceError",
        "RunFinishedError",
        "SourceChangedError",
        "SourceError",
        "StoreError",
        "UsageError",
    ),
    "model.hold": ("Hold",),
    "reports.report": ("ExitCode", "Report"),
    "ses": ("AccountUnavailableError", "Depart", "Transport"),
    "sources": ("Row", "Source"),
}
"""Public names by the module that defines them, as above."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = tuple(sorted(_HOMES))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # 50 ms that nothing else needs

        return version("mailsluice")
    if name not in _HOMES:
        raise AttributeError(f"module 'mailsluice' has no attribute {name!r}")
    importlib.import_module(f"mailsluice.{_HOMES[name]}")
    _publish()
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _publish() -> None:
    """Put the public names of all modules loaded so far here, and say that they are of here.

    So tracebacks, `repr` and pickles name `mailsluice.Rejected`, not the room that defines it.
    """
    for module, names in _NAMES.items():
        home = sys.modules.get(f"mailsluice.{module}")
        for name in names if home is not None else ():
            if name not in globals() and hasattr(home, name):
                value = globals()[name] = getattr(home, name)
                if inspect.isclass(value):
                    _move(value)


def _move(kind: type) -> None:
    """Make a class one of this package.

    Its annotations are resolved first: pydantic and others look up their names in its module.
    """
    kind.__annotations__ = inspect.get_annotations(kind, eval_str=True)
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            field.type = kind.__annotations__.get(field.name, field.type)
    kind.__module__ = __name__
