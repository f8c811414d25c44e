"""CPU of mailsluice against what a user would pick instead: the same list, the same null server.

    python -m benchmarks.compare [RECIPIENTS [ROUNDS]]      default: 100000 3

Contenders take turns; each figure is the median of the rounds, of CPU seconds (user and system)
for a million recipients, start-up taken off by a run of 50 recipients. The server has a core of its
own where there are two.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lists import write_list

HERE = Path(__file__).parent

SMALL = 50
"""Recipients of the run that shows what starting costs."""

MAILING = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"
data = { city = "Lisbon" }
tags = { campaign = "november" }
"""

JOURNALLED = "mailsluice, journal (FULL)"
NAMES = {
    JOURNALLED: None,
    "mailsluice, no journal": "mailsluice_without_journal",
    "bare signed wire": "bare_wire",
    "aioboto3, semaphore": "aioboto3_semaphore",
    "boto3, loop": "boto3_loop",
    "boto3, threads": "boto3_threads",
}

GOALS = [
    (JOURNALLED, "aioboto3, semaphore", 0.25),
    (JOURNALLED, "bare signed wire", 2.0),
    ("mailsluice, no journal", "bare signed wire", 1.5),
]
"""CPU of the first over that of the second, at most."""

ENVIRONMENT = {
    **os.environ,
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_REGION": "us-east-1",
}


@contextmanager
def null_server() -> Iterator[str]:
    """Its URL."""
    with subprocess.Popen(
        [sys.executable, HERE / "null_server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        _pin(process.pid, 1)
        yield f"http://127.0.0.1:{process.stdout.readline().decode().strip()}"
        process.stdin.close()


def _pin(pid: int, core: int) -> None:
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(pid, {core})


def cpu_s(name: str, folder: Path, list_: Path, url: str) -> float:
    """CPU seconds of one run, start-up included."""
    contender = NAMES[name]
    if contender is None:
        (folder / "mailing.journal").unlink(missing_ok=True)
        command = ["-m", "mailsluice", "send", str(folder / "mailing.toml"), "--quiet"]
        command += ["--recipients", str(list_), "--set", f"ses.endpoint_url={url}"]
    else:
        command = [str(HERE / "contenders.py"), contender, str(list_), url]
    pid = os.posix_spawn(sys.executable, [sys.executable, *command], ENVIRONMENT)
    _pin(pid, 0)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def measure(recipients: int, rounds: int) -> dict[str, float]:
    """CPU seconds for a million recipients, by contender."""
    with tempfile.TemporaryDirectory(prefix="mailsluice-compare-") as name, null_server() as url:
        folder = Path(name)
        (folder / "mailing.toml").write_text(MAILING)
        small, large = folder / "small.csv", folder / "large.csv"
        write_list(small, SMALL)
        write_list(large, recipients)
        took: dict[str, list[float]] = {each: [] for each in NAMES}
        for _ in range(rounds):
            for each in NAMES:
                start = cpu_s(each, folder, small, url)
                spent = cpu_s(each, folder, large, url) - start
                took[each].append(spent / (recipients - SMALL) * 1e6)
    return {each: statistics.median(figures) for each, figures in took.items()}


def main(recipients: int, rounds: int) -> None:
    """Print the table."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    took = measure(recipients, rounds)
    least = took["bare signed wire"]
    print("| CPU for a million recipients | seconds | of bare wire |\n|---|---|---|")
    for each, seconds in took.items():
        print(f"| {each} | {seconds:.1f} | {seconds / least:.2f} |")
    print("\n| ratio | goal | measured | |\n|---|---|---|---|")
    for one, other, most in GOALS:
        ratio = took[one] / took[other]
        missed = "" if ratio <= most else "missed"
        print(f"| {one} / {other} | ≤ {most:g} | {ratio:.2f} | {missed} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000, int(sys.argv[2]) if sys.argv[2:] else 3)
