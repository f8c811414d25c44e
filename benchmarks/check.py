"""How long `mailsluice check` takes for a list, and how long `mailsluice send` takes to refuse it.

    python -m benchmarks.check [--rows 1000000 10000000] [--lacking 37]

Each list is NDJSON, of people with a name, a city and an order; some rows lack the name that the
template prints. The commands are processes of their own and ask an emulated SES on this machine.
It prints wall time, CPU time and peak memory of each, and checks that both exit with 2 and name the
variable, the count and the first rows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from mailsluice.emulator import EmulatorOptions
from mailsluice.emulator.process import emulator_process

TEMPLATE = {
    "subject": "{{firstname}}, your order {{order.number}}",
    "text": "Dear {{firstname}},\n\nyour order {{order.number}} is on its way to {{city}}.\n",
    "html": "<p>Dear {{firstname}},</p><p>your order {{order.number}} is on its way to {{city}}."
    "</p>{{#if coupon}}<p>{{coupon}}</p>{{/if}}",
}

MAILING = """\
[mailing]
from = "News <news@example.com>"
template = "order"

[recipients]
path = "list.ndjson"
"""

ROW = (
    '{{"email": "user{n}@example.com", "{name}": "Ann", "city": "Lisbon", '
    '"order": {{"number": {n}}}}}\n'
)


class Cost(NamedTuple):
    """Of one process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def write_list(path: Path, rows: int, lacking: int) -> list[int]:
    """Write it; the rows that lack the name."""
    every = rows // lacking
    without = [every * (number + 1) for number in range(lacking)]
    left = set(without)
    with path.open("w", encoding="utf-8") as file:
        for n in range(1, rows + 1):
            file.write(ROW.format(n=n, name="fistname" if n in left else "firstname"))
    return without


def run(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[Cost, int, str]:
    """Run a command to its end: what it has cost, its exit code, what it said."""
    said = folder / "said"
    begun = time.monotonic()
    with said.open("wb") as file:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "mailsluice", *arguments],
            {**os.environ, **environment, "HOME": str(folder)},
            file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), fd) for fd in (1, 2)],
        )
        _, status, usage = os.wait4(pid, 0)
    cost = Cost(time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    return cost, os.waitstatus_to_exitcode(status), said.read_text(encoding="utf-8")


def require_named(said: str, without: list[int]) -> None:
    """Require that a finding names the variable, the rows that lack it, and a near miss."""
    text = " ".join(said.split())
    first = ", ".join(f"{row:,}" for row in without[:10])
    for part in (
        f'"firstname", which is missing in {len(without)} rows (rows {first}',
        'did you mean "fistname"?',
    ):
        assert part in text, (part, text)


async def measure(folder: Path, rows: int, lacking: int) -> None:
    """Print a line for each command."""
    without = write_list(folder / "list.ndjson", rows, lacking)
    (folder / "mailing.toml").write_text(MAILING, encoding="utf-8")
    mailing = str(folder / "mailing.toml")
    options = EmulatorOptions(resources={"templates": {"order": TEMPLATE}})  # type: ignore[arg-type]
    async with emulator_process(options) as emulator:
        for arguments in (("check", mailing), ("send", mailing)):
            cost, code, said = await asyncio.to_thread(
                run, folder, emulator.environment, *arguments
            )
            assert code == 2, (code, said)
            require_named(said, without)
            print(
                f"| {arguments[0]} | {rows:,} | {lacking} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} "
                f"| {cost.cpu_s / rows * 1e6:.1f} | {cost.peak_mib:.0f} |",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--lacking", type=int, default=37)
    options = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}")
    print("| command | rows | lacking | wall s | CPU s | CPU µs per row | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(Path(folder), rows, options.lacking))


if __name__ == "__main__":
    main()
