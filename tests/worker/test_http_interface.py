"""The worker's HTTP interface over raw sockets: hostile requests, idle clients, few descriptors."""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from mailsluice.emulator import Emulator
from mailsluice.worker.http.connections import most_of
from tests.support.waiting import PATIENCE_S
from tests.support.worker import Running, drop_mailing, worker

FEW = """\
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from mailsluice.cli import main
main()
"""

QUICK = """\
from mailsluice.worker.http import connections
connections.MOST = 8
connections.REQUEST_S = 0.5
from mailsluice.cli import main
main()
"""

HOST = "Host: 127.0.0.1\r\n"

NAVIGATED = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"

REQUESTS = {
    "host": ("GET / HTTP/1.1\r\nHost: [\r\n\r\n", {400}),
    "host-bracket": ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", {400}),
    "host-twice": (f"GET / HTTP/1.1\r\n{HOST}Host: evil.example\r\n\r\n", {400}),
    "host-none": ("GET / HTTP/1.0\r\n\r\n", {403}),
    "host-elsewhere": ("GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n", {403}),
    "origin": (f"POST /pause HTTP/1.1\r\n{HOST}Origin: http://[\r\n\r\n", {400}),
    "origin-null": (f"POST /pause HTTP/1.1\r\n{HOST}Origin: null\r\n\r\n", {403}),
    "site": (f"POST /pause HTTP/1.1\r\n{HOST}Sec-Fetch-Site: cross-site\r\n\r\n", {403}),
    "site-read": (f"GET /status HTTP/1.1\r\n{HOST}Sec-Fetch-Site: cross-site\r\n\r\n", {403}),
    "site-frame": (
        f"GET / HTTP/1.1\r\n{HOST}{NAVIGATED}Sec-Fetch-Dest: iframe\r\n\r\n",
        {403},
    ),
    "site-followed": (
        f"GET / HTTP/1.1\r\n{HOST}{NAVIGATED}Sec-Fetch-Dest: document\r\n\r\n",
        {200},
    ),
    "site-own": (f"GET /status HTTP/1.1\r\n{HOST}Sec-Fetch-Site: same-origin\r\n\r\n", {200}),
    "unknown": (f"GET /etc/passwd HTTP/1.1\r\n{HOST}\r\n", {404}),
    "slashes": (f"GET //livez HTTP/1.1\r\n{HOST}\r\n", {404}),
    "dots": (f"GET /../../etc/passwd HTTP/1.1\r\n{HOST}\r\n", {400, 404}),
    "encoded": (f"GET /%2e%2e/%00%ff%zz HTTP/1.1\r\n{HOST}\r\n", {400, 404}),
    "encoded-name": (f"POST /mailings/%0a%1b%c2%9b%2F/pause HTTP/1.1\r\n{HOST}\r\n", {404}),
    "absolute": (f"GET http://[ HTTP/1.1\r\n{HOST}\r\n", {400, 404}),
    "asterisk": (f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n", {400, 404, 405}),
    "connect": (f"CONNECT evil.example:443 HTTP/1.1\r\n{HOST}\r\n", {400, 404, 405}),
    "method": (f"DELETE /status HTTP/1.1\r\n{HOST}\r\n", {405}),
    "get-an-action": (f"GET /pause HTTP/1.1\r\n{HOST}\r\n", {405}),
    "no-method": (f"\x00\x01\x02 / HTTP/1.1\r\n{HOST}\r\n", {400}),
    "no-http": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "long-path": (f"GET /{'a' * 100_000} HTTP/1.1\r\n{HOST}\r\n", {400, 414}),
    "long-header": (f"GET / HTTP/1.1\r\n{HOST}X: {'a' * 100_000}\r\n\r\n", {400, 431}),
    "many-headers": (f"GET / HTTP/1.1\r\n{HOST}" + "A: b\r\n" * 5_000, {400, 431}),
    "huge-body": (f"POST /pause HTTP/1.1\r\n{HOST}Content-Length: 99999999999\r\n\r\n", {413}),
    "length-lies": (f"POST /nothing HTTP/1.1\r\n{HOST}Content-Length: 500\r\n\r\nabc", {404}),
    "length-negative": (f"POST /pause HTTP/1.1\r\n{HOST}Content-Length: -1\r\n\r\n", {400}),
    "length-twice": (
        f"POST /pause HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        {400},
    ),
    "chunks": (
        f"POST /nothing HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        {400, 404},
    ),
    "no-gzip": (
        f"POST /nothing HTTP/1.1\r\n{HOST}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        {404},
    ),
    "token": (f"GET /status?token=%ed%a0%80 HTTP/1.1\r\n{HOST}\r\n", {200}),
    "head": (f"HEAD /status HTTP/1.1\r\n{HOST}\r\n", {200}),
    "head-events": (f"HEAD /events HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n", {200}),
    "expect": (f"POST /nothing HTTP/1.1\r\n{HOST}Expect: miracles\r\n\r\n", {404, 417}),
}
"""What is sent, and which statuses may answer it."""


def connected(running: Running) -> socket.socket:
    host, _, port = running.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def status_of(running: Running, request: str) -> int:
    """Of the answer; 0 where the connection is closed without one."""
    with connected(running) as client:
        client.sendall(request.encode("latin-1"))
        said = b""
        while b"\r\n" not in said and (more := client.recv(4096)):
            said += more
    found = re.match(rb"HTTP/1\.[01] ([0-9]{3}) ", said)
    return int(found[1]) if found else 0


@contextmanager
def idle(running: Running, clients: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        made = [stack.enter_context(connected(running)) for _ in range(clients)]
        for each in made:
            each.sendall(said)
        yield made


def readable(client: socket.socket) -> bool:
    """Whether something has come, or the end."""
    return bool(select.select([client], [], [], 0)[0])


def is_closed(client: socket.socket) -> bool:
    """Wait for the end of the connection, or of the test's patience."""
    try:
        while client.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_hostile_requests_are_answered_and_leave_no_traceback(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    with worker(tmp_path, ses_emulator) as running:
        answers = {name: status_of(running, request) for name, (request, _) in REQUESTS.items()}
        wrong = {name: said for name, said in answers.items() if said not in REQUESTS[name][1]}
        assert wrong == {}
        assert not running.get("/status")["paused"]
        with connected(running) as tab:  # which is closed in the middle of its events
            tab.sendall(f"GET /events HTTP/1.1\r\n{HOST}\r\n".encode())
            assert tab.recv(4096)
        with connected(running) as half:
            half.sendall(f"GET /status HTTP/1.1\r\n{HOST}".encode())
        time.sleep(2.5)  # two more events, for which nobody is there
        assert running.get("/livez") == "ok\n"
    log = running.log.read_text()
    assert "Traceback" not in log
    assert {json.loads(line)["level"] for line in log.splitlines()} == {"INFO"}


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})
def test_idle_connections_leave_descriptors_for_work(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    with worker(tmp_path, ses_emulator, program=FEW) as running, idle(running, 300):
        drop_mailing(tmp_path, "one", 500)
        running.until(lambda: running.states() == {"one": "finished"})
        assert running.get("/livez") == "ok\n"
    assert "Traceback" not in running.log.read_text()
    assert len(ses_emulator.ledger) == 500


def test_a_request_must_be_there_in_time_however_it_trickles_in(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    with worker(tmp_path, ses_emulator, program=QUICK) as running:
        slow = f"GET /status HTTP/1.1\r\n{HOST}X: ".encode()
        with connected(running) as trickling, idle(running, 3, slow) as waiting:
            trickling.sendall(slow)
            with suppress(ConnectionError):
                while not readable(trickling):
                    trickling.sendall(b"a")
                    time.sleep(0.01)  # it trickles
            assert is_closed(trickling)
            assert all(map(is_closed, waiting))
        with connected(running) as kept:
            for _ in range(2):  # one connection, request after request
                kept.sendall(f"GET /livez HTTP/1.1\r\n{HOST}\r\n".encode())
                assert b"200 OK" in kept.recv(4096)
            assert is_closed(kept)


def test_pages_leave_room_for_probes_and_operators(ses_emulator: Emulator, tmp_path: Path) -> None:
    events = f"GET /events HTTP/1.1\r\n{HOST}\r\n".encode()
    with worker(tmp_path, ses_emulator, program=QUICK) as running:
        with idle(running, 4, events) as pages:
            assert all(b"200 OK" in page.recv(4096) for page in pages)
            assert status_of(running, events.decode()) == 503
            assert running.get("/livez") == "ok\n"
            assert all(page.recv(4096) for page in pages), "an open page is not idle"
        running.until(lambda: status_of(running, events.decode()) == 200)


@pytest.mark.parametrize(
    ("descriptors", "most"), [(-1, 64), (1_048_576, 64), (256, 64), (128, 32), (4, 2)]
)
def test_connections_take_a_quarter_of_the_descriptors_at_most(descriptors: int, most: int) -> None:
    assert most_of(descriptors) == most


def test_other_sites_pages_may_not_operate_it(ses_emulator: Emulator, tmp_path: Path) -> None:
    with worker(tmp_path, ses_emulator) as running:
        for name, value in (
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Host", "evil.example:8025"),
        ):
            request = urllib.request.Request(
                f"{running.url}/pause", method="POST", headers={name: value}
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=PATIENCE_S)
            assert refused.value.code == 403
            refused.value.close()
        assert not running.get("/status")["paused"]


def test_an_open_page_does_not_keep_a_worker(ses_emulator: Emulator, tmp_path: Path) -> None:
    with worker(tmp_path, ses_emulator) as running:
        with urllib.request.urlopen(f"{running.url}/events", timeout=PATIENCE_S) as events:
            assert events.readline().startswith(b"data: ")
            running.process.send_signal(signal.SIGTERM)
            events.read()  # to its end, and not broken off
        assert running.process.wait(PATIENCE_S) == 0
