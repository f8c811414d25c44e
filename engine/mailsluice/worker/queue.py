"""An Amazon SQS queue: receive, delete, hide for longer, bury, as the SQS API reference says."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import orjson
from aiobotocore.config import AioConfig
from botocore import exceptions as botocore_errors

from mailsluice import aws
from mailsluice.aws.credentials import CredentialsUnavailableError
from mailsluice.config import QueueSettings
from mailsluice.errors import ConfigurationError

logger = logging.getLogger(__name__)

BATCH_MAX = 10
"""Messages in one call (SQS API reference, ReceiveMessage and DeleteMessageBatch)."""

CONNECTIONS_MAX = 24

ANSWER_MARGIN_S = 30.0
"""For an answer of SQS, beyond the time for which it waits for a message."""

REASON_CHARS_MAX = 1_000
"""Of why a message was buried, in its attribute."""

ATTRIBUTES_MAX = 10
"""Of a message (SQS developer guide, message metadata)."""

REASON, ORIGIN = "mailsluice-reason", "mailsluice-id"
"""Attributes of what was buried. A message that is moved back out of a dead-letter queue has a new
id, and its old attributes (SQS developer guide, dead-letter queue redrive)."""

_ID = re.compile(r"[0-9A-Za-z-]{1,100}")

_REGION = re.compile(r"https?://(?:sqs|queue)\.([a-z0-9-]+)\.amazonaws\.com").match

SDK_ERRORS = (
    botocore_errors.BotoCoreError,
    botocore_errors.ClientError,
    aiohttp.ClientError,
    OSError,
    CredentialsUnavailableError,
)
"""What a call may raise; it may be repeated."""


_BACK_OFF_S = (0.5, 1, 2, 5, 10, 30)


def back_off_s(failures: int) -> float:
    """How long to wait after as many failures of the queue, and one more."""
    return _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]


@dataclass(slots=True, eq=False)
class Received:
    """One message, as the queue gave it."""

    id: str
    """The same each time that it is given."""
    handle: str
    """By which it is deleted: another each time."""
    body: str
    attributes: dict[str, Any]
    receives: int = 1
    """How often it has been given, about."""
    hidden_until: float = 0.0
    """On the event loop's clock: from then on the queue may give it to others."""
    leaving: bool = False
    """Whether it is being given back."""

    @property
    def origin(self) -> str:
        """Its id, or the one that it had before it was buried."""
        said = self.attributes.get(ORIGIN, {}).get("StringValue", "")
        return said if _ID.fullmatch(said) else self.id


class GivenBack(NamedTuple):
    """A message is given back to the queue; None in its place: its end is durable."""

    hidden_s: float
    """The queue gives it again after so many seconds."""
    why: str


AT_THE_END = GivenBack(0.0, "the worker stopped")


