"""How many recipients a second the emulator takes on one core, in its plain mode.

    python benchmarks/emulator.py [--rounds N] [--seconds S] [--connections N]

The emulator runs in a process of its own; requests are signed beforehand and sent as raw bytes over
keep-alive connections, so that the client is not the limit. Signature check, full validation and
the ledger in memory are on. Printed are the rate by the clock, which other load on the machine
lowers, and by the CPU time of the emulator, which says what one core does.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import platform
import statistics
import time
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from mailsluice.cli import runtime as loop
from mailsluice.emulator import (
    AccountSettings,
    EmulatorOptions,
    EmulatorProcess,
    emulator_process,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES = 50
REQUESTS = 200
"""Signed in advance, then sent in turn."""

WANTED_PER_S = 150_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement."""

    recipients: int
    elapsed_s: float
    cpu_s: float

    @property
    def by_clock(self) -> float:
        """Recipients per second that passed."""
        return self.recipients / self.elapsed_s

    @property
    def by_cpu(self) -> float:
        """Recipients per second of the emulator's CPU time."""
        return self.recipients / self.cpu_s


class Client(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._left = 0
        self.calls = 0
        self.bad = 0
        self.running = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP is both
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        """Count an answer that is complete, and send the next request."""
        if not self._left:
            self.bad += not data.startswith(b"HTTP/1.1 200")
            head = data.index(b"\r\n\r\n") + 4
            at = data.index(b"Content-Length: ") + 16
            self._left = head + int(data[at : data.index(b"\r", at)])
        self._left -= len(data)
        if not self._left:
            self.calls += 1
            if self.running:
                self._transport.write(next(self._requests))


def body(first: int) -> bytes:
    """Return a request as mailsluice makes it: 50 entries, two tags, data."""
    return orjson.dumps(
        {
            "FromEmailAddress": "News <news@example.com>",
            "DefaultContent": {
                "Template": {
                    "TemplateName": "welcome",
                    "TemplateData": '{"city":"Lisbon","season":"autumn"}',
                }
            },
            "ConfigurationSetName": "default",
            "DefaultEmailTags": [{"Name": "campaign", "Value": "november"}],
            "BulkEmailEntries": [entry(first + number) for number in range(ENTRIES)],
        }
    )


def entry(number: int) -> dict[str, object]:
    """One recipient."""
    data = {"first_name": f"Name{number}", "plan": "pro", "balance": number * 1.5, "n": number}
    return {
        "Destination": {"ToAddresses": [f"person.{number}@customers.example.org"]},
        "ReplacementTags": [
            {"Name": "campaign", "Value": "november"},
            {"Name": "mailsluice-id", "Value": f"a1b2c3d4-{number}"},
        ],
        "ReplacementEmailContent": {
            "ReplacementTemplate": {"ReplacementTemplateData": orjson.dumps(data).decode()}
        },
    }


def signed(url: str, content: bytes) -> bytes:
    """Return the whole request as it goes over the wire."""
    target = "/v2/email/outbound-bulk-emails"
    request = AWSRequest("POST", url + target, {"Content-Type": "application/json"}, content)
    credentials = Credentials("AKIDEMULATOR", "emulator-secret")
    SigV4Auth(credentials, "ses", "us-east-1").add_auth(request)
    head = f"POST {target} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head += "User-Agent: aiobotocore/2 md/Botocore#1\r\nAccept: */*\r\n"
    head += "Accept-Encoding: gzip, deflate\r\namz-sdk-request: attempt=1\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def measure(emulator: EmulatorProcess, seconds: float, connections: int) -> Round:
    """Load one emulator for some seconds."""
    requests = cycle([signed(emulator.url, body(n * ENTRIES)) for n in range(REQUESTS)])
    server = psutil.Process(emulator.pid)
    host, port = urlsplit(emulator.url).netloc.split(":")
    loop = asyncio.get_running_loop()
    before, began = server.cpu_times(), time.perf_counter()
    pairs = [
        await loop.create_connection(lambda: Client(requests), host, int(port))
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    calls = sum(client.calls for _, client in pairs)
    after, elapsed_s = server.cpu_times(), time.perf_counter() - began
    for transport, client in pairs:
        client.running = False
        transport.abort()
    if any(client.bad for _, client in pairs):
        raise SystemExit("the emulator refused a call: the figure would mean nothing")
    cpu_s = after.user + after.system - before.user - before.system
    return Round(recipients=calls * ENTRIES, elapsed_s=elapsed_s, cpu_s=cpu_s)


async def benchmark(rounds: int, seconds: float, connections: int) -> list[Round]:
    """Every round on a fresh emulator, warmed up."""
    account = AccountSettings(rate_per_s=1e9, daily_max=-1)
    measured = []
    for _ in range(rounds):
        async with emulator_process(EmulatorOptions(account=account)) as emulator:
            await measure(emulator, seconds / 4, connections)
            measured.append(await measure(emulator, seconds, connections))
    return measured


def machine() -> str:
    """Describe the machine on which the figures were taken."""
    load = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f}, Python "
        f"{platform.python_version()}, {dt.datetime.now(dt.UTC):%Y-%m-%d}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    measured = loop.run(benchmark(options.rounds, options.seconds, options.connections))
    by_cpu = statistics.median(each.by_cpu for each in measured)
    by_clock = statistics.median(each.by_clock for each in measured)
    print(machine())
    print(
        f"body: {len(body(0)) / 1000:.1f} kB, {ENTRIES} entries, {options.connections} connections"
    )
    print(f"by the clock:            {by_clock:9,.0f} recipients/s (median of {len(measured)})")
    print(f"by CPU time of one core: {by_cpu:9,.0f} recipients/s (median of {len(measured)})")
    print(f"wanted:                  {WANTED_PER_S:9,} recipients/s")


if __name__ == "__main__":
    main()
