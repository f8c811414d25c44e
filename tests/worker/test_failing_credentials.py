"""A worker whose credentials fail, in every way that they can, rejects and deletes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mailsluice.emulator import AccountSettings, CallFault, Emulator
from tests.prove.wire import HANG
from tests.support.aws import Aws
from tests.support.peer import Exchange, listening
from tests.support.sqs import MAILING, QueueFixture
from tests.support.waiting import PATIENCE_S
from tests.support.worker import Running, drop_mailing, worker

SETTINGS = """\
[folder]
path = "mail"
poll_s = 0.05
hold_s = 0.2
[quota]
refresh_s = 1
[queue]
url = "{url}"
wait_s = 1
hold_s = 1
[http]
port = 0
"""

STALE_S, SHORT_S = -10, 61
"""Until credentials end: stale already, and so soon that each call obtains new ones."""

pytestmark = pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=5_000, daily_max=-1))


def error(code: str, message: str) -> str:
    """An error of STS."""
    said = f"<Code>{code}</Code><Message>{message}</Message>"
    return f"<ErrorResponse><Error>{said}</Error></ErrorResponse>"


class Provider:
    """Gives the emulator's credentials over HTTP, as STS and as a container's endpoint do."""

    ERRORS: ClassVar[dict[str, tuple[int, str]]] = {
        "InvalidIdentityToken": (
            400,
            error("InvalidIdentityToken", "Couldn't retrieve verification key"),
        ),
        "Throttling": (
            400,
            error("Throttling", "Rate exceeded"),
        ),
        "500": (500, "<ErrorResponse/>"),
        "a proxy's 407": (407, "<html><h1>Proxy Authentication Required</h1></html>"),
        "a firewall's 200": (200, "<html>Blocked by policy</html>"),
        "nothing": (200, ""),
        "a list": (200, "[1, 2]"),
    }

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.failing: str | None = None
        """A key of `ERRORS`, or "stale"."""

    def answer(self, *, as_json: bool) -> tuple[int, str]:
        if self.failing in self.ERRORS:
            return self.ERRORS[self.failing]
        given = self.credentials(STALE_S if self.failing == "stale" else SHORT_S)
        if as_json:
            return 200, json.dumps(given)
        fields = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
        fields = fields.replace("Token>", "SessionToken>")
        name = "AssumeRoleWithWebIdentity"
        return 200, (
            f"<{name}Response><{name}Result><Credentials>{fields}</Credentials></{name}Result>"
            f"</{name}Response>"
        )

    def credentials(self, valid_s: float) -> dict[str, Any]:
        return {
            "AccessKeyId": self.environment["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": self.environment["AWS_SECRET_ACCESS_KEY"],
            "Token": "",  # the emulator knows none
            "Expiration": f"{datetime.now(UTC) + timedelta(seconds=valid_s):%Y-%m-%dT%H:%M:%SZ}",
        }

    @contextmanager
    def serving(self) -> Iterator[str]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._answer(as_json=False)

            def do_GET(self) -> None:
                self._answer(as_json=True)

            def _answer(self, *, as_json: bool) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, text = provider.answer(as_json=as_json)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()


class Held:
    """A worker on a queue with a dead-letter queue, whose credentials fail and are mended."""

    def __init__(self, running: Running, fed: QueueFixture, dead: QueueFixture) -> None:
        self.running = running
        self.fed = fed
        self.dead = dead
        self.put = 0

    def message(self, number: int) -> None:
        for _ in range(number):
            self.put += 1
            self.fed.put({"mailing": MAILING, "to": f"one{self.put}@example.com"})

    def is_held(self) -> bool:
        status = self.running.get("/status")
        return not status["ready"] and not self.running.is_ready() and bool(status["why"])

    def check_nothing_is_lost(self) -> None:
        """What was put is in the queue, or was sent; nothing is rejected, failed or in doubt."""
        counts = self.running.get("/status")["queue"]["counts"]
        assert {name: n for name, n in counts.items() if n} in ({}, {"sent": counts["sent"]})
        assert self.fed.left() >= self.put - counts["sent"]
        assert self.dead.left() == 0

    def check_all_is_sent(self) -> None:
        """Wait until everything was sent, once each, and compare the ledgers."""
        self.running.until(self.running.is_ready)
        self.running.until(lambda: self.fed.left() == 0)
        counts = self.running.get("/status")["queue"]["counts"]
        assert {name: n for name, n in counts.items() if n} == {"sent": self.put}
        accepted = {f"one{n}@example.com": 1 for n in range(1, self.put + 1)}
        assert self.fed.emulator.ledger.by_address() == accepted
        assert self.dead.left() == 0
        assert list((self.fed.folder / "mail/quarantine").iterdir()) == []


@contextmanager
def working(
    aws: Aws, emulator: Emulator, folder: Path, environment: dict[str, str]
) -> Iterator[Held]:
    dead = QueueFixture(aws, emulator, folder)
    fed = QueueFixture(aws, emulator, folder, dead_letters=dead)
    own = {name: "" for name in emulator.environment if "ACCESS" in name}
    changed = {**own, **aws.environment, "AWS_MAX_ATTEMPTS": "1", **environment}
    text = SETTINGS.format(url=fed.url)
    with worker(folder, emulator, text, changed) as running:
        held = Held(running, fed, dead)
        held.message(2)
        held.check_all_is_sent()
        yield held


def test_an_sts_that_fails_holds_the_worker(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    provider = Provider(ses_emulator.environment)
    token = tmp_path / "token"
    token.write_text("token")
    with provider.serving() as url:
        environment = {
            "AWS_ENDPOINT_URL_STS": url,
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/mailer",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        }
        with working(aws, ses_emulator, tmp_path, environment) as held:
            for failing in ("InvalidIdentityToken", "Throttling", "500", "a proxy's 407", "stale"):
                provider.failing = failing
                held.running.until(held.is_held)
                held.message(2)
                held.check_nothing_is_lost()
                provider.failing = None
                held.check_all_is_sent()
            token.unlink()
            held.running.until(held.is_held)
            held.message(2)
            held.check_nothing_is_lost()
            token.write_text("token")
            held.check_all_is_sent()


def test_a_container_endpoint_that_fails_holds_the_worker(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    provider = Provider(ses_emulator.environment)
    with provider.serving() as url:
        environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials"}
        with working(aws, ses_emulator, tmp_path, environment) as held:
            for failing in ("500", "a firewall's 200", "a list", "stale"):
                provider.failing = failing
                held.running.until(held.is_held)
                held.message(2)
                held.check_nothing_is_lost()
                provider.failing = None
                held.check_all_is_sent()


def test_a_credential_process_that_fails_holds_the_worker(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    provider = Provider(ses_emulator.environment)
    printed = tmp_path / "printed.json"

    def prints(text: str) -> None:
        new = printed.with_suffix(".new")
        new.write_text(text)
        new.rename(printed)

    def credentials(valid_s: float, **changes: object) -> str:
        return json.dumps({"Version": 1, **provider.credentials(valid_s), **changes})

    def good() -> str:
        return credentials(SHORT_S)

    (tmp_path / "aws.ini").write_text(f"[default]\ncredential_process = /bin/cat {printed}\n")
    prints(good())
    environment = {"AWS_CONFIG_FILE": str(tmp_path / "aws.ini")}
    with working(aws, ses_emulator, tmp_path, environment) as held:
        for bad in ("no JSON", "[]", "{}", credentials(STALE_S), credentials(SHORT_S, Version=9)):
            prints(bad)
            held.running.until(held.is_held)
            held.message(2)
            held.check_nothing_is_lost()
            prints(good())
            held.check_all_is_sent()
        printed.unlink()
        held.running.until(held.is_held)
        prints(good())
        held.check_all_is_sent()


def test_a_message_stays_in_hand_while_ses_refuses_the_credentials_until_keys_are_rotated(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.ini"

    def write(secret: str) -> None:
        keys.write_text(
            f"[default]\naws_access_key_id = {ses_emulator.environment['AWS_ACCESS_KEY_ID']}\n"
            f"aws_secret_access_key = {secret}\n"
        )

    write(ses_emulator.environment["AWS_SECRET_ACCESS_KEY"])
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(keys)}
    with working(aws, ses_emulator, tmp_path, environment) as held:
        write("AnotherSecretThatIsNotTheOneOfTheAccount")
        # SES says once that they have expired: they are looked up, and are others now.
        ses_emulator.faults.add(CallFault(fault="error", code="ExpiredTokenException", times=1))
        held.message(1)
        held.running.until(held.is_held)
        held.check_nothing_is_lost()
        assert held.running.get("/status")["queue"]["in_hand"] == 1
        write(ses_emulator.environment["AWS_SECRET_ACCESS_KEY"])
        held.check_all_is_sent()
        held.running.until(lambda: "sending goes on" in held.running.log.read_text())
        log = [json.loads(line) for line in held.running.log.read_text().splitlines()]
    levels = [each["level"] for each in log if "nothing is sent" in each["message"]]
    assert levels == ["WARNING"]
    assert [each["level"] for each in log if each["message"] == "sending goes on"] == ["INFO"]


class Firewall:
    """Stands before the emulator: hands requests on, or answers mails with a page of its own."""

    def __init__(self, url: str) -> None:
        self._host = url.removeprefix("http://")
        self.status: int | None = None
        """That of the page; None: the request is handed on."""

    def __call__(self, exchange: Exchange) -> None:
        if not exchange.read_head():
            return
        exchange.read_body()
        request, *headers = exchange.head.decode().strip().split("\r\n")
        method, path, _ = request.split(" ")
        if self.status and method == "POST":
            exchange.answer(self.status, b"<html><h1>Blocked by policy</h1></html>")
            return
        with closing(HTTPConnection(self._host)) as onward:
            onward.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for header in headers:
                onward.putheader(*header.split(": ", 1))
            onward.endheaders(exchange.body or None)
            answer = onward.getresponse()
            exchange.answer(answer.status, answer.read(), answer.getheader("x-amzn-ErrorType"))


@pytest.mark.parametrize("status", [400, 403, 407, 413, 451])
def test_a_page_of_a_firewall_in_place_of_sess_answer_rejects_no_message(
    aws: Aws, ses_emulator: Emulator, tmp_path: Path, status: int
) -> None:
    firewall = Firewall(ses_emulator.url)
    with listening(firewall) as peer:
        endpoint = f"http://127.0.0.1:{peer.port}"
        environment = {**ses_emulator.environment, "AWS_ENDPOINT_URL_SESV2": endpoint}
        with working(aws, ses_emulator, tmp_path, environment) as held:
            firewall.status = status
            held.message(1)
            held.running.until(lambda: peer.seen > 2)
            held.check_nothing_is_lost()
            firewall.status = None
            held.check_all_is_sent()


def test_a_worker_beside_an_sts_that_never_answers_obeys_sigterm(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("token")
    with listening(HANG) as sts:
        environment = {
            **{name: "" for name in ses_emulator.environment if "ACCESS" in name},
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{sts.port}",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/mailer",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        }
        drop_mailing(tmp_path, "news", 5)
        with worker(
            tmp_path, ses_emulator, environment=environment, becomes_ready=False
        ) as running:
            assert sts.wait_for(1, PATIENCE_S)
            running.process.terminate()
            assert running.process.wait(PATIENCE_S) == 0
    assert len(ses_emulator.ledger) == 0
    assert (tmp_path / "mail/inbox/news").is_dir() or (tmp_path / "mail/working/news").is_dir()
