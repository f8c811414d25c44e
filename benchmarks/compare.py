"""CPU of mailsluice against what a user would pick instead: the same list, the same null server.

    python -m benchmarks.compare [--recipients N] [--rounds N] [--quick] [--save]

Contenders take turns; each figure is the median of the rounds, of CPU seconds (user and system)
for a million recipients, start-up taken off by a run of 50 recipients. The server has a core of its
own if there are two. Exits with 1 if a ratio has become worse than `baseline.json` by more than its
noise; `--save` writes that file. `--quick` runs only the contenders that the three ratios compare,
without Django and Node.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lists import write_list

HERE = Path(__file__).parent

BASELINE = HERE / "baseline.json"

NODE_FOLDER = HERE / ".node"

NODE_PACKAGE = "@aws-sdk/client-sesv2@3.1175.0"

NOISE = 0.1
"""Part of a ratio by which it differs from day to day, whatever its spread within one run."""

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
UNJOURNALLED = "mailsluice, no journal"
BARE = "bare signed wire"
AIOBOTO3 = "aioboto3, semaphore"
NODE = "AWS SDK for JavaScript"
NAMES = {
    JOURNALLED: "",
    UNJOURNALLED: "mailsluice_without_journal",
    BARE: "bare_wire",
    AIOBOTO3: "aioboto3_semaphore",
    "boto3, loop": "boto3_loop",
    "boto3, threads": "boto3_threads",
    "django-anymail": "anymail",
    NODE: "",
}

PACKAGES = ("boto3", "django", "anymail")
"""Of contenders; those of mailsluice are there."""

GOALS = [(JOURNALLED, AIOBOTO3, 0.25), (JOURNALLED, BARE, 2.0), (UNJOURNALLED, BARE, 1.5)]
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


def spawn(command: list[str | Path]) -> int:
    """Start a process on the first core; its id."""
    pid = os.posix_spawn(command[0], [str(part) for part in command], ENVIRONMENT)
    _pin(pid, 0)
    return pid


def send_command(folder: Path, list_: Path, url: str) -> list[str | Path]:
    """`mailsluice send`, with its journal in `folder`."""
    (folder / "mailing.toml").write_text(MAILING)
    command: list[str | Path] = [sys.executable, "-m", "mailsluice", "send"]
    command += [folder / "mailing.toml", "--recipients", list_, "--quiet"]
    return [*command, "--set", f"ses.endpoint_url={url}"]


def _cpu_s(name: str, folder: Path, list_: Path, url: str) -> float:
    """CPU seconds of one run, start-up included."""
    command: list[str | Path]
    match name:
        case "mailsluice, journal (FULL)":
            (folder / "mailing.journal").unlink(missing_ok=True)
            command = send_command(folder, list_, url)
        case "AWS SDK for JavaScript":
            command = [str(shutil.which("node")), NODE_FOLDER / "contender.mjs", list_, url]
        case _:
            command = [sys.executable, HERE / "contenders.py", NAMES[name], list_, url]
    _, status, usage = os.wait4(spawn(command), 0)
    if status:
        raise SystemExit(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def _require() -> None:
    """Exit if a contender's package is missing, before anything is measured."""
    missing = [each for each in PACKAGES if importlib.util.find_spec(each) is None]
    if missing:
        raise SystemExit(
            f"benchmarks.compare needs {' and '.join(missing)}: python -m pip install "
            "--constraint constraints.txt --editable '.[bench]'"
        )


def _with_node() -> bool:
    """Install the SDK for JavaScript the first time; False, and said, if it cannot be had."""
    without = f"{NODE} is left out:"
    if shutil.which("node") is None or shutil.which("npm") is None:
        print(f"{without} it needs node and npm on the PATH", file=sys.stderr)
        return False
    NODE_FOLDER.mkdir(exist_ok=True)
    shutil.copy(HERE / "contender.mjs", NODE_FOLDER)
    if not (NODE_FOLDER / "node_modules").exists():
        command = ["npm", "install", "--silent", "--prefix", str(NODE_FOLDER), NODE_PACKAGE]
        if subprocess.run(command, check=False).returncode:
            print(f"{without} npm cannot install {NODE_PACKAGE}", file=sys.stderr)
            return False
    return True


def measure(names: Sequence[str], recipients: int, rounds: int) -> dict[str, list[float]]:
    """CPU seconds for a million recipients, by contender, round by round."""
    with tempfile.TemporaryDirectory(prefix="mailsluice-compare-") as name, null_server() as url:
        folder = Path(name)
        small, large = folder / "small.csv", folder / "large.csv"
        write_list(small, SMALL)
        write_list(large, recipients)
        took: dict[str, list[float]] = {each: [] for each in names}
        for _ in range(rounds):
            for each in names:
                start = _cpu_s(each, folder, small, url)
                spent = _cpu_s(each, folder, large, url) - start
                took[each].append(spent / (recipients - SMALL) * 1e6)
    return took


def _ratio(took: dict[str, list[float]], one: str, other: str) -> tuple[float, float]:
    """Return the median of the rounds, and how far they lie apart."""
    ratios = [mine / its for mine, its in zip(took[one], took[other], strict=True)]
    return statistics.median(ratios), max(ratios) - min(ratios)


def contenders(*, quick: bool) -> list[str]:
    """Return the names of those that run; exit if a package is missing."""
    if quick:
        compared = {name for one, other, _ in GOALS for name in (one, other)}
        return [name for name in NAMES if name in compared]
    _require()
    return [name for name in NAMES if name != NODE or _with_node()]


def main(recipients: int, rounds: int, *, quick: bool, save: bool) -> int:
    """Print the tables; return 1 if a ratio has become worse."""
    names = contenders(quick=quick)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{recipients:,} recipients, 50 a call, {rounds} rounds\n")
    took = measure(names, recipients, rounds)
    print("| CPU for a million recipients | seconds | of bare wire |\n|---|---|---|")
    for each in names:
        ratio, _ = _ratio(took, each, BARE)
        print(f"| {each} | {statistics.median(took[each]):.1f} | {ratio:.2f} |")
    before = json.loads(BASELINE.read_text()) if BASELINE.exists() and not save else {}
    print("\n| ratio of CPU | goal | measured | spread | baseline | |\n|---|---|---|---|---|---|")
    found, worse = {}, False
    for one, other, most in GOALS:
        title = f"{one} / {other}"
        ratio, spread = _ratio(took, one, other)
        found[title] = [round(ratio, 3), round(spread, 3)]
        was, was_spread = before.get(title, found[title])
        is_worse = ratio > was + max(spread, was_spread, was * NOISE)
        worse = worse or is_worse
        remarks = [*["missed"] * (ratio > most), *["WORSE THAN BASELINE"] * is_worse]
        print(
            f"| {title} | ≤ {most:g} | {ratio:.2f} | {spread:.2f} | {was:.2f} | "
            f"{', '.join(remarks)} |"
        )
    if save:
        BASELINE.write_text(json.dumps(found, indent=2) + "\n")
    return worse


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    sys.exit(main(given.recipients, given.rounds, quick=given.quick, save=given.save))
