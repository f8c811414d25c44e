"""What has arrived is read before a deadline strikes; what trickles in does not escape it."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import uvloop

from mailsluice.model import Answer
from mailsluice.ses.aws.deadline import Deadline
from mailsluice.ses.client import Client
from mailsluice.ses.direct import Direct
from tests.support.peer import Exchange, Script, listening
from tests.support.ses import BODY, CREDENTIALS, OK

LARGE = OK + 600_000 * b" "
"""An answer that is read in several turns of the event loop."""

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [
    asyncio.new_event_loop,
    uvloop.new_event_loop,
]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def in_the_stall(exchange: Exchange) -> None:
    """Answer while the process stands still."""
    if exchange.read_head():
        exchange.read_body()
        exchange.peer.stopped.wait(0.2)
        exchange.answer(200, LARGE)


def trickle(exchange: Exchange) -> None:
    """Answer without end, a byte at a time."""
    if exchange.read_head():
        exchange.read_body()
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not exchange.peer.stopped.wait(0.02):
            exchange.connection.sendall(b"1\r\n \r\n")


async def ask(script: Script, timeout_s: float, *, direct: bool, stalled_s: float = 0) -> Answer:
    """Send one request to such a peer; the process stops for a while as soon as it has left."""
    with listening(script) as peer:
        client = Client(
            region="us-east-1",
            profile=None,
            endpoint_url=f"http://127.0.0.1:{peer.port}",
            in_flight_max=1,
            timeout_s=timeout_s,
        )
        async with client:
            transport = await Direct.over(client) if direct else client

            def stall() -> None:
                peer.wait_for(1, timeout_s=10)
                time.sleep(stalled_s)

            async def depart() -> None:
                loop = asyncio.get_running_loop()
                loop.call_later(0.05, stall)  # when the request is written

            return await transport.send_bulk_email(BODY, None, depart)


def run(loop: Callable[[], asyncio.AbstractEventLoop], main: Any) -> Any:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("loop", LOOPS)
def test_an_answer_that_came_while_the_process_stood_still_is_read(
    loop: Callable[[], asyncio.AbstractEventLoop], *, direct: bool
) -> None:
    answer = run(loop, ask(in_the_stall, 0.4, direct=direct, stalled_s=0.6))
    assert (answer.code, len(answer.results)) == (None, 3)


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_trickled_answer_is_in_doubt_when_its_time_is_up(
    loop: Callable[[], asyncio.AbstractEventLoop], *, direct: bool
) -> None:
    answer = run(loop, ask(trickle, 0.4, direct=direct))
    assert (answer.code, answer.error) == ("NO_ANSWER", "no whole answer within 0.4 s")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_deadline_strikes(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        async with Deadline() as deadline:
            deadline.set(asyncio.get_running_loop().time() + 0.01)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_what_ends_in_time_or_is_given_more_of_it_is_left_alone(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> str:
        now = asyncio.get_running_loop().time
        async with Deadline() as deadline:
            deadline.set(now() + 0.01)
            deadline.set(now() + 1000)
            await asyncio.sleep(0.05)
        return "done"

    assert run(loop, main()) == "done"


def test_a_cancellation_is_none_of_its_business() -> None:
    async def main() -> None:
        async with Deadline() as deadline:
            deadline.set(asyncio.get_running_loop().time() + 1000)
            await asyncio.Event().wait()

    async def cancel() -> bool:
        task = asyncio.create_task(main())
        asyncio.get_running_loop().call_later(0.01, partial(task.cancel))
        await asyncio.wait([task])
        return task.cancelled()

    assert run(asyncio.new_event_loop, cancel())
