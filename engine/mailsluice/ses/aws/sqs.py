"""An Amazon SQS queue: receive, delete, hide longer, dead letters. Source: SQS API reference."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson
from aiobotocore.config import AioConfig
from botocore import exceptions as botocore_errors

from mailsluice.model.errors import ConfigurationError
from mailsluice.ses import aws
from mailsluice.ses.aws.credentials import CredentialsUnavailableError, forget_refused
from mailsluice.ses.aws.secrets import masked
from mailsluice.ses.statuses import CALL_RULES, Action

logger = logging.getLogger(__name__)

BATCH_MAX = 10
"""Messages in one call (SQS API reference, ReceiveMessage and DeleteMessageBatch)."""

CONNECTIONS_MAX = 24

ANSWER_MARGIN_S = 30.0
"""Time for an answer of SQS, beyond its wait for a message, seconds."""

REASON_CHARS_MAX = 1_000
"""Longest reason in the attribute of a dead letter."""

ATTRIBUTES_MAX = 10
"""Attributes of a message (SQS developer guide, message metadata)."""

REASON, ORIGIN = "mailsluice-reason", "mailsluice-id"
"""Attributes of dead letters. A message moved back out of a dead-letter queue has a new id,
and its old attributes (SQS developer guide, dead-letter queue redrive)."""

_ID = re.compile(r"[0-9A-Za-z-]{1,100}")

_REGION = re.compile(r"https?://(?:sqs|queue)\.([a-z0-9-]+)\.amazonaws\.com").match


ERROR_CHARS_MAX = 500
"""Characters of AWS's or the SDK's text that are kept."""

_BACK_OFF_S = (0.5, 1, 2, 5, 10, 30)


def back_off_s(failures: int) -> float:
    """Return how long to wait after this many failures of the queue and one more, seconds."""
    return _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]


@dataclass(slots=True, eq=False)
class Received:
    """One received message."""

    id: str
    """The message id, the same at each receive."""
    handle: str
    """The receipt handle for deleting it; each receive gives another."""
    body: str
    attributes: dict[str, Any]
    receives: int = 1
    """Approximate number of receives."""
    hidden_until: float = 0.0
    """When the queue may deliver it to others, on the event loop's clock."""
    leaving: bool = False
    """True while it is being returned."""

    @property
    def origin(self) -> str:
        """Return its id, or the one it had before it went to the dead-letter queue."""
        said = self.attributes.get(ORIGIN, {}).get("StringValue", "")
        return said if _ID.fullmatch(said) else self.id


class UnreachableError(Exception):
    """The queue gave no usable answer. The call may be repeated."""


