"""Single messages: what sharing calls saves, what it adds to a message's time, and the lanes.

    python -m benchmarks.send

CPU is measured against the null server, everything else against the emulator in its own process,
with the SQLite journal. Times are of this machine; the goals are in the last column.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from benchmarks.compare import ENVIRONMENT, null_server
from mailsluice import Engine, Mailing, Message, Recipient, Report, Settings
from mailsluice.cli import runtime
from mailsluice.config.settings import SesSettings
from mailsluice.emulator import AccountSettings, EmulatorOptions, EmulatorProcess, emulator_process
from mailsluice.emulator.options import Latency

MAILING = Mailing(from_address="news@example.com", template="welcome", data={"city": "Lisbon"})
BULK = Mailing(from_address="news@example.com", template="november")

SENDS = 20_000
AT_ONCE = 1_000

LATENCY_S = 0.05
ARRIVALS_PER_S = 500
ARRIVALS_S = 15.0

LANE_RATE_PER_S = 200
LANE_S = 25.0
LANE_EVERY_S = 0.1
BATCH_S = 50 / LANE_RATE_PER_S


def message(n: int) -> Message:
    """One of many."""
    return Message(MAILING, to=f"user{n}@example.com", data={"code": n})


# --- CPU -------------------------------------------------------------------------------------


async def engine_sends(url: str, journal: Path | None) -> float:
    """CPU seconds of `SENDS` messages, `AT_ONCE` tasks at a time."""
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=url)), journal=journal) as engine:
        await engine.send(message(0))
        numbers = iter(range(1, SENDS))

        async def task() -> None:
            for n in numbers:
                await engine.send(message(n))

        begun = time.process_time()
        await asyncio.gather(*(task() for _ in range(AT_ONCE)))
        return time.process_time() - begun


async def sdk_sends(url: str) -> float:
    """Send the same messages by one `send_email` each through aioboto3."""
    import aioboto3  # noqa: PLC0415  # the contender's own
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    config = AioConfig(max_pool_connections=32)
    session = aioboto3.Session(region_name=ENVIRONMENT["AWS_REGION"])
    async with session.client("sesv2", endpoint_url=url, config=config) as client:
        numbers = iter(range(SENDS // 10))

        async def task() -> None:
            for n in numbers:
                await client.send_email(
                    FromEmailAddress="news@example.com",
                    Destination={"ToAddresses": [f"user{n}@example.com"]},
                    Content={
                        "Template": {"TemplateName": "welcome", "TemplateData": f'{{"code":{n}}}'}
                    },
                )

        begun = time.process_time()
        await asyncio.gather(*(task() for _ in range(32)))
        return (time.process_time() - begun) * 10


def in_a_process(what: str, url: str) -> tuple[float, float]:
    """CPU and wall seconds of `SENDS` sends, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.send", what, url]
    ran = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    cpu_s, wall_s = map(float, ran.stdout.split())
    return cpu_s, wall_s


def child(what: str, url: str) -> None:
    """Print both."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if what == "sdk":
            cpu_s = runtime.run(sdk_sends(url))
        else:
            journal = Path(folder) / "messages.journal" if what == "journal" else None
            cpu_s = runtime.run(engine_sends(url, journal))
    print(cpu_s, time.perf_counter() - begun)


def cpu() -> None:
    """Print one row per way of sending."""
    print(f"| {SENDS:,} messages, {AT_ONCE:,} tasks | CPU, µs a message | of send_email each |")
    print("|---|---|---|")
    with null_server() as url:
        took = {
            name: statistics.median(in_a_process(what, url)[0] for _ in range(3))
            for name, what in (
                ("one send_email each, aioboto3", "sdk"),
                ("engine.send, no journal", "none"),
                ("engine.send, journal (FULL)", "journal"),
            )
        }
    first = next(iter(took.values()))
    for name, cpu_s in took.items():
        print(f"| {name} | {cpu_s / SENDS * 1e6:.0f} | {cpu_s / first:.2f} |", flush=True)


# --- latency and lanes -----------------------------------------------------------------------


@asynccontextmanager
async def opened(process: EmulatorProcess, folder: Path) -> AsyncIterator[Engine]:
    """Open an engine that sends to the emulator, with a journal of messages."""
    os.environ |= process.environment
    async with Engine.open(Settings(), journal=folder / "messages.journal") as engine:
        await engine.send(message(0))
        yield engine


def percentile(values: list[float], part: float) -> float:
    """Return the value below which that part of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def arrivals(engine: Engine, rate_per_s: float, seconds: float) -> list[float]:
    """Messages that arrive at random; from call to return, seconds each."""
    random, now = Random(1), asyncio.get_running_loop().time
    took: list[float] = []

    async def one(n: int) -> None:
        begun = now()
        await engine.send(message(n))
        took.append(now() - begun)

    ends, n, due = now() + seconds, 0, now()
    async with asyncio.TaskGroup() as tasks:
        while due < ends:
            due += random.expovariate(rate_per_s)
            await asyncio.sleep(max(0.0, due - now()))
            tasks.create_task(one(n := n + 1))
    return took


