"""The server: starting and stopping it, its control interface, and clients that go away."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest
from aiohttp.web_protocol import RequestHandler

import mailsluice.emulator
from mailsluice.cli import runtime as loop
from mailsluice.emulator import (
    AccountSettings,
    Emulator,
    EmulatorOptions,
    EmulatorStatistics,
    emulator_process,
    emulator_thread,
    serve,
)
from mailsluice.emulator.http import BODY_BYTES_MAX, HEAD_LINE_BYTES_MAX
from mailsluice.model.errors import ConfigurationError
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.emulator.conftest import Pair

    Start = Callable[..., Awaitable[Pair]]

BULK = "/v2/email/outbound-bulk-emails"
CHUNKED = f"POST {BULK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()
TOO_LONG = (
    f"POST {BULK} HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n".encode()
)


async def exchange(emulator: Emulator, data: bytes, *, until: bytes = b"") -> bytes:
    """Send raw bytes; what comes back until the emulator closes, or until these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    writer.write(data)
    try:
        return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.close()
        await writer.wait_closed()


def post(content: bytes, *headers: str) -> bytes:
    lines = [f"POST {BULK} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def good_body(pair: Pair, size: int = 1) -> bytes:
    return json.dumps(pair.bulk(["a@example.com"] * size)).encode()


async def settled(emulator: Emulator) -> EmulatorStatistics:
    """Statistics once all connections are gone."""
    async with asyncio.timeout(5):
        while (found := emulator.statistics()).connections:
            await asyncio.sleep(0)
    return found


def test_public_names_are_all_there() -> None:
    public = mailsluice.emulator
    assert list(public.__all__) == sorted(
        public.__all__, key=lambda name: (name[0].islower(), name)
    )
    assert all(getattr(public, name) is not None for name in public.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = public.nothing


async def test_requests_may_come_in_pieces_and_in_a_row(start: Start) -> None:
    pair = await start(credentials=None)
    data = post(good_body(pair)) + post(good_body(pair), "Connection: close")
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.emulator.port)
    for at in range(0, len(data), 7):
        writer.write(data[at : at + 7])
        await writer.drain()
        await asyncio.sleep(0)
    assert (await reader.read()).count(b"HTTP/1.1 200 OK") == 2
    writer.close()
    assert len(pair.emulator.ledger) == 2


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (CHUNKED, 411),
        (f"POST {BULK} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".encode(), 400),
        (TOO_LONG, 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * HEAD_LINE_BYTES_MAX + b"x\r\n\r\n", 400),
    ],
)
async def test_what_is_not_http_is_refused_and_closed(
    start: Start, data: bytes, status: int
) -> None:
    pair = await start(credentials=None)
    answer = await exchange(pair.emulator, data)
    assert answer.partition(b" ")[2].startswith(b"%d " % status)


