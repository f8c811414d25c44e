"""Proof 10: `mailsluice worker` for an hour under a mixed load: its memory and its descriptors.

Messages to one and to many, malformed ones, mailings dropped into the folder; SES throttles and
loses answers; every now and then an operator pauses and resumes it, and has it read its settings.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any, NamedTuple

import orjson
import psutil

from mailsluice.emulator import (
    AccountSettings,
    CallFault,
    EmulatorOptions,
    Latency,
    Script,
    emulator_thread,
)
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports import export
from tests.prove.figures import Figure, Proved, Size, at_least, exactly, told
from tests.support import aws

LASTS_S = {"short": 6.0, "full": 3_600.0}

MAILINGS_EVERY_S = {"short": 1.0, "full": 20.0}
"""The hundred that have ended and are still shown are complete before the warming up is over."""
MAILINGS_AT_ONCE = {"short": 1, "full": 3}
"""As many as may be sent side by side, so that each time shows the most memory."""
MAILING_ROWS = {"short": 200, "full": 800}

OPERATED_EVERY = 2
"""It is paused at every second of those times, while these mailings are being sent."""
OPERATED_AFTER_S = 1.0

PAUSED_S = {"short": 0.5, "full": 3.0}
"""In full: as many messages come as may be in hand. All that can coincide does so at each pause, so
that the most memory is in use again and again, and not by chance late in the hour."""

MESSAGES_A_BATCH = 10
BATCH_EVERY_S = 0.2
"""50 messages a second."""

SAMPLE_EVERY_S = 2.0

SLOPE_MAX = 2.0
"""Megabytes an hour: between two samples it is more."""

RETENTION_S = 300

JOURNAL_ROWS = {"short": 100, "full": 20_000}
"""The next journal of messages is begun every five minutes, and not after half an hour."""

WORKER = """\
from mailsluice.worker.queue import journals as segments
segments.ROWS_MAX = {rows}
from mailsluice.cli import main
main()
"""

AS_DEPLOYED = {"MALLOC_ARENA_MAX": "1"}
"""As in configs/."""

SETTINGS = """\
[folder]
path = "mail"
poll_s = 0.5
at_once = 3
[queue]
url = "{url}"
in_hand = 100
visibility_s = 30
wait_s = 1
[http]
port = {port}
[log]
level = "error"
"""

MAILING = {"from": "News <news@example.com>", "template": "welcome"}
MAILING_FILE = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"
[recipients]
path = "list.csv"
"""


class Sample(NamedTuple):
    """One look at the process."""

    at_s: float
    rss_mb: float
    descriptors: int


