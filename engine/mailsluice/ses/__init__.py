"""How SES is reached: the protocol that every transport follows."""

from __future__ import annotations

from typing import Protocol

from mailsluice.errors import MailsluiceError
from mailsluice.model import Account, Answer
from mailsluice.statuses import hold_text


class AccountUnavailableError(MailsluiceError):
    """GetAccount gave no account; `answer` says what it gave instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"GetAccount: {hold_text(answer.code or '', answer.error)}")
        self.answer = answer


class Transport(Protocol):
    """One SES endpoint. Its methods return what came back; they never retry."""

    async def send_bulk_email(self, body: bytes, endpoint_id: str | None) -> Answer:
        """POST one `SendBulkEmail` request.

        `body` is the whole request as JSON. Whatever goes wrong on the wire is an `Answer` too;
        only cancellation is raised.
        """

    async def get_account(self) -> Account:
        """Ask GetAccount.

        Raises `AccountUnavailableError` where it does not answer, `ConfigurationError` where it
        never will: no credentials are configured, or none that can sign.
        """