async def test_a_client_that_waits_for_100_continue_gets_it(start: Start) -> None:
    pair = await start(credentials=None)
    data = post(b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 9")
    assert (
        await exchange(pair.emulator, data, until=b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    )


async def test_thousands_of_killed_clients_leave_nothing_behind(
    start: Start, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each dies at another byte of its request, or just before its answer, by RST."""
    caplog.set_level(logging.DEBUG)
    pair = await start(credentials=None, latency={"low_s": 0.001, "high_s": 0.001})
    data = post(good_body(pair, 5))
    loop = asyncio.get_running_loop()
    for number in range(2000):
        client = socket.socket()
        client.settimeout(0)
        await loop.sock_connect(client, ("127.0.0.1", pair.emulator.port))
        await loop.sock_sendall(client, data[: number % (len(data) + 200)])
        await asyncio.sleep(0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    found = await settled(pair.emulator)
    assert found.connections_total == 2000
    assert await pair.statuses("a@example.com") == ["SUCCESS"]
    gc.collect()
    assert sum(isinstance(each, RequestHandler) for each in gc.get_objects()) <= 1
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert capfd.readouterr() == ("", "")


async def test_a_client_that_dies_after_its_request_was_accepted_is_in_the_ledger(
    start: Start,
) -> None:
    pair = await start(credentials=None, latency={"low_s": 60, "high_s": 60})
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.emulator.port)
    writer.write(post(good_body(pair, 5)))
    async with asyncio.timeout(5):
        while not len(pair.emulator.ledger):
            await asyncio.sleep(0)
    writer.transport.abort()
    assert (await settled(pair.emulator)).ledger == 5
    assert await reader.read() == b""


async def test_control_interface_tells_and_changes(start: Start) -> None:
    pair = await start()
    url = f"{pair.emulator.url}/_emulator"
    await pair.send("a@example.com", "b@example.com")
    async with aiohttp.ClientSession(url + "/") as http:
        async with http.get("statistics") as answer:
            found = await answer.json()
        assert (found["ledger"], found["account"]["accepted"], found["requests"]) == (2, 2, 1)
        async with http.get("ledger") as answer:
            lines = [json.loads(line) async for line in answer.content]
        assert [line["to"] for line in lines] == [["a@example.com"], ["b@example.com"]]
        async with http.get("requests") as answer:
            assert await answer.json() == pair.emulator.requests
        async with http.patch("account", json={"rate_per_s": 3}) as answer:
            assert (await answer.json())["rate_per_s"] == 3
        async with http.get("account") as answer:
            assert (await answer.json())["rate_per_s"] == 3
        async with http.put("faults", json={"entry": [{"status": "FAILED"}]}) as answer:
            assert answer.status == 204
    assert await pair.statuses("a@example.com") == ["FAILED"]


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("PATCH", "account", {"rate_per_s": 0}, "greater than 0"),
        ("PATCH", "account", {"speed": 1}, "speed"),
        ("PATCH", "account", [], "a JSON object is wanted"),
        ("PUT", "faults", {"call": [{"fault": "x"}]}, "call rule 1, field 'fault'"),
    ],
)
async def test_control_interface_refuses_what_cannot_be(
    start: Start, method: str, path: str, body: Any, said: str
) -> None:
    pair = await start()
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{pair.emulator.url}/_emulator/{path}", json=body) as answer,
    ):
        assert answer.status == 400
        assert said in (await answer.json())["message"]


async def test_a_long_ledger_is_streamed_whole_to_a_slow_reader(start: Start) -> None:
    pair = await start(credentials=None)
    for _ in range(300):
        pair.emulator.ledger.record(_entries(50), "welcome", 1, 1.0)
    async with (
        aiohttp.ClientSession(read_bufsize=1024) as http,
        http.get(f"{pair.emulator.url}/_emulator/ledger") as answer,
    ):
        count = 0
        async for line in answer.content:
            count += line.endswith(b"}\n")
            await asyncio.sleep(0)
    assert count == 15_000


def _entries(count: int) -> list[Any]:
    from mailsluice.emulator.submission import Entry  # noqa: PLC0415 - for this one

    return [Entry([f"u{n}@example.com"], [], [], {"a": "b"}, 1) for n in range(count)]


async def test_a_taken_port_is_said_so() -> None:
    async with Emulator() as first:
        with pytest.raises(ConfigurationError, match=r"cannot listen.*choose another port"):
            async with Emulator(EmulatorOptions(port=first.port)):
                pass


async def test_leaving_it_closes_what_is_open() -> None:
    async with Emulator() as emulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        async with asyncio.timeout(5):
            while not emulator.statistics().connections:
                await asyncio.sleep(0)
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(OSError, match=r"."):
        await asyncio.open_connection("127.0.0.1", emulator.port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_announces_its_url_and_stops_on_a_signal(number: int) -> None:
    urls: list[str] = []

    def announce(url: str) -> None:
        urls.append(url)
        os.kill(os.getpid(), number)

    found = await serve(EmulatorOptions(), announce=announce)
    assert urls[0].startswith("http://127.0.0.1:")
    assert found.requests == 0


def test_run_uses_uvloop_where_it_is() -> None:
    pytest.importorskip("uvloop")

    async def module() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert loop.run(module()) == "uvloop"


@pytest.mark.process
async def test_a_child_process_serves_and_stops() -> None:
    account = AccountSettings(rate_per_s=7)
    async with emulator_process(EmulatorOptions(account=account)) as child:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{child.url}/_emulator/account") as answer,
        ):
            assert (await answer.json())["rate_per_s"] == 7
        assert child.environment["AWS_ENDPOINT_URL_SESV2"] == child.url
        assert psutil.pid_exists(child.pid)
    assert not psutil.pid_exists(child.pid)


@pytest.mark.process
async def test_a_child_that_cannot_start_is_said_so(tmp_path: Path) -> None:
    options = EmulatorOptions(ledger=tmp_path / "none" / "ledger")
    with pytest.raises(ConfigurationError, match="did not start"):
        async with emulator_process(options):
            pass


PARENT = """
import asyncio, os, signal
from mailsluice.emulator import emulator_process
async def main():
    async with emulator_process() as child:
        print(child.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.process
def test_a_child_does_not_outlive_a_killed_parent() -> None:
    """Standard error is the child's too: it ends when both are gone."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT], capture_output=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stderr == b""


def test_an_emulator_in_a_thread_may_be_used_from_another() -> None:
    with emulator_thread() as emulator:
        emulator.change_account(rate_per_s=2)
        assert emulator.account.settings.rate_per_s == 2
        assert emulator.statistics().requests == 0
        with pytest.raises(ValueError, match="greater than 0"):
            emulator.change_account(rate_per_s=0)


def test_an_emulator_in_a_thread_that_cannot_start_is_said_so(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="cannot be opened"),
        emulator_thread(EmulatorOptions(ledger=tmp_path / "none" / "ledger")),
    ):
        pass
