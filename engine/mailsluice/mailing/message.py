"""Single messages for `Engine.send`, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailsluice.mailing.mailing import Mailing
from mailsluice.model import Recipient
from mailsluice.model.copies import copied
from mailsluice.model.errors import MailsluiceError


@dataclass(frozen=True, slots=True)
class Message:
    """One mail: a mailing and one recipient of it, whose fields are those of `Recipient`.

    Messages of equal mailings share bulk calls; keep the `Mailing` and use it again. `key` is the
    caller's own identity for the message: one that was sent under a key, or may have been, is not
    sent again under it, as long as the journal is the same. Lists and data are copied: what the
    caller changes in them later is not sent.

    >>> mailing = Mailing(from_address="news@example.com", template="welcome")
    >>> Message(mailing, to="ann@example.com", data={"name": "Ann"}, key="order-7").key
    'order-7'
    """

    mailing: Mailing
    to: str | Sequence[str] = ()
    cc: str | Sequence[str] = ()
    bcc: str | Sequence[str] = ()
    data: Mapping[str, Any] | None = None
    tags: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        """Copy what the caller may change later."""
        for name in ("to", "cc", "bcc", "data", "tags", "headers"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                object.__setattr__(self, name, copied(value))

    @property
    def recipient(self) -> Recipient:
        """Return the message's recipient."""
        return Recipient(self.to, self.cc, self.bcc, self.data, self.tags, self.headers, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """SES has accepted a message. Times are in UTC."""

    message_id: str
    """SES's MessageId."""
    attempts: int
    """Calls that the message was part of, including the last one."""
    queued_at: datetime
    """When `send` was called; of a message known by its key from an earlier process, `settled_at`.
    """
    settled_at: datetime
    """When its outcome was durable."""


class SendError(MailsluiceError):
    """A message was not sent, or may not have been. `status` is SES's, or one of mailsluice's."""

    def __init__(self, status: str, error: str | None = None) -> None:
        super().__init__(f"{status}: {error}" if error else status)
        self.status = status
        """SES's status or error code; `REFUSED` if mailsluice did not accept the message."""
        self.error = error
        """SES's text, or why it was refused."""


class Rejected(SendError):  # noqa: N818  # these are outcomes, and the words of the documentation
    """SES refused it for good, or mailsluice did not accept it (`REFUSED`): do not repeat it."""


class Failed(SendError):  # noqa: N818
    """Its attempts are exhausted, or SES gave an unknown status: it was not sent."""


class InDoubt(SendError):  # noqa: N818
    """It may have been sent: SES had the request, and its answer is unknown."""


class Held(SendError):  # noqa: N818
    """It was not sent for an outside cause: the account is paused, the template is missing.

    Repeat it when the cause is gone.
    """


class Expired(SendError, TimeoutError):  # noqa: N818
    """Its deadline came before it could be sent: it was not sent."""


class QueueFull(SendError):  # noqa: N818
    """The queue is full (`messages.queue_max`); `send` would have waited."""
