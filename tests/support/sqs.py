"""Feed a worker from an SQS queue and lists in S3, both on loopback."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mailsluice.emulator import AccountSettings, Emulator
from tests.support import forked
from tests.support.aws import Aws, left
from tests.support.worker import Running, worker

MAILING = {"from": "news@example.com", "template": "welcome"}

SETTINGS = """\
[folder]
path = "mail"
poll_s = 0.05
hold_s = 0.2
[queue]
url = "{url}"
visibility_s = {visibility_s}
wait_s = 1
hold_s = 1
[http]
port = 0
"""

FAST_ACCOUNT = AccountSettings(rate_per_s=5_000, daily_max=-1)

FAST = pytest.mark.ses_emulator(account=FAST_ACCOUNT)


class QueueFixture:
    """A queue, and the worker that it feeds."""

    def __init__(
        self, aws: Aws, emulator: Emulator, folder: Path, dead_letters: QueueFixture | None = None
    ) -> None:
        self.aws = aws
        self.emulator = emulator
        self.folder = folder
        self.sqs = aws.client("sqs")
        name = f"queue{random.getrandbits(48)}"
        attributes = {}
        if dead_letters is not None:
            policy = {"deadLetterTargetArn": dead_letters._arn(), "maxReceiveCount": "3"}
            attributes["RedrivePolicy"] = json.dumps(policy)
        self.url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def _arn(self) -> str:
        asked = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        arn: str = asked["Attributes"]["QueueArn"]
        return arn

    def put(self, *bodies: Any) -> list[str]:
        """The ids of these messages."""
        return [
            self.sqs.send_message(
                QueueUrl=self.url, MessageBody=body if isinstance(body, str) else json.dumps(body)
            )["MessageId"]
            for body in bodies
        ]

    def left(self) -> int:
        """Messages that have not been deleted."""
        return left(self.sqs, self.url)

    @contextmanager
    def working(
        self, visibility_s: int = 30, program: str = forked.COMMAND, **environment: str
    ) -> Iterator[Running]:
        text = SETTINGS.format(url=self.url, visibility_s=visibility_s)
        environment |= self.aws.environment
        with worker(self.folder, self.emulator, text, environment, program) as started:
            yield started


class Lists:
    """Lists in S3, and messages that name them."""

    def __init__(self, aws: Aws) -> None:
        self._s3 = aws.client("s3")
        self._s3.create_bucket(Bucket="lists")
        self._folder = random.getrandbits(48)

    def put(self, name: str, rows: int) -> None:
        text = "".join(f"{name}{n}@example.com\n" for n in range(rows))
        self._s3.put_object(
            Bucket="lists", Key=f"{self._folder}/{name}.csv", Body=f"email\n{text}".encode()
        )

    def message(self, name: str, key: str | None, suffix: str = "csv") -> dict[str, Any]:
        path = f"s3://lists/{self._folder}/{name}.{suffix}"
        return {"mailing": MAILING, "recipients": {"path": path}, "key": key}
