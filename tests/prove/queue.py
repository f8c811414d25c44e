"""Proof 9: `mailsluice worker`, fed by an SQS queue (moto's server) and killed by SIGKILL.

Real processes, real journals, real HTTP to the queue and to the emulated SES; then what was put
into the queue, SES's ledger and the journals side by side.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from subprocess import DEVNULL, Popen
from typing import Any

import orjson

from mailsluice.emulator import (
    AccountSettings,
    CallFault,
    Emulator,
    EmulatorOptions,
    Latency,
    Script,
    emulator_thread,
)
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports import export
from tests.prove.figures import Figure, Proved, Size, at_least, exactly
from tests.support import aws

MESSAGES = {"short": 600, "full": 100_000}
KILLS = {"short": 2, "full": 10}

WAITING_MAX = 500
"""Messages in the queue at once: moto looks at each of them with every call."""

PATIENCE_S = {"short": 120.0, "full": 1_800.0}

SETTINGS = """\
[folder]
path = "mail"
[queue]
url = "{url}"
visibility_s = 5
wait_s = 1
in_hand = 400
[http]
port = 0
[log]
level = "error"
"""

MAILING = {"from": "News <news@example.com>", "template": "welcome"}


class Feed:
    """Puts the messages into the queue, a few hundred at a time."""

    def __init__(self, sqs: Any, url: str, messages: int) -> None:
        self.addresses: set[str] = set()
        self.put = 0
        self.repeated = 0
        """Messages that were put twice, under one key."""
        self.done = threading.Event()
        self._sqs = sqs
        self._url = url
        self._messages = messages

    def run(self) -> None:
        """Until all are in."""
        while self.put < self._messages:
            if aws.left(self._sqs, self._url) > WAITING_MAX:
                time.sleep(0.05)  # other processes, which have no event to wait for
                continue
            for _ in range(10):
                bodies = [self._body(n) for n in range(self.put, self.put + 10)]
                entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
                self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
                self.put += 10
        self.done.set()

    def _body(self, n: int) -> str:
        if n % 50 == 49:
            recipients = [{"to": f"many{n}.{m}@example.com"} for m in range(5)]
            self.addresses |= {each["to"] for each in recipients}
            return orjson.dumps({"mailing": MAILING, "recipients": recipients}).decode()
        if n % 100 == 98:
            n -= 97  # once more what was put some batches ago
            self.repeated += 1
        self.addresses.add(f"one{n}@example.com")
        one = {"mailing": MAILING, "to": f"one{n}@example.com", "data": {"n": n}}
        return orjson.dumps({**one, "key": f"order-{n}"} if n % 100 == 1 else one).decode()


@contextmanager
def working(folder: Path, environment: dict[str, str]) -> Iterator[Popen[bytes]]:
    """A worker, as long as the context lasts."""
    command = [sys.executable, "-m", "mailsluice", "worker", str(folder / "worker.toml")]
    with Popen(command, env=os.environ | environment, stderr=DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def prove(size: Size) -> Proved:
    """Put, kill, let it come to its end, and compare."""
    options = EmulatorOptions(
        account=AccountSettings(rate_per_s=2_000, daily_max=-1),
        latency=Latency(low_s=0.02, high_s=0.1, seed=1),
        faults=Script(seed=1, call=(CallFault(fault="lost", rate=0.005),)),
    )
    with (
        tempfile.TemporaryDirectory(prefix="mailsluice-queue-") as name,
        aws.running() as loopback,
        emulator_thread(options) as emulator,
    ):
        folder = Path(name)
        sqs = loopback.client("sqs")
        url = sqs.create_queue(QueueName="mail")["QueueUrl"]
        (folder / "worker.toml").write_text(SETTINGS.format(url=url))
        feed = Feed(sqs, url, MESSAGES[size])
        feeding = threading.Thread(target=feed.run, daemon=True)
        feeding.start()
        environment = emulator.environment | loopback.environment
        kills = _kill(folder, environment, emulator, KILLS[size], MESSAGES[size])
        code = _finish(folder, environment, feed, PATIENCE_S[size])
        feeding.join(10)
        accepted = emulator.ledger.by_address()
        states: dict[str, Counter[str]] = {}
        for path in (folder / "mail" / "messages").glob("*.journal"):
            with closing(SqliteJournal.read(path)) as journal:
                for line in export.lines(journal):
                    states.setdefault(line.address, Counter())[line.state] += 1
        buried = len(list((folder / "mail" / "quarantine").iterdir()))
        figures = _figures(feed, accepted, states)
        return Proved([
            at_least("messages", MESSAGES[size], feed.put),
            at_least("  of which put twice under one key", 1, feed.repeated),
            at_least("kills of the worker", KILLS[size], kills),
            *figures,
            exactly("messages left in the queue", 0, aws.left(sqs, url)),
            exactly("messages in quarantine", 0, buried),
            exactly("exit code of the last worker, told to stop", 0, code),
        ])  # fmt: skip


def _kill(
    folder: Path, environment: dict[str, str], emulator: Emulator, kills: int, messages: int
) -> int:
    """Let it send a part each time, then kill it in the middle."""
    random = Random(kills)
    for number in range(1, kills + 1):
        share = number / (kills + 1) * random.uniform(0.9, 1.0)
        with working(folder, environment) as process:
            emulator.wait_for(accepted=int(messages * share), timeout_s=300)
            time.sleep(random.uniform(0, 0.1))
            if process.poll() is not None:
                return number - 1
        print(f"queue: kill {number}, {len(emulator.ledger):,} accepted", flush=True)
    return kills


def _finish(folder: Path, environment: dict[str, str], feed: Feed, patience_s: float) -> int:
    """Let it empty the queue, and tell it to stop; its exit code."""
    ends = time.monotonic() + patience_s
    with working(folder, environment) as process:
        while time.monotonic() < ends and process.poll() is None:
            if feed.done.is_set() and aws.left(feed._sqs, feed._url) == 0:
                break
            time.sleep(0.2)  # as above
        process.send_signal(signal.SIGTERM)
        return process.wait(60)


def _figures(feed: Feed, accepted: dict[str, int], states: dict[str, Counter[str]]) -> list[Figure]:
    doubted = {address for address, found in states.items() if found["in_doubt"]}
    sent = {address for address, found in states.items() if found["sent"]}
    return [
        at_least("recipients", feed.put // 2, len(feed.addresses)),
        at_least("  in doubt", 1, len(doubted)),
        exactly("recipients lost", 0, len(feed.addresses - accepted.keys() - doubted)),
        exactly("recipients mailed twice", 0, sum(times > 1 for times in accepted.values())),
        exactly("mails to anybody else", 0, len(accepted.keys() - feed.addresses)),
        exactly("sent by the journal, and not by SES", 0, len(sent - accepted.keys())),
        exactly("sent by SES, and not listed", 0, len(accepted.keys() - sent - doubted)),
    ]
