"""Where published events go: an SQS queue, a file. Memory is the publisher's own."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from mailsluice.emulator import signature
from mailsluice.emulator.exchange import Request
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from mailsluice.emulator.signature import Credentials

BATCH_MAX = 10
"""Messages of one SendMessageBatch (SQS API reference)."""

BATCH_BYTES_MAX = 262_144
"""Bytes of all of them: the limit before August 2025, which emulators of SQS still have."""

RETRY_S = 0.5

TIMEOUT_S = 30.0

_log = logging.getLogger(__name__)


class File:
    """Appends one event a line. Raises ConfigurationError if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"{path}: the events' file cannot be opened: {error.strerror}; name a file in a "
                "folder that exists and can be written"
            ) from error

    def put(self, bodies: Sequence[bytes]) -> None:
        """Write the events."""
        lines = b"".join(body + b"\n" for body in bodies)
        while lines:
            lines = lines[os.write(self._file, lines) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Queue:
    """An SQS queue, by AWS's JSON protocol; an asynchronous context manager."""

    def __init__(self, url: str, credentials: Credentials, region: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self._endpoint = f"{parts.scheme}://{parts.netloc}/"
        self._host = parts.netloc
        self._credentials = credentials
        self._region = region
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def put(self, bodies: Sequence[bytes]) -> None:
        """Put them into the queue; tries again until all are there."""
        for batch in _batches(bodies):
            left = {str(number): body.decode() for number, body in enumerate(batch)}
            told = False
            while left:
                try:
                    left = await self._put(left)
                except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
                    if not told:
                        _log.warning("emulator.events_queue_failed error=%r", error)
                    told = True
                if left:
                    await asyncio.sleep(RETRY_S)

    async def _put(self, bodies: dict[str, str]) -> dict[str, str]:
        """Send a batch. Return what is left of it."""
        entries = [{"Id": number, "MessageBody": body} for number, body in bodies.items()]
        content = orjson.dumps({"QueueUrl": self._url, "Entries": entries})
        headers = self._signed(content)
        async with self._session.post(self._endpoint, data=content, headers=headers) as answer:
            read = orjson.loads(await answer.read())
            if answer.status != 200:  # noqa: PLR2004  # HTTP's own
                raise ValueError(f"{answer.status} {read}")
        done = {each["Id"] for each in read.get("Successful", ())}
        return {number: body for number, body in bodies.items() if number not in done}

    def _signed(self, content: bytes) -> dict[str, str]:
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "host": self._host,
            "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
            "x-amz-target": "AmazonSQS.SendMessageBatch",
        }
        request = Request("POST", "/", headers, content)
        headers["authorization"] = signature.authorization(
            request, self._credentials, region=self._region, service="sqs"
        )
        return headers


def _batches(bodies: Sequence[bytes]) -> list[list[bytes]]:
    batches: list[list[bytes]] = [[]]
    size = 0
    for body in bodies:
        if len(batches[-1]) == BATCH_MAX or size + len(body) > BATCH_BYTES_MAX:
            batches.append([])
            size = 0
        batches[-1].append(body)
        size += len(body)
    return [batch for batch in batches if batch]
