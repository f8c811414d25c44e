"""Recipients from the caller's own objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import chain

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mailsluice.model import Recipient
from mailsluice.model.errors import SourceError
from mailsluice.sources import ROWS_MAX, Row, Source
from mailsluice.sources.iterable import IterableSource

ADDRESSES = [f"u{n}@example.com" for n in range(3 * ROWS_MAX + 1)]


async def asynchronously(items: list[str]) -> AsyncIterator[str]:
    for item in items:
        yield item


async def read(source: Source) -> list[list[Row]]:
    return [rows async for rows in source.rows()]


async def test_any_iterable_is_a_source() -> None:
    for items in (ADDRESSES, iter(ADDRESSES), asynchronously(ADDRESSES)):
        lists = await read(IterableSource(items))
        assert all(1 <= len(rows) <= ROWS_MAX for rows in lists)
        rows = [row for rows in lists for row in rows]
        assert rows == [Row(0, Recipient(address)) for address in ADDRESSES]


async def test_an_empty_iterable_has_no_rows() -> None:
    assert await read(IterableSource([])) == []
    assert await read(IterableSource(asynchronously([]))) == []


async def test_recipients_are_taken_as_they_are_and_other_objects_are_bad_rows() -> None:
    ann = Recipient("ann@example.com", data={"n": 1})
    items: list[object] = [ann, {"email": "x@example.com"}, None]
    source = IterableSource(items)  # type: ignore[arg-type]  # what a careless caller gives
    first, *others = chain(*await read(source))
    assert first == Row(0, ann)
    assert [row.recipient for row in others] == [None, None]
    assert [str(row.problem).split(",")[0] for row in others] == [
        "is of type dict",
        "is of type NoneType",
    ]


@pytest.mark.parametrize("items", ["ann@example.com", b"x", 7, None])
def test_what_is_no_list_of_recipients_is_refused_at_once(items: object) -> None:
    with pytest.raises(TypeError, match=type(items).__name__):
        IterableSource(items)  # type: ignore[arg-type]  # the mistake itself


async def test_a_list_can_be_read_again_and_an_iterator_cannot() -> None:
    again = IterableSource(ADDRESSES)
    once_read, twice_read = await read(again), await read(again)
    # How the rows are cut into lists depends on the time that each takes.
    assert list(chain(*once_read)) == list(chain(*twice_read))
    for once in (IterableSource(iter(ADDRESSES)), IterableSource(asynchronously(ADDRESSES))):
        await read(once)
        with pytest.raises(SourceError, match="only once"):
            await read(once)


async def test_the_loop_gets_its_turn_between_the_lists_of_a_plain_iterable() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        lists = await read(IterableSource(ADDRESSES))
        tasks.cancel_scope.cancel()
    assert turns >= len(lists) >= len(ADDRESSES) // ROWS_MAX


async def test_nothing_is_held_back_while_an_asynchronous_producer_waits() -> None:
    more = anyio.Event()

    async def in_bursts() -> AsyncIterator[str]:
        yield "a@example.com"
        yield "b@example.com"
        await more.wait()
        yield "c@example.com"

    seen = 0
    async for rows in IterableSource(in_bursts()).rows():
        seen += len(rows)
        if seen == 2:
            more.set()
    assert seen == 3


async def test_what_a_producer_raises_comes_after_its_rows() -> None:
    async def breaking() -> AsyncIterator[str]:
        yield "a@example.com"
        raise LookupError("the cursor is gone")

    lists = IterableSource(breaking()).rows()
    assert len(await anext(lists)) == 1
    with pytest.raises(LookupError, match="cursor"):
        await anext(lists)


async def test_cancelling_ends_a_producer_that_waits() -> None:
    ended = anyio.Event()

    async def waiting() -> AsyncIterator[str]:
        try:
            yield "a@example.com"
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, IterableSource(waiting()))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert ended.is_set()