class Load:
    """All that is put before the worker; each of its loops is a thread."""

    def __init__(self, folder: Path, sqs: Any, url: str, http: str, size: Size) -> None:
        self.addresses: set[str] = set()
        self.messages = 0
        self.malformed = 0
        self.mailings = 0
        self.operated = 0
        self._folder = folder
        self._sqs = sqs
        self._url = url
        self._http = http
        self._size: Size = size
        self._over = threading.Event()

    @contextmanager
    def running(self, process: Popen[bytes]) -> Iterator[None]:
        """As long as the context lasts."""
        with ThreadPoolExecutor(2) as pool:
            loops = [
                pool.submit(self._put_messages),
                pool.submit(self._drop_mailings_and_operate, process),
            ]
            try:
                yield
            finally:
                self._over.set()
            for loop in loops:
                loop.result()  # or the load has ended before its time

    def get(self, path: str, method: str = "GET") -> bytes:
        """What the worker says."""
        request = urllib.request.Request(f"{self._http}{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: bytes = answer.read()
        return body

    def _put_messages(self) -> None:
        while not self._over.wait(BATCH_EVERY_S):
            bodies = [self._body(self.messages + n) for n in range(MESSAGES_A_BATCH)]
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
            self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
            self.messages += MESSAGES_A_BATCH

    def _body(self, n: int) -> str:
        if n % 100 == 50:
            self.malformed += 1
            return "{"
        if n % 50 == 49:
            recipients = [{"to": f"many{n}.{m}@example.com"} for m in range(20)]
            self.addresses |= {each["to"] for each in recipients}
            body = {"mailing": MAILING, "recipients": recipients, "lane": "bulk"}
            return orjson.dumps(body).decode()
        self.addresses.add(f"one{n}@example.com")
        # Now and then a mailing of its own, as from senders who make one for each message.
        mailing = MAILING | ({"data": {"n": n}} if n % 20 == 0 else {})
        return orjson.dumps({"mailing": mailing, "to": f"one{n}@example.com"}).decode()

    def _drop_mailings_and_operate(self, process: Popen[bytes]) -> None:
        inbox = self._folder / "mail" / "inbox"
        for number in count(1):
            if self._over.wait(MAILINGS_EVERY_S[self._size]):
                return
            for _ in range(MAILINGS_AT_ONCE[self._size]):
                self._drop(inbox)
            if number % OPERATED_EVERY == 0 and not self._over.wait(OPERATED_AFTER_S):
                self._operate(process)

    def _drop(self, inbox: Path) -> None:
        number = self.mailings
        made = inbox / f".mailing{number}"
        made.mkdir()
        (made / "mailing.toml").write_text(MAILING_FILE)
        rows = [f"row{number}.{n}@example.com" for n in range(MAILING_ROWS[self._size])]
        self.addresses |= set(rows)
        (made / "list.csv").write_text("\n".join(["email", *rows, ""]))
        made.rename(inbox / f"mailing{number}")
        self.mailings += 1

    def _operate(self, process: Popen[bytes]) -> None:
        self.get("/metrics")
        self.get("/pause", "POST")
        process.send_signal(signal.SIGHUP)
        self._over.wait(PAUSED_S[self._size])
        self.get("/resume", "POST")
        self.operated += 1


def prove(size: Size) -> Proved:
    """Put the load before it, look at it, and count in the end."""
    options = EmulatorOptions(
        account=AccountSettings(rate_per_s=500, daily_max=-1),
        latency=Latency(low_s=0.02, high_s=0.1, seed=1),
        faults=Script(
            seed=1,
            call=(
                CallFault(fault="lost", rate=0.001),
                CallFault(fault="error", code="TooManyRequestsException", rate=0.005),
            ),
        ),
    )
    with (
        tempfile.TemporaryDirectory(prefix="mailsluice-soak-") as name,
        aws.running() as loopback,
        emulator_thread(options) as emulator,
    ):
        folder = Path(name)
        sqs = loopback.client("sqs")
        attributes = {"MessageRetentionPeriod": str(RETENTION_S)}
        url = sqs.create_queue(QueueName="mail", Attributes=attributes)["QueueUrl"]
        port = aws.free_port()
        (folder / "worker.toml").write_text(SETTINGS.format(url=url, port=port))
        program = WORKER.format(rows=JOURNAL_ROWS[size])
        command = [sys.executable, "-c", program, "worker", str(folder / "worker.toml")]
        environment = os.environ | AS_DEPLOYED | emulator.environment | loopback.environment
        load = Load(folder, sqs, url, f"http://127.0.0.1:{port}", size)
        with Popen(command, env=environment, stderr=DEVNULL) as process:
            try:
                _wait_until_at_rest(load, process, 60)
                before = _files(process.pid)
                samples = _samples(load, process, LASTS_S[size])
                drained = _wait_until_at_rest(load, process, 120)
                after = _files(process.pid)
                process.send_signal(signal.SIGTERM)
                code = process.wait(60)
            finally:
                process.kill()
        accepted = emulator.ledger.by_address()
        lost = load.addresses - accepted.keys() - _doubted(folder)
        twice = sum(times > 1 for times in accepted.values())
        figures = [
            told("lasted", f"{samples[-1].at_s / 60:.1f} min"),
            at_least("messages", _due(size, BATCH_EVERY_S) * MESSAGES_A_BATCH, load.messages),
            at_least("  of which malformed", 1, load.malformed),
            at_least(
                f"mailings of {MAILING_ROWS[size]:,}",
                _due(size, MAILINGS_EVERY_S[size]) * MAILINGS_AT_ONCE[size],
                load.mailings,
            ),
            at_least(
                "paused, resumed, settings read again",
                _due(size, MAILINGS_EVERY_S[size] * OPERATED_EVERY),
                load.operated,
            ),
            *_of_samples(samples, size),
            exactly("files open at rest, more than before", 0, after - before),
            exactly("recipients lost", 0, len(lost)),
            exactly("recipients mailed twice", 0, twice),
            exactly("malformed messages not put aside", 0, load.malformed - _buried(folder)),
            exactly("work left when the load had ended", 0, int(not drained)),
            exactly("exit code, told to stop", 0, code),
        ]
        return Proved(figures)


def _due(size: Size, every_s: float) -> int:
    """So often at least what is to happen so often; each takes some time itself."""
    return int(LASTS_S[size] / every_s / 2)


def _samples(load: Load, process: Popen[bytes], lasts_s: float) -> list[Sample]:
    seen = psutil.Process(process.pid)
    samples: list[Sample] = []
    began = time.monotonic()
    with load.running(process):
        while (at_s := time.monotonic() - began) < lasts_s:
            samples.append(Sample(at_s, seen.memory_info().rss / 1e6, seen.num_fds()))
            if len(samples) % 30 == 0:
                print(f"soak: {samples[-1]}, {load.messages:,} messages", flush=True)
            time.sleep(SAMPLE_EVERY_S)
    return samples


def _of_samples(samples: list[Sample], size: Size) -> list[Figure]:
    """The first quarter is for warming up."""
    warm = samples[len(samples) // 4 :]
    slope, _ = statistics.linear_regression(
        [each.at_s / 3_600 for each in warm], [each.rss_mb for each in warm]
    )
    half = len(warm) // 2
    # A mailing that is sent has some of its own, about half of the time: what is lost raises the
    # fewest, and nothing else does.
    early = min(each.descriptors for each in warm[:half])
    late = min(each.descriptors for each in warm[half:])
    figures = [
        told("memory, median", f"{statistics.median(each.rss_mb for each in warm):.0f} MB"),
        told("descriptors, most", str(max(each.descriptors for each in samples))),
    ]
    if size == "full":
        figures += [
            Figure(
                "memory, slope",
                f"≤ {SLOPE_MAX:g} MB/h",
                f"{slope:+.1f} MB/h",
                abs(slope) <= SLOPE_MAX,
            ),
            Figure(
                "descriptors, fewest in the last half",
                f"≤ {early} + 2, in the first",
                f"{late}",
                late <= early + 2,  # connections come and go
            ),
        ]
    return figures


def _files(pid: int) -> int:
    """Descriptors that are no sockets: those come and go."""
    files = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            files += not str(each.readlink()).startswith("socket:")
    return files


def _wait_until_at_rest(load: Load, process: Popen[bytes], patience_s: float) -> bool:
    ends = time.monotonic() + patience_s
    while time.monotonic() < ends:
        assert process.poll() is None, "the worker has ended"
        if _at_rest(load):
            return True
        time.sleep(0.2)  # another process, which has no event to wait for
    return False


def _at_rest(load: Load) -> bool:
    try:
        if load.get("/readyz") != b"ok\n":
            return False
    except OSError:
        return False
    # In the order in which a mailing goes through them: none is missed between two looks.
    folders = [load._folder / "mail" / name for name in ("inbox", "working")]
    if any(list(each.iterdir()) for each in folders) or aws.left(load._sqs, load._url):
        return False
    status = json.loads(load.get("/status"))
    return not status["queue"]["in_hand"]


def _doubted(folder: Path) -> set[str]:
    found = set()
    for path in (folder / "mail").rglob("*.journal"):
        with closing(SqliteJournal.read(path)) as journal:
            lines = export.lines(journal)
            found |= {each.address for each in lines if each.state == "in_doubt"}
    return found


def _buried(folder: Path) -> int:
    return len(list((folder / "mail" / "quarantine").iterdir()))