class Queue:
    """One queue: `async with Queue(...) as queue`. Raises ConfigurationError on entry.

    A received message is hidden for `visibility_s`; a receive waits `wait_s` for the first one.
    `setting` is the name of the URL in the settings.
    """

    def __init__(  # noqa: PLR0913  # what a client of a queue is made of
        self,
        url: str,
        *,
        visibility_s: int,
        wait_s: int,
        region: str | None,
        profile: str | None,
        setting: str = "[queue] url",
    ) -> None:
        self.retention_s = 0.0
        """How long the queue keeps a message, seconds."""
        self._url = url
        self._visibility_s = visibility_s
        self._wait_s = wait_s
        self._setting = setting
        named = _REGION(url)
        self._region = named[1] if named else region or os.environ.get("AWS_REGION")
        self._profile = profile
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._dlq_url: str | None = None
        """URL of the dead-letter queue."""
        self._receives_max = math.inf
        """Receives after which a message goes to the dead-letter queue."""

    async def __aenter__(self) -> Self:
        config = AioConfig(
            max_pool_connections=CONNECTIONS_MAX,
            read_timeout=self._wait_s + ANSWER_MARGIN_S,
            retries={"total_max_attempts": 3, "mode": "standard"},
        )
        try:
            session = aws.session(self._profile, self._region)
            self._client = await self._stack.enter_async_context(
                session.client("sqs", config=config)
            )
        except ConfigurationError:
            raise
        except Exception as error:
            # A profile's `credential_process` is run now, and may raise anything.
            raise self._unusable(error) from error
        return self

    def _unusable(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"{self._setting}: {self._url}: {error}; it needs sqs:ReceiveMessage, "
            "sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes"
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Translate whatever a call to AWS raises into UnreachableError.

        What a proxy, or a peer that is no queue, makes the SDK raise cannot be listed:
        JSONDecodeError, RuntimeError, KeyError and others have been seen.
        """
        try:
            yield
        except Exception as error:
            forget_refused(self._client, _code_of(error))
            why = str(error)
            if not isinstance(error, CredentialsUnavailableError | ConfigurationError):
                why = f"{type(error).__name__}: {masked(why)}"
            raise UnreachableError(why[:ERROR_CHARS_MAX]) from error

    async def receive(self, most: int) -> list[Received]:
        """Receive up to `most` messages, 1-10, hidden for `visibility_s`; waits for the first one.

        Raises UnreachableError, as every call to the queue.
        """
        with self._reaching():
            response = await self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=most,
                VisibilityTimeout=self._visibility_s,
                WaitTimeSeconds=self._wait_s,
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
        """Delete ten messages at most. Return those to try again."""
        entries = [{"Id": str(n), "ReceiptHandle": m.handle} for n, m in enumerate(messages)]
        with self._reaching():
            response = await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
            return _again(messages, response)

    async def hide(self, messages: Sequence[tuple[Received, float]]) -> list[Received]:
        """Hide each of ten messages at most for so many seconds more; 0 returns it. As `delete`."""
        entries = [
            {"Id": str(n), "ReceiptHandle": m.handle, "VisibilityTimeout": math.ceil(hidden_s)}
            for n, (m, hidden_s) in enumerate(messages)
        ]
        with self._reaching():
            response = await self._client.change_message_visibility_batch(
                QueueUrl=self._url, Entries=entries
            )
            return _again([message for message, _ in messages], response)

    async def send_to_dlq(self, message: Received, reason: str) -> bool:
        """Send it to the dead-letter queue with the reason. Return False if that is impossible."""
        if self._dlq_url is None:
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
            with self._reaching():
                await self._client.send_message(
                    QueueUrl=self._dlq_url, MessageBody=message.body, MessageAttributes=attributes
                )
        except UnreachableError as error:
            logger.warning("the dead-letter queue does not take message %s: %s", message.id, error)
            return False
        return True

    def is_last(self, message: Received) -> bool:
        """Return True if it goes to the dead-letter queue instead of being delivered again."""
        return message.receives >= self._receives_max

    async def look(self) -> None:
        """Read retention and redrive policy; call this before anything else.

        Raises ConfigurationError if AWS says that the queue cannot be used, and UnreachableError.
        """
        names = ["MessageRetentionPeriod", "RedrivePolicy"]
        try:
            with self._reaching():
                response = await self._client.get_queue_attributes(
                    QueueUrl=self._url, AttributeNames=names
                )
                attributes = response["Attributes"]
                self.retention_s = float(attributes["MessageRetentionPeriod"])
                arn = self._redrive(attributes.get("RedrivePolicy"))
        except UnreachableError as error:
            if _is_final(error.__cause__):
                raise self._unusable(error) from error
            raise
        if arn is not None:
            await self._find_dlq(arn)

    def _redrive(self, policy: str | None) -> str | None:
        """Read a RedrivePolicy (JSON). Return the ARN of the dead-letter queue."""
        if policy is None:
            return None
        read = orjson.loads(policy)
        self._receives_max = int(read["maxReceiveCount"])
        arn: str = read["deadLetterTargetArn"]
        return arn

    async def _find_dlq(self, arn: str) -> None:
        try:
            with self._reaching():
                account, name = arn.split(":")[4:6]
                found = await self._client.get_queue_url(
                    QueueName=name, QueueOwnerAWSAccountId=account
                )
                self._dlq_url = found["QueueUrl"]
        except UnreachableError as error:
            logger.warning(
                "%s: %s; what is malformed goes to the quarantine folder (sqs:GetQueueUrl)",
                arn,
                error,
            )


def _code_of(error: BaseException) -> str | None:
    if not isinstance(error, botocore_errors.ClientError):
        return None
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_final(error: BaseException | None) -> bool:
    """Return True if SQS itself answered, and a repetition would not change that.

    A proxy's page has no error code of AWS: the SDK makes one of its HTTP status. Credentials may
    be renewed while the worker waits.
    """
    if isinstance(error, ConfigurationError | botocore_errors.NoRegionError):
        return True
    if not isinstance(error, botocore_errors.ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = _code_of(error)
    if not code or code.isdigit() or "Throttl" in code:
        return False
    rule = CALL_RULES.get(code)
    renewed = rule is not None and rule.action is Action.HOLD and not rule.of_mailing
    return 400 <= status < 500 and not renewed  # noqa: PLR2004  # HTTP's own


def _again(messages: Sequence[Received], response: dict[str, Any]) -> list[Received]:
    """Return the messages of a batch that failed and still exist."""
    failed = response.get("Failed", [])
    for each in failed:
        if each.get("SenderFault"):
            # It will be given again, if it is there, and be known by its key.
            logger.info("message %s: %s", messages[int(each["Id"])].id, each.get("Code"))
    return [messages[int(each["Id"])] for each in failed if not each.get("SenderFault")]
