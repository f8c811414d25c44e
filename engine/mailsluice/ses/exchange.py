"""One request to SES and what came back: whether the request has left, and how long it may take.

A request that fails before it was handed to a connection has not been sent, whatever failed. After
that it may have reached SES, and is in doubt if no whole answer comes in time (docs/adr/0009).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from botocore.exceptions import MissingDependencyException

from mailsluice.model import Answer
from mailsluice.model.codes import NO_ANSWER, NO_CREDENTIALS, NOT_SENT
from mailsluice.model.errors import ConfigurationError
from mailsluice.ses import Depart
from mailsluice.ses.aws.connection import departing
from mailsluice.ses.aws.credentials import CredentialsUnavailableError
from mailsluice.ses.aws.deadline import Deadline
from mailsluice.ses.aws.secrets import masked

ERROR_CHARS_MAX = 500
"""Characters of SES's or the SDK's text that are kept."""

UPLOAD_BYTES_PER_S_MIN = 128 * 1024
"""Slowest upload assumed, bytes per second: a large request gets more time for its answer."""


class Response(NamedTuple):
    """An HTTP answer, whole. Header names are in lower case, or their case does not matter."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def answer_limit_s(timeout_s: float, body_bytes: int) -> float:
    """Return how long a request may take from its first byte to its answer's last, seconds."""
    return timeout_s + body_bytes / UPLOAD_BYTES_PER_S_MIN


class _Passage:
    """Tracks whether the request has left."""

    def __init__(self, depart: Depart, deadline: Deadline, limit_s: float) -> None:
        self.left = False
        self._depart = depart
        self._deadline = deadline
        self._limit_s = limit_s

    async def depart(self) -> None:
        """Return when the request may be written. From then on it counts as written."""
        self.left = False  # a connection that is lost before a byte was written asks again
        await self._depart()
        self.left = True
        self._deadline.set(asyncio.get_running_loop().time() + self._limit_s)


async def exchange(
    request: Callable[[], Awaitable[Response]],
    depart: Depart,
    limit_s: float,
    secrets: Callable[[], Iterable[str]],
) -> Response | Answer:
    """Make `request`. If no whole answer comes back, return an Answer that says why.

    `limit_s` comes from `answer_limit_s`. Whatever `secrets` returns is masked in the reason.
    """
    deadline = Deadline()
    passage = _Passage(depart, deadline, limit_s)
    try:
        async with deadline:
            with departing(passage.depart):
                return await request()
    except (CredentialsUnavailableError, ConfigurationError, MissingDependencyException) as error:
        return Answer(code=NO_CREDENTIALS, error=told(str(error), secrets()))
    except Exception as error:  # noqa: BLE001  # aiohttp's, the SDK's, the parsers', whatever it is
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, TimeoutError) and passage.left:
            why = f"no whole answer within {limit_s:.3g} s"
        code = NO_ANSWER if passage.left else NOT_SENT
        return Answer(code=code, error=told(why, secrets()))


def told(text: str, secrets: Iterable[str]) -> str:
    """Shorten an error text, and mask secrets in it."""
    return masked(text[: 4 * ERROR_CHARS_MAX], secrets)[:ERROR_CHARS_MAX]
