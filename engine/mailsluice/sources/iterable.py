"""Recipients from the caller's own objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import islice
from time import monotonic
from typing import TypeAlias

import anyio
from anyio import WouldBlock
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from mailsluice.model import Recipient
from mailsluice.model.copies import copied
from mailsluice.model.errors import ArgumentTypeError, SourceError
from mailsluice.sources import ROWS_MAX, Row

SLICE_S = 0.002
"""Seconds for which a synchronous iterable is read before the event loop gets its turn."""

Recipients: TypeAlias = Iterable[Recipient | str] | AsyncIterable[Recipient | str]
"""What can be sent to: a plain string is an address, with no data of its own."""


class IterableSource:
    """A `Source` over any iterable or asynchronous iterable of recipients, in its order.

    A synchronous one is iterated on the event loop, not in a thread: database cursors and the like
    may be used only in the thread that made them. So each of its items should come quickly. Of an
    asynchronous one nothing is held back while it waits, and at most 2 `ROWS_MAX` items are taken
    ahead. An item that is no recipient becomes a row with a problem.
    """

    fraction_read = None
    head = None

    def __init__(self, items: Recipients) -> None:
        """Wrap `items`. Raises ArgumentTypeError if it is a string or not iterable."""
        if isinstance(items, str | bytes) or not isinstance(items, Iterable | AsyncIterable):
            raise ArgumentTypeError(f"recipients must be an iterable, not {type(items).__name__}")
        self._items = items
        self._taken = False

    @property
    def can_be_read_again(self) -> bool:
        """True if `rows` may be called once more: the first time uses an iterator up."""
        return not isinstance(self._items, Iterator | AsyncIterator)

    async def identify(self) -> None:
        """Return None: an iterable is recognised row by row."""

    async def head_of(self, size: int) -> None:
        """Return None: an iterable has no bytes."""

    async def rows(self) -> AsyncGenerator[list[Row], None]:
        """Yield all rows. Raises what the iterable raises; SourceError if an iterator is used up.

        A CancelledError raised by the iterable is a SourceError: the run was not cancelled.
        """
        if self._taken and isinstance(self._items, Iterator | AsyncIterator):
            raise SourceError("the recipients are an iterator, which can be read only once")
        self._taken = True
        lists = self._lists()
        while True:
            try:
                rows = await anext(lists, None)
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                raise SourceError("the recipients broke off: they raised CancelledError") from error
            if rows is None:
                return
            yield rows
            await checkpoint()

    async def _lists(self) -> AsyncGenerator[list[Row], None]:
        if isinstance(self._items, AsyncIterable):
            async for rows in _as_they_come(self._items):
                yield rows
        else:
            for rows in _slices(self._items):
                yield rows


def _slices(items: Iterable[object]) -> Iterator[list[Row]]:
    iterator = iter(items)
    broken: BaseException | None = None
    while broken is None:
        until = monotonic() + SLICE_S
        rows = []
        try:
            for item in islice(iterator, ROWS_MAX):
                rows.append(_row(item))
                if monotonic() >= until:
                    break
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # raised below
            broken = error  # after the rows that came before it
        if rows:
            yield rows
        elif broken is None:
            return
    raise broken


async def _as_they_come(items: AsyncIterable[object]) -> AsyncIterator[list[Row]]:
    send, receive = anyio.create_memory_object_stream[Row](ROWS_MAX)
    # Not in a task group: its cancel scope may not stay open across a yield.
    pump = asyncio.create_task(_pump(items, send))
    try:
        async for row in receive:
            yield [row, *islice(_waiting(receive), ROWS_MAX - 1)]
        await pump
    finally:
        pump.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([pump])
        send.close()
        receive.close()


async def _pump(items: AsyncIterable[object], send: MemoryObjectSendStream[Row]) -> None:
    with send:
        async for item in items:
            row = _row(item)
            try:
                send.send_nowait(row)
            except WouldBlock:
                await send.send(row)


def _waiting(receive: MemoryObjectReceiveStream[Row]) -> Iterator[Row]:
    try:
        while True:
            yield receive.receive_nowait()
    except (WouldBlock, anyio.EndOfStream):
        return


def _row(item: object) -> Row:
    if isinstance(item, Recipient):
        # It is encoded later: a generator may fill one dictionary for all of its recipients.
        return Row(0, Recipient(*map(copied, item)))
    if isinstance(item, str):
        return Row(0, Recipient(item))
    return Row(0, None, f"is of type {type(item).__name__}, neither a Recipient nor an address")
