"""An async, high-throughput sending engine for Amazon SES v2 that accounts for every recipient.

>>> from mailsluice import Engine, Mailing, Recipient, Settings

Names are loaded when they are first used: importing the package costs nothing of the AWS SDK.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailsluice.config import DeliverySettings as DeliverySettings
    from mailsluice.config import QuotaSettings as QuotaSettings
    from mailsluice.config import RecipientsSettings as RecipientsSettings
    from mailsluice.config import SesSettings as SesSettings
    from mailsluice.config import Settings as Settings
    from mailsluice.current import Statistics as Statistics
    from mailsluice.engine import Engine as Engine
    from mailsluice.errors import ConfigurationError as ConfigurationError
    from mailsluice.errors import JournalError as JournalError
    from mailsluice.errors import MailsluiceError as MailsluiceError
    from mailsluice.errors import SourceChangedError as SourceChangedError
    from mailsluice.errors import SourceError as SourceError
    from mailsluice.mailing import Attachment as Attachment
    from mailsluice.mailing import Content as Content
    from mailsluice.mailing import Mailing as Mailing
    from mailsluice.model import Counts as Counts
    from mailsluice.model import Recipient as Recipient
    from mailsluice.model import State as State
    from mailsluice.report import ExitCode as ExitCode
    from mailsluice.report import Report as Report

_HOMES = {
    "Attachment": "mailing",
    "ConfigurationError": "errors",
    "Content": "mailing",
    "Counts": "model",
    "DeliverySettings": "config",
    "Engine": "engine",
    "ExitCode": "report",
    "JournalError": "errors",
    "Mailing": "mailing",
    "MailsluiceError": "errors",
    "QuotaSettings": "config",
    "Recipient": "model",
    "RecipientsSettings": "config",
    "Report": "report",
    "SesSettings": "config",
    "Settings": "config",
    "SourceChangedError": "errors",
    "SourceError": "errors",
    "State": "model",
    "Statistics": "current",
}

__all__ = (  # a sorted tuple of the names above
    "Attachment",
    "ConfigurationError",
    "Content",
    "Counts",
    "DeliverySettings",
    "Engine",
    "ExitCode",
    "JournalError",
    "Mailing",
    "MailsluiceError",
    "QuotaSettings",
    "Recipient",
    "RecipientsSettings",
    "Report",
    "SesSettings",
    "Settings",
    "SourceChangedError",
    "SourceError",
    "State",
    "Statistics",
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mailsluice' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mailsluice.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
