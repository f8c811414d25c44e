"""Run `mailsluice worker` as a process, and drop mailings into its folder."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mailsluice.emulator import AccountSettings, Emulator
from tests.support import forked
from tests.support.waiting import NEVER_S, PATIENCE_S

FORKED = forked.context()

MAILING = """\
[mailing]
from = "news@example.com"
template = "{template}"
[recipients]
path = "list.csv"
"""

WORKER = """\
[folder]
path = "mail"
poll_s = 0.05
hold_s = 0.2
[http]
port = 0
"""

UNANSWERED = f"""\
[messages]
drain_s = 1
[delivery]
timeout_s = {NEVER_S}
"""
"""Nothing but the time for its end makes it give up a call."""


def drop_mailing(folder: Path, name: str, recipients: int, template: str = "welcome") -> None:
    """Put a mailing together and rename it into the inbox."""
    inbox = folder / "mail" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    made = inbox / f".{name}"
    made.mkdir()
    (made / "mailing.toml").write_text(MAILING.format(template=template))
    rows = "".join(f"{name}{n}@example.com\n" for n in range(recipients))
    (made / "list.csv").write_text(f"email\n{rows}")
    made.rename(inbox / name)


class Running:
    """A worker's process."""

    def __init__(self, process: forked.Forked, log: Path) -> None:
        self.process = process
        self.log = log
        self.query = ""

    @property
    def url(self) -> str:
        """Where it serves; empty before it does."""
        found = re.search(r'serving (http://[^"\s]+)', self.log.read_text())
        return found[1] if found else ""

    def get(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.url}{path}{self.query}", method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            body = answer.read().decode()
        return json.loads(body) if body.startswith("{") else body

    def is_ready(self) -> bool:
        """Whether it takes in anything."""
        try:
            return bool(self.get("/readyz") == "ok\n")
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def has_begun(self) -> bool:
        """Return True if it is ready, or SES has held it already: a held worker is not ready."""
        if self.is_ready():
            return True
        try:
            status = self.get("/status")
        except urllib.error.HTTPError as error:  # it wants a token, which the test gives later
            error.close()
            return False
        return bool(status["calls"] and status["why"])

    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.get("/status")["mailings"]}

    def until(self, condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        ends, pause_s = time.monotonic() + within_s, 0.02
        while not condition():
            assert time.monotonic() < ends, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(pause_s)  # another process, which has no event to wait for
            pause_s = min(2 * pause_s, 0.1)


@contextmanager
def worker(  # noqa: PLR0913  # what a test of a worker may choose
    folder: Path,
    emulator: Emulator,
    text: str = WORKER,
    environment: dict[str, str] | None = None,
    program: str = forked.COMMAND,
    *,
    becomes_ready: bool = True,
) -> Iterator[Running]:
    (folder / "worker.toml").write_text(text)
    arguments = ["worker", str(folder / "worker.toml")]
    environment = os.environ | emulator.environment | (environment or {})
    log = folder / "worker.log"
    log.write_text("")
    streams = forked.Streams(stderr=log)
    process = forked.Forked(FORKED, Path.cwd(), environment, arguments, streams, program=program)
    running = Running(process, log)
    try:
        running.until(lambda: running.url != "")
        if becomes_ready:
            running.until(running.has_begun)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) in {0, -signal.SIGKILL}


def command(
    folder: Path, *arguments: str, program: str = forked.COMMAND, **environment: str
) -> forked.Ended:
    name, *others = arguments
    given = [name, "worker.toml", *others]
    return forked.run(FORKED, folder, os.environ | environment, given, program=program)


SLOW = pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=100, daily_max=-1))


def kill(running: Running) -> None:
    running.process.kill()
    running.process.wait()


SLOWER = pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=40, daily_max=-1))


def sent_to(emulator: Emulator, name: str) -> int:
    return sum(address.startswith(name) for address in emulator.ledger.by_address())


def mailing(running: Running, name: str) -> dict[str, Any]:
    """What the status says of it."""
    found = [each for each in running.get("/status")["mailings"] if each["name"] == name]
    return found[0] if found else {"state": None}
