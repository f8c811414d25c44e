"""Peak memory and CPU of `mailsluice send` against the length of the list.

    python -m benchmarks.memory [RECIPIENTS ...]        default: 100000 1000000

Each list is sent for real, through HTTP, to an emulator in a process of its own, with dedupe and
the SQLite journal on. The figure to watch is the last column: peak memory over the first list's.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import sys
import tempfile
from pathlib import Path

from benchmarks.lists import write_list
from mailsluice.emulator import AccountSettings, EmulatorOptions, emulator_process

MAILING = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"
data = { city = "Lisbon" }
tags = { campaign = "november" }
[recipients]
path = "recipients.csv"
"""


def run(command: list[str], environment: dict[str, str]) -> tuple[int, resource.struct_rusage]:
    """Wait status and resources of one process."""
    pid = os.posix_spawn(command[0], command, os.environ | environment)
    _, status, usage = os.wait4(pid, 0)
    return status, usage


async def measure(recipients: int) -> tuple[float, float, float]:
    """Peak MB, CPU seconds and wall seconds of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_list(folder / "recipients.csv", recipients)
        (folder / "mailing.toml").write_text(MAILING)
        options = EmulatorOptions(
            account=AccountSettings(rate_per_s=1e6, daily_max=-1), ledger=folder / "ledger.ndjson"
        )
        async with emulator_process(options) as process:
            command = [sys.executable, "-m", "mailsluice", "send", str(folder / "mailing.toml")]
            command += ["--quiet", "--report", str(folder / "report.json")]
            status, usage = await asyncio.to_thread(run, command, process.environment)
        report = json.loads((folder / "report.json").read_text())
    if status != 0 or report["counts"]["sent"] != recipients:
        sys.exit(f"the run went wrong: {status}, {report}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, report["elapsed_s"]


async def main(lengths: list[int]) -> None:
    """Print a row a list."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        f"{'recipients':>12} {'peak MB':>9} {'CPU s/M':>9} {'recipients/s':>13} {'peak ratio':>11}"
    )
    first = None
    for length in lengths:
        peak_mb, cpu_s, wall_s = await measure(length)
        first = first or peak_mb
        print(
            f"{length:>12,} {peak_mb:>9.1f} {cpu_s / length * 1e6:>9.1f} "
            f"{length / wall_s:>13,.0f} {peak_mb / first:>11.2f}",
            flush=True,
        )


if __name__ == "__main__":
    asyncio.run(main([int(each) for each in sys.argv[1:]] or [100_000, 1_000_000]))
