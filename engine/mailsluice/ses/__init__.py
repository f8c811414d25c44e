"""SES: how it is called, and what each of its answers means.

This module is the protocol that every transport follows. `client` calls through the SDK, `direct`
without the SDK's serialising and parsing; both send by `exchange`, and read by `answers`.
`statuses` is THE table from answers to rules. `inspector` reads what a mailing uses (identities,
templates, configuration sets), over the SDK by `control_plane`. `aws` is the border to the SDK,
through which lists in S3 and the SQS queue go as well.

It knows the model. Start with `statuses`, then `client`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from mailsluice.model import Account, Answer
from mailsluice.model.errors import MailsluiceError
from mailsluice.model.hold import Hold


class AccountUnavailableError(MailsluiceError):
    """GetAccount gave no account; `answer` says what it gave instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"GetAccount: {Hold.answered(answer.code, answer.error)}")
        self.answer = answer


Depart = Callable[[], Awaitable[None]]
"""Returns at the moment when a request may leave and is to be written."""


async def at_once() -> None:
    """Return at once: nothing is paced."""


class Transport(Protocol):
    """One SES endpoint. Its methods return what came back; they never retry."""

    async def send_bulk_email(
        self, body: bytes, endpoint_id: str | None, depart: Depart, /
    ) -> Answer:
        """POST one `SendBulkEmail` request.

        `body` is the whole request as JSON. `depart` is the account's rate: await it when the
        request is signed and a connection stands, and write as soon as it returns, without waiting
        for anything else. If the connection is lost before a byte was written, await `depart`
        again on the next one: meanwhile the request counts as not sent. Time limits of the
        transport do not count what `depart` takes.

        Whatever goes wrong on the wire is an `Answer` too; only cancellation is raised.
        """

    async def get_account(self) -> Account:
        """Ask GetAccount.

        Raises `AccountUnavailableError` if it does not answer, `ConfigurationError` if it
        never will: no credentials are configured, or none that can sign.
        """