class Queue:
    """One queue: `async with Queue(...) as queue`. Raises ConfigurationError on entry."""

    def __init__(self, settings: QueueSettings, *, region: str | None, profile: str | None) -> None:
        self.retention_s = 0.0
        """How long it keeps a message that is not deleted."""
        self._settings = settings
        named = _REGION(settings.url)
        self._region = named[1] if named else region or os.environ.get("AWS_REGION")
        self._profile = profile
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._grave: str | None = None
        """The URL of its dead-letter queue."""
        self._receives_max = math.inf
        """How often it gives a message."""

    async def __aenter__(self) -> Self:
        config = AioConfig(
            max_pool_connections=CONNECTIONS_MAX,
            read_timeout=self._settings.wait_s + ANSWER_MARGIN_S,
            retries={"total_max_attempts": 3, "mode": "standard"},
        )
        try:
            session = aws.session(self._profile, self._region)
            self._client = await self._stack.enter_async_context(
                session.client("sqs", config=config)
            )
        except botocore_errors.BotoCoreError as error:
            raise self._unusable(error) from error
        return self

    def _unusable(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"[queue] url: {self._settings.url}: {error}; it needs sqs:ReceiveMessage, "
            "sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes"
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def receive(self, most: int) -> list[Received]:
        """Up to `most` messages, 1-10, hidden for `visibility_s`; waits for the first one."""
        response = await self._client.receive_message(
            QueueUrl=self._settings.url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=self._settings.visibility_s,
            WaitTimeSeconds=self._settings.wait_s,
            MessageAttributeNames=["All"],
            AttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Received(
                each["MessageId"],
                each["ReceiptHandle"],
                each.get("Body", ""),
                each.get("MessageAttributes", {}),
                int(each.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
            for each in response.get("Messages", [])
        ]

    async def delete(self, messages: Sequence[Received]) -> list[Received]:
        """Remove ten at most; those that are to be tried again."""
        entries = [{"Id": str(n), "ReceiptHandle": m.handle} for n, m in enumerate(messages)]
        response = await self._client.delete_message_batch(
            QueueUrl=self._settings.url, Entries=entries
        )
        return _again(messages, response)

    async def hide(self, messages: Sequence[tuple[Received, float]]) -> list[Received]:
        """Hide each of ten at most for so many seconds more; 0 gives it back. As `delete`."""
        entries = [
            {"Id": str(n), "ReceiptHandle": m.handle, "VisibilityTimeout": math.ceil(hidden_s)}
            for n, (m, hidden_s) in enumerate(messages)
        ]
        response = await self._client.change_message_visibility_batch(
            QueueUrl=self._settings.url, Entries=entries
        )
        return _again([message for message, _ in messages], response)

    async def bury(self, message: Received, reason: str) -> bool:
        """Put it into the dead-letter queue, the reason beside it; False where that cannot be."""
        if self._grave is None:
            return False
        own = {
            ORIGIN: {"DataType": "String", "StringValue": message.origin},
            REASON: {"DataType": "String", "StringValue": reason[:REASON_CHARS_MAX] or "unknown"},
        }
        others = [
            (name, {key: value for key, value in each.items() if key.endswith(("Type", "Value"))})
            for name, each in message.attributes.items()
            if name not in own
        ]
        attributes = dict(others[: ATTRIBUTES_MAX - len(own)]) | own
        try:
            await self._client.send_message(
                QueueUrl=self._grave, MessageBody=message.body, MessageAttributes=attributes
            )
        except SDK_ERRORS as error:
            logger.warning("the dead-letter queue does not take message %s: %s", message.id, error)
            return False
        return True

    def is_last(self, message: Received) -> bool:
        """Whether it goes to the dead-letter queue in place of being given again."""
        return message.receives >= self._receives_max

    async def look(self) -> None:
        """Learn what it is like, first of all.

        Raises ConfigurationError where it cannot be used, and one of `SDK_ERRORS` where it has not
        answered.
        """
        names = ["MessageRetentionPeriod", "RedrivePolicy"]
        try:
            response = await self._client.get_queue_attributes(
                QueueUrl=self._settings.url, AttributeNames=names
            )
        except botocore_errors.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if 400 <= status < 500 and "Throttl" not in str(error):  # noqa: PLR2004  # HTTP's own
                raise self._unusable(error) from error
            raise
        except ConfigurationError as error:
            raise self._unusable(error) from error
        attributes = response["Attributes"]
        self.retention_s = float(attributes["MessageRetentionPeriod"])
        if "RedrivePolicy" not in attributes:
            return
        policy = orjson.loads(attributes["RedrivePolicy"])
        arn, self._receives_max = policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])
        account, name = arn.split(":")[4:6]
        try:
            found = await self._client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        except SDK_ERRORS as error:
            logger.warning(
                "%s: %s; what is malformed goes to the quarantine folder (sqs:GetQueueUrl)",
                arn,
                error,
            )
        else:
            self._grave = found["QueueUrl"]


def _again(messages: Sequence[Received], response: dict[str, Any]) -> list[Received]:
    """Those of a batch that failed, and not because they are not there any more."""
    failed = response.get("Failed", [])
    for each in failed:
        if each.get("SenderFault"):
            # It will be given again, if it is there, and be known by its key.
            logger.info("message %s: %s", messages[int(each["Id"])].id, each.get("Code"))
    return [messages[int(each["Id"])] for each in failed if not each.get("SenderFault")]
