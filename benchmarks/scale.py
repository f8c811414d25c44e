"""What grows with the list, and what must not: memory, CPU, start, resume, journal, export.

    python -m benchmarks.scale [RECIPIENTS ...]     default: 10000 100000 1000000 10000000

Each list is sent by the command to the null server, with the SQLite journal and dedupe, and
exported. The last one is sent once more, stopped at nine tenths, and resumed. Start is from the
command to the first call that the server sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from benchmarks.compare import null_server, send_command, spawn
from benchmarks.lists import write_list
from mailsluice import Engine, Mailing, Settings
from mailsluice.cli import runtime
from mailsluice.config.settings import SesSettings
from mailsluice.sources import Fields, files

BLOCKED_RECIPIENTS = 1_000_000
RESUMED_PART = 0.9
STARTS = 5
"""`--help` is started so often; the median counts."""

HEARTBEAT_S = 0.001


class Run(NamedTuple):
    """One process of `send`."""

    start_s: float
    """Until its first call."""
    cpu_s: float
    wall_s: float
    peak_mb: float


def given(url: str) -> dict[str, Any]:
    """Return what the server has answered, and when the first call came."""
    with urlopen(f"{url}/given") as answer:  # loopback
        found: dict[str, Any] = json.load(answer)
        return found


def send(folder: Path, list_: Path, url: str, stop_at: int | None = None) -> Run:
    """One process, stopped by a signal once the server has had so many recipients."""
    begun = time.time()
    pid = spawn(send_command(folder, list_, url))
    while (first_at := given(url)["first_at"]) is None or first_at < begun:
        time.sleep(0.02)
    while stop_at is not None and given(url)["given"] < stop_at:
        time.sleep(0.05)
    if stop_at is not None:
        os.kill(pid, signal.SIGTERM)
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in ({0} if stop_at is None else {0, 4}):
        raise SystemExit(f"send ended with {code}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(first_at - begun, cpu_s, time.time() - begun, usage.ru_maxrss / 1024)


def export(folder: Path) -> float:
    """Seconds of `mailsluice export`, start-up included."""
    begun = time.time()
    command = [sys.executable, "-m", "mailsluice", "export", str(folder / "mailing.journal")]
    if _quietly(command, folder / "outcomes.csv"):
        raise SystemExit("export failed")
    return time.time() - begun


def _quietly(command: list[str], output: Path) -> int:
    """Run it with its standard output in a file; its wait status."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    into = [(os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o600)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=into)
    return os.wait4(pid, 0)[1]


def by_length(folder: Path, lengths: list[int], url: str) -> None:
    """Print one row per list."""
    print(
        "| recipients | peak MB | CPU, µs a recipient | recipients/s | start → first call, s | "
        "journal, bytes a recipient | export, rows/s |\n|---|---|---|---|---|---|---|"
    )
    for length in lengths:
        list_ = folder / f"{length}.csv"
        write_list(list_, length)
        journal = folder / "mailing.journal"
        journal.unlink(missing_ok=True)
        run = send(folder, list_, url)
        bytes_each = journal.stat().st_size / length
        export_s = export(folder)
        print(
            f"| {length:,} | {run.peak_mb:.0f} | {run.cpu_s / length * 1e6:.1f} | "
            f"{length / run.wall_s:,.0f} | {run.start_s:.2f} | {bytes_each:.0f} | "
            f"{length / export_s:,.0f} |",
            flush=True,
        )


def resumed(folder: Path, length: int, url: str) -> None:
    """Stop a run at nine tenths, and see how long its successor takes to go on."""
    list_ = folder / f"{length}.csv"
    (folder / "mailing.journal").unlink(missing_ok=True)
    before = given(url)["given"]
    send(folder, list_, url, stop_at=before + int(length * RESUMED_PART))
    run = send(folder, list_, url)
    print(
        f"\nresume of {length:,} at {RESUMED_PART:.0%}: {run.start_s:.1f} s to the first call, "
        f"peak {run.peak_mb:.0f} MB"
    )
    missing = given(url)["given"] - before - length
    print(f"recipients sent more or less than once: {missing}", flush=True)


def start_of_help() -> float:
    """Seconds of `mailsluice --help`, the median."""
    took = []
    for _ in range(STARTS):
        begun = time.time()
        _quietly([sys.executable, "-m", "mailsluice", "--help"], Path(os.devnull))
        took.append(time.time() - begun)
    return statistics.median(took)


@contextlib.contextmanager
def heartbeat() -> Iterator[list[float]]:
    """How late a timer of the event loop was each time, in seconds."""
    running = asyncio.get_running_loop()
    late: list[float] = []
    timer: asyncio.TimerHandle

    def beat(planned: float) -> None:
        nonlocal timer
        now = running.time()
        late.append(now - planned)
        timer = running.call_at(now + HEARTBEAT_S, beat, now + HEARTBEAT_S)

    timer = running.call_at(running.time(), beat, running.time())
    yield late
    timer.cancel()


async def blocked(list_: Path, journal: Path, url: str) -> list[float]:
    """How long the event loop was away, over one run in this process."""
    mailing = Mailing(from_address="news@example.com", template="welcome")
    settings = Settings(ses=SesSettings(endpoint_url=url))
    async with Engine.open(settings, journal=journal) as engine:
        with heartbeat() as late:
            await engine.run(mailing, files.open_source(list_, Fields()))
    return late


def main(lengths: list[int]) -> None:
    """Print the figures."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(prefix="mailsluice-scale-") as name, null_server() as url:
        folder = Path(name)
        by_length(folder, lengths, url)
        resumed(folder, lengths[-1], url)
        print(f"`mailsluice --help`: {start_of_help():.2f} s")
        os.environ |= {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-e"}
        list_ = folder / "blocked.csv"
        write_list(list_, min(BLOCKED_RECIPIENTS, lengths[-1]))
        late = sorted(runtime.run(blocked(list_, folder / "blocked.journal", url)))
        print(
            f"event loop away, of {len(late):,} looks: longest {late[-1] * 1e3:.0f} ms, "
            f"99.9 % below {late[len(late) * 999 // 1000] * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [10_000, 100_000, 1_000_000, 10_000_000])
