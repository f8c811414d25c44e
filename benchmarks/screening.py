"""What suppression costs a run: CPU per recipient with [suppression], and without.

    python -m benchmarks.screening [RECIPIENTS]     default: 200000

Against the null server, with a journal; processes of both kinds by turns. The store has a million
addresses, of which the list has none. `links` signs a one-click link for each recipient as well.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.compare import ENVIRONMENT, null_server
from benchmarks.suppression import suppressions
from mailsluice import Engine, Mailing, Settings
from mailsluice.cli import runtime
from mailsluice.config.settings import SesSettings, SuppressionSettings, UnsubscribeSettings
from mailsluice.sources import files
from mailsluice.suppression.store import Suppressions

RECIPIENTS = 200_000
SUPPRESSED = 1_000_000
ROUNDS = 5
RATIO_MAX = 1.05
MAILING = Mailing(from_address="news@example.com", template="welcome")


async def run(url: str, folder: Path, what: str) -> float:
    """Return the CPU seconds of one run."""
    on, linked = what != "off", what == "links"
    link = UnsubscribeSettings(url="https://u.example.com/u/{token}")
    settings = Settings(
        ses=SesSettings(endpoint_url=url),
        suppression=SuppressionSettings(path=folder / "suppressions.db") if on else None,
        unsubscribe=link if linked else None,
    )
    source = files.open_source(str(folder / "list.csv"), settings.recipients.fields())
    with tempfile.TemporaryDirectory() as own:
        journal = Path(own) / "run.journal"
        async with Engine.open(settings, journal=journal) as engine:
            begun = time.process_time()
            report = await engine.run(MAILING, source)
            assert report.counts.sent == report.counts.read > 0
            return time.process_time() - begun


def in_a_process(url: str, folder: Path, what: str) -> float:
    """Return the CPU seconds of a run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.screening", url, str(folder), what]
    return float(
        subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE).stdout
    )


def main(recipients: int) -> int:
    """Print the costs; 1 if the goal is not reached."""
    with tempfile.TemporaryDirectory() as name, null_server() as url:
        folder = Path(name)
        rows = "".join(f"person{number}@example.org,Ann\n" for number in range(recipients))
        (folder / "list.csv").write_text(f"email,name\n{rows}", encoding="ascii")
        store = Suppressions.open(folder / "suppressions.db")
        store.add(suppressions(SUPPRESSED))
        store.refresh()
        store.close()
        kinds = ("off", "on", "links")
        took = [{kind: in_a_process(url, folder, kind) for kind in kinds} for _ in range(ROUNDS)]
    for kind in kinds:
        us = statistics.median(each[kind] for each in took) / recipients * 1e6
        ratio = statistics.median(each[kind] / each["off"] for each in took)
        goal = f"   goal ≤ {RATIO_MAX}" if kind == "on" else ""
        print(f"suppression {kind:<6} {us:6.1f} µs CPU per recipient   ÷ off {ratio:5.3f}{goal}")
    return statistics.median(each["on"] / each["off"] for each in took) > RATIO_MAX


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(runtime.run(run(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RECIPIENTS))
