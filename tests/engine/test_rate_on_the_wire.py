"""The rate as the peer's kernel sees it, and across the runs of one engine."""

import asyncio
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from mailsluice import Engine, Mailing
from mailsluice.dispatch import batching
from mailsluice.journal.memory import MemoryJournal
from mailsluice.model import Account, Answer, EntryResult
from mailsluice.ses import Depart
from tests.support import forked
from tests.support.chance import a_seed
from tests.support.rate import excess

FORKED = forked.context()

MAILING = Mailing(from_address="news@example.com", template="welcome")

RATE = 200

SO_TIMESTAMPNS = 35
"""Linux's number, which Python does not name."""

SKEW = 1e-3
"""By which the kernel's clock of the day may run otherwise than the one that paces."""


class Recorder:
    """A transport that accepts everything, and notes when it may be written."""

    def __init__(self) -> None:
        self.left: list[tuple[float, int]] = []

    async def send_bulk_email(
        self, body: bytes, endpoint_id: str | None, depart: Depart, /
    ) -> Answer:
        assert endpoint_id is None
        count = len(orjson.loads(body)["BulkEmailEntries"])
        await depart()
        self.left.append((asyncio.get_running_loop().time(), count))
        return Answer(results=(EntryResult("SUCCESS", "id"),) * count)

    async def get_account(self) -> Account:
        return Account(rate_per_s=40, daily_max=-1, daily_sent=0)


async def test_a_second_run_of_an_engine_begins_where_the_first_has_left_the_bucket() -> None:
    recorder = Recorder()
    engine = Engine(transport=recorder)
    for _ in range(2):
        engine._journal = MemoryJournal()
        report = await engine.run(MAILING, [f"u{n}@example.com" for n in range(20)])
        assert report.counts.sent == 20
    assert excess(recorder.left, 40, batching.size_for(40)) <= 1e-6


class KernelPeer:
    """SES on loopback, which notes when its kernel has received each call.

    That is within the system call that wrote it, however late this process comes to read it.
    """

    def __init__(self) -> None:
        self.received: list[tuple[float, int]] = []
        self.read: list[tuple[float, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)  # and all it accepts
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self._answer_all(connection)

    def _answer_all(self, connection: socket.socket) -> None:
        while True:
            text, first_at = b"", 0.0
            while not _is_whole(text):
                block, ancillary, *_ = connection.recvmsg(1 << 20, 1024)
                if not block:
                    return
                first_at = first_at or _stamp(ancillary)
                text += block
            head, _, body = text.partition(b"\r\n\r\n")
            connection.sendall(self._answer(head, body, first_at))

    def _answer(self, head: bytes, body: bytes, at: float) -> bytes:
        answer: dict[str, Any]
        if head.startswith(b"GET"):
            quota = {"MaxSendRate": RATE, "Max24HourSend": -1, "SentLast24Hours": 0}
            answer = {"SendQuota": quota, "SendingEnabled": True, "EnforcementStatus": "HEALTHY"}
        else:
            count = len(json.loads(body)["BulkEmailEntries"])
            assert at, "the kernel gives no time"
            self.received.append((at, count))
            self.read.append((time.time(), count))
            results = [{"Status": "SUCCESS", "MessageId": "id"}] * count
            answer = {"BulkEmailEntryResults": results}
        text = json.dumps(answer).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


def _is_whole(text: bytes) -> bool:
    head, end, body = text.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return bool(end) and len(body) >= length


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return float(seconds + nanoseconds / 1e9)
    return 0.0  # it begins to take times a moment after it was asked to


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's times are Linux's")
def test_a_process_that_is_stopped_and_goes_on_is_never_faster_than_the_rate(
    tmp_path: Path,
) -> None:
    random = Random(a_seed())
    (tmp_path / "list.csv").write_text(
        "email\n" + "".join(f"u{n}@example.com\n" for n in range(RATE * 5))
    )
    (tmp_path / "mailing.toml").write_text(
        '[mailing]\nfrom = "a@example.com"\ntemplate = "t"\n[recipients]\npath = "list.csv"\n'
    )
    peer = KernelPeer()
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL_SESV2": peer.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    mailing, said = str(tmp_path / "mailing.toml"), tmp_path / "said"
    process = forked.Forked(
        FORKED, tmp_path, environment, ["send", mailing], forked.Streams(None, said, said)
    )
    while process.poll() is None and not peer.received:
        time.sleep(0.01)
    while process.poll() is None:
        time.sleep(random.uniform(0.05, 0.6))
        process.send_signal(signal.SIGSTOP)
        time.sleep(random.choice([0.01, 0.3, 1.0]))
        process.send_signal(signal.SIGCONT)
    peer.close()
    assert process.returncode == 0, said.read_text()
    assert sum(count for _, count in peer.received) == RATE * 5
    over = {
        name: excess(sorted(calls), RATE * (1 + SKEW), batching.size_for(RATE))
        for name, calls in (("received", peer.received), ("read", peer.read))
    }
    print(over)
    assert over["received"] <= 1
