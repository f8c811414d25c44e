"""An async, high-throughput sending engine for Amazon SES v2 that accounts for every recipient.

>>> from mailsluice import Engine, Mailing, Recipient, Settings

Names are loaded when they are first used: importing the package costs nothing of the AWS SDK.
"""

from __future__ import annotations

import importlib
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
    from mailsluice.engine.engine import Engine as Engine
    from mailsluice.engine.outbox import OutboxStatistics as OutboxStatistics
    from mailsluice.engine.run import Statistics as Statistics
    from mailsluice.engine.sending import BatchSettled as BatchSettled
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
    from mailsluice.model import Counts as Counts
    from mailsluice.model import Recipient as Recipient
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
    from mailsluice.model.errors import UsageError as UsageError
    from mailsluice.reports.report import ExitCode as ExitCode
    from mailsluice.reports.report import Report as Report

_HOMES = {
    "ArgumentError": "model.errors",
    "ArgumentTypeError": "model.errors",
    "Attachment": "mailing.mailing",
    "BatchSettled": "engine.sending",
    "CheckFailedError": "model.errors",
    "Checked": "checking.checked",
    "ConfigurationError": "model.errors",
    "Content": "mailing.mailing",
    "Counts": "model",
    "DeliverySettings": "config.settings",
    "Engine": "engine.engine",
    "EngineError": "model.errors",
    "ExitCode": "reports.report",
    "Expired": "mailing.message",
    "Failed": "mailing.message",
    "FeedbackSettings": "config.settings",
    "Finding": "checking.findings",
    "Held": "mailing.message",
    "InDoubt": "mailing.message",
    "JournalError": "model.errors",
    "LaneSettings": "config.settings",
    "Level": "checking.findings",
    "Mailing": "mailing.mailing",
    "MailingChangedError": "model.errors",
    "MailsluiceError": "model.errors",
    "Message": "mailing.message",
    "MessageSettings": "config.settings",
    "OutboxStatistics": "engine.outbox",
    "QueueFull": "mailing.message",
    "QuotaSettings": "config.settings",
    "Receipt": "mailing.message",
    "Recipient": "model",
    "RecipientsSettings": "config.settings",
    "Rejected": "mailing.message",
    "Report": "reports.report",
    "RunFinishedError": "model.errors",
    "SendError": "mailing.message",
    "SesSettings": "config.settings",
    "Settings": "config.settings",
    "SourceChangedError": "model.errors",
    "SourceError": "model.errors",
    "State": "model",
    "Statistics": "engine.run",
    "UsageError": "model.errors",
}

__all__ = (  # a sorted tuple of the names above
    "ArgumentError",
    "ArgumentTypeError",
    "Attachment",
    "BatchSettled",
    "CheckFailedError",
    "Checked",
    "ConfigurationError",
    "Content",
    "Counts",
    "DeliverySettings",
    "Engine",
    "EngineError",
    "ExitCode",
    "Expired",
    "Failed",
    "FeedbackSettings",
    "Finding",
    "Held",
    "InDoubt",
    "JournalError",
    "LaneSettings",
    "Level",
    "Mailing",
    "MailingChangedError",
    "MailsluiceError",
    "Message",
    "MessageSettings",
    "OutboxStatistics",
    "QueueFull",
    "QuotaSettings",
    "Receipt",
    "Recipient",
    "RecipientsSettings",
    "Rejected",
    "Report",
    "RunFinishedError",
    "SendError",
    "SesSettings",
    "Settings",
    "SourceChangedError",
    "SourceError",
    "State",
    "Statistics",
    "UsageError",
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # 50 ms that nobody else needs

        return version("mailsluice")
    if name not in _HOMES:
        raise AttributeError(f"module 'mailsluice' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mailsluice.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