async def added_latency(folder: Path) -> None:
    """Print what `send` adds to a call's latency."""
    options = EmulatorOptions(
        account=AccountSettings(rate_per_s=1e6, daily_max=-1),
        latency=Latency(low_s=LATENCY_S, high_s=LATENCY_S),
    )
    async with emulator_process(options) as process, opened(process, folder) as engine:
        took = await arrivals(engine, ARRIVALS_PER_S, ARRIVALS_S)
    added = [each - LATENCY_S for each in took]
    linger_ms = Settings().messages.linger_ms
    print(
        f"\n{len(took):,} messages at random, {ARRIVALS_PER_S}/s, SES takes "
        f"{LATENCY_S * 1e3:.0f} ms: added {percentile(added, 0.5) * 1e3:.1f} ms (median), "
        f"{percentile(added, 0.99) * 1e3:.1f} ms (p99); goal: p99 ≤ linger + 5 ms = "
        f"{linger_ms + 5:.0f} ms",
        flush=True,
    )


@asynccontextmanager
async def saturated(folder: Path) -> AsyncIterator[tuple[Engine, asyncio.Task[Report]]]:
    """Open an engine whose rate a mailing takes up; yield the engine and the mailing's run."""
    options = EmulatorOptions(account=AccountSettings(rate_per_s=LANE_RATE_PER_S, daily_max=-1))
    people = (Recipient(to=f"bulk{n}@example.com") for n in range(10**9))
    async with emulator_process(options) as process, opened(process, folder) as engine:
        run = asyncio.create_task(engine.run(BULK, people, journal=folder / "run.journal"))
        await engine.begun()
        yield engine, run


async def lanes(folder: Path) -> None:
    """Print the latency of messages that come now and then while a mailing takes the whole rate."""
    async with saturated(folder) as (engine, run):
        begun = time.perf_counter()
        took = await arrivals(engine, 1 / LANE_EVERY_S, LANE_S)
        now = engine.statistics()
        assert now is not None
        rate_per_s = (now.counts.sent + len(took)) / (time.perf_counter() - begun)
        engine.stop()
        report = await run
    waits = [percentile(took, part) / BATCH_S for part in (0.5, 0.99)]
    print(
        f"\nlanes: a mailing saturates {LANE_RATE_PER_S}/s, {len(took)} messages beside it: "
        f"{waits[0]:.2f} batches' time (median), {waits[1]:.2f} (p99; goal ≤ 2); together "
        f"{rate_per_s:.0f}/s, throttled {report.throttled}",
        flush=True,
    )


async def fairness(folder: Path) -> None:
    """Both lanes want more than there is."""
    async with saturated(folder) as (engine, run):
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await engine.send(message(sent))
                sent += 1

        tasks = [asyncio.create_task(flood()) for _ in range(200)]
        await asyncio.sleep(LANE_S)
        now = engine.statistics()
        assert now is not None
        bulk = now.counts.sent
        for task in tasks:
            task.cancel()
        engine.stop()
        await run
    share = bulk / (bulk + sent)
    print(f"fairness: both lanes saturated: bulk has {share:.0%} of the rate (its share: 10 %)")


def main() -> None:
    """Print all figures."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    cpu()
    for part in (added_latency, lanes, fairness):
        with tempfile.TemporaryDirectory(prefix="mailsluice-send-") as folder:
            runtime.run(part(Path(folder)))


if __name__ == "__main__":
    if sys.argv[1:]:
        child(sys.argv[1], sys.argv[2])
    else:
        main()
