"""A single message, from the call of `send` until its outcome is known."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from mailsluice.journal import Record, Resolution
from mailsluice.mailing.message import Message, Receipt, Rejected, SendError
from mailsluice.model import Lane, State
from mailsluice.model.codes import REFUSED


class Stream(Protocol):
    """The queue in which a message waits to be attempted."""

    def withdraw(self, seq: int) -> None:
        """Do not attempt a message any more."""

    def given_up(self, seq: int) -> State:
        """Return the message's state if it is not attempted any more."""


class Waiting:
    """A message whose outcome a caller awaits."""

    __slots__ = (
        "attempts", "callers", "ended", "future", "gone", "holds_slot", "lane", "message",
        "overdue", "queued", "queued_at", "seq", "stream", "timer", "under_way",
    )  # fmt: skip

    def __init__(self, message: Message, lane: Lane, queued_at: float) -> None:
        running = asyncio.get_running_loop()
        self.message = message
        self.lane: Lane = lane
        self.stream: Stream | None = None
        """The stream in which the message waits; None before it is durable."""
        self.queued_at = queued_at
        self.queued = running.time()
        self.future: asyncio.Future[Receipt] = running.create_future()
        self.callers = 0
        """Number of callers that wait for the message: several if they share a key."""
        self.seq = 0
        self.attempts = 0
        self.under_way = False
        """True while a call has the message: it cannot be withdrawn then."""
        self.gone = False
        """True if the message has been withdrawn."""
        self.ended = False
        """True if the outcome is known."""
        self.holds_slot = True
        self.overdue = False
        """True if the deadline has passed."""
        self.timer: asyncio.TimerHandle | None = None


class GivenUp(NamedTuple):
    """A message that is not attempted any more, before that is durable."""

    waiting: Waiting
    state: State
    status: str
    why: str
    error: SendError


class StreamKey(NamedTuple):
    """What messages must have in common to share a call."""

    prefix: bytes
    tags_id: bool
    lane: Lane


def check(message: Message) -> None:
    """Validate the arguments before the message is queued."""
    if message.key is not None and not isinstance(message.key, str):
        raise Rejected(REFUSED, "key: it is not text")


def deadline_at(deadline_s: float | None) -> float | None:
    """Return the deadline on the event loop's clock."""
    return None if deadline_s is None else asyncio.get_running_loop().time() + deadline_s


def resolutions(given_up: list[GivenUp], at: float) -> list[Record]:
    """Group withdrawn messages by state, status and reason: one Resolution each."""
    alike: dict[tuple[State, str, str], list[int]] = {}
    for each in given_up:
        alike.setdefault((each.state, each.status, each.why), []).append(each.waiting.seq)
    return [Resolution(at, seqs, *why) for why, seqs in alike.items()]
