"""A message that somebody waits for, from the call of `send` until its outcome is known."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from mailsluice.journal import Record, Resolution
from mailsluice.mailing.message import Message, Receipt, Rejected, SendError
from mailsluice.model import Lane, State
from mailsluice.model.codes import REFUSED


class Stream(Protocol):
    """Where a message waits to be attempted."""

    def withdraw(self, seq: int) -> None:
        """Do not attempt it any more."""

    def given_up(self, seq: int) -> State:
        """What it has become, if nothing more is attempted."""


class Waiting:
    """A message whose outcome somebody waits for."""

    __slots__ = (
        "attempts", "callers", "ended", "future", "gone", "holds_slot", "lane", "message",
        "overdue", "queued", "queued_at", "seq", "stream", "timer", "under_way",
    )  # fmt: skip

    def __init__(self, message: Message, lane: Lane, queued_at: float) -> None:
        running = asyncio.get_running_loop()
        self.message = message
        self.lane: Lane = lane
        self.stream: Stream | None = None
        """Where it waits; None before it is durable."""
        self.queued_at = queued_at
        self.queued = running.time()
        self.future: asyncio.Future[Receipt] = running.create_future()
        self.callers = 0
        """Tasks that wait for it: several where they share a key."""
        self.seq = 0
        self.attempts = 0
        self.under_way = False
        """Whether its outcome is SES's to say: it cannot be withdrawn now."""
        self.gone = False
        """Whether it has been withdrawn."""
        self.ended = False
        """Whether its outcome is known."""
        self.holds_slot = True
        self.overdue = False
        """Whether its deadline has come."""
        self.timer: asyncio.TimerHandle | None = None


class GivenUp(NamedTuple):
    """A message of which nothing more is attempted, before that is durable."""

    waiting: Waiting
    state: State
    status: str
    why: str
    error: SendError


class StreamKey(NamedTuple):
    """What messages have in common that may share a call."""

    prefix: bytes
    tags_id: bool
    lane: Lane


def check(message: Message) -> None:
    """Before it can be in anybody else's way."""
    if message.key is not None and not isinstance(message.key, str):
        raise Rejected(REFUSED, "key: it is not text")


def deadline_at(deadline_s: float | None) -> float | None:
    """On the event loop's clock, from now."""
    return None if deadline_s is None else asyncio.get_running_loop().time() + deadline_s


def resolutions(given_up: list[GivenUp], at: float) -> list[Record]:
    """One record for all that were given up alike."""
    alike: dict[tuple[State, str, str], list[int]] = {}
    for each in given_up:
        alike.setdefault((each.state, each.status, each.why), []).append(each.waiting.seq)
    return [Resolution(at, seqs, *why) for why, seqs in alike.items()]
