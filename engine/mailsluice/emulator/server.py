"""The emulator: a server in this event loop.

>>> async with Emulator(EmulatorOptions(account=AccountSettings(rate_per_s=100))) as emulator:
...     await send_something_to(emulator.url)
...     assert emulator.ledger.duplicates() == {}
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import orjson

from mailsluice.emulator import control, exchange
from mailsluice.emulator.events.pump import Pump
from mailsluice.emulator.exchange import Request
from mailsluice.emulator.http import HttpServer
from mailsluice.emulator.options import EmulatorOptions
from mailsluice.emulator.service import Reply, Service, ServiceStatistics
from mailsluice.emulator.signature import Credentials
from mailsluice.model.errors import ConfigurationError
from mailsluice.model.shown import numbered, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mailsluice.emulator.account import Account
    from mailsluice.emulator.faults import Faults
    from mailsluice.emulator.ledger import Ledger

BACKLOG_CONNECTIONS = 4096
"""Connections that wait to be accepted."""

REGION = "us-east-1"
"""The region that clients sign for if the options name none."""

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorStatistics(ServiceStatistics):
    """The service's statistics, and the number of connections."""

    connections: int
    """Open connections."""
    connections_total: int


class Emulator:
    """An SES v2 endpoint on loopback; an asynchronous context manager.

    Its methods may be called from any thread. Raises ConfigurationError if the ledger's file
    cannot be opened, and on entry if the port is taken.
    """

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.options = options or EmulatorOptions()
        self._service = Service(self.options)
        self._pump: Pump | None = None
        self._http: HttpServer | None = None
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._port = 0
        self._run = secrets.token_hex(8)
        self._request_number = 0
        self._served = threading.Condition()

    def __repr__(self) -> str:
        calls = numbered(self.account.calls, "calls")
        return shown(self, self.url, calls, numbered(len(self.ledger), "accepted"))

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def _start(self) -> None:
        assert self._loop is not None
        options = self.options
        if (publisher := self._service.publisher) is not None:
            region = options.region or REGION
            credentials = options.credentials or Credentials()
            self._pump = Pump(publisher, credentials, region, self._notify)
            await self._pump.start()
        self._http = HttpServer(self)
        try:
            self._server = await self._loop.create_server(
                self._http, options.host, options.port, backlog=BACKLOG_CONNECTIONS
            )
        except OSError as error:
            raise ConfigurationError(
                f"{options.host}:{options.port}: cannot listen: {error.strerror}; choose another "
                "port, or 0 for any free one"
            ) from error
        self._port = self._server.sockets[0].getsockname()[1]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
            if self._http is not None:
                await self._http.abort()
            await self._server.wait_closed()
        if self._pump is not None:
            await self._pump.stop()
        self.ledger.close()

    @property
    def port(self) -> int:
        """The port of the server."""
        return self._port

    @property
    def url(self) -> str:
        """The URL for `endpoint_url` or AWS_ENDPOINT_URL_SESV2."""
        return f"http://{self.options.host}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which an AWS SDK sends here, and nowhere else."""
        return environment(self.options, self.url)

    @property
    def account(self) -> Account:
        """The account; change its settings with `change_account`."""
        return self._service.account

    @property
    def ledger(self) -> Ledger:
        """The ledger of all accepted entries."""
        return self._service.ledger

    @property
    def faults(self) -> Faults:
        """The fault script."""
        return self._service.faults

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The latest well-formed SendBulkEmail requests, oldest first."""
        return [orjson.loads(body) for body in list(self._service.bodies)]

    def events(self, after: int = 0) -> list[bytes]:
        """Return the events published after the first `after`, as they were wrapped."""
        publisher = self._service.publisher
        return self._in_loop(lambda: publisher.after(after) if publisher is not None else [])

    def publish_all(self) -> None:
        """Publish at once what is planned for later; `wait_for` says when it is there."""

        def release() -> None:
            if self._service.publisher is not None and self._pump is not None:
                self._service.publisher.release()
                self._pump.wake()

        self._in_loop(release)

    def change_account(self, **changes: Any) -> None:
        """Change settings of the account from now on; see `AccountSettings`."""
        self._in_loop(lambda: self.account.change(time.monotonic(), **changes))

    def change_resources(self, **changes: Any) -> None:
        """Change the account's resources from now on; see `Resources`."""
        self._in_loop(lambda: self._service.change_resources(changes))

    def statistics(self) -> EmulatorStatistics:
        """Return the totals so far."""
        return self._in_loop(self._statistics)

    def wait_for(  # noqa: PLR0913  # what may be waited for
        self,
        *,
        accepted: int = 0,
        calls: int = 0,
        get_account_calls: int = 0,
        reading_calls: int = 0,
        events: int = 0,
        timeout_s: float,
    ) -> bool:
        """Block the calling thread until so many have come. Return False if time runs out first.

        `accepted` counts entries in the ledger, `calls` those of SendBulkEmail, `reading_calls`
        those of all operations that read what the account has; `events` those that have been
        written to the queue and the file.
        """
        service = self._service
        with self._served:
            return self._served.wait_for(
                lambda: (
                    len(service.ledger) >= accepted
                    and service.account.calls >= calls
                    and service.get_account_calls >= get_account_calls
                    and service.readings.total() >= reading_calls
                    and (not events or self._written >= events)
                ),
                timeout_s,
            )

    @property
    def _written(self) -> int:
        return self._pump.written if self._pump is not None else 0

    def _notify(self) -> None:
        with self._served:
            self._served.notify_all()

    def handle(self, request: Request) -> Reply:
        """Answer one request; see `http.Handler`."""
        try:
            return self._handle(request)
        finally:
            if self._pump is not None:
                self._pump.wake()
            self._notify()

    def _handle(self, request: Request) -> Reply:
        now = time.monotonic()
        if request.target.startswith(control.PREFIX):
            if request.target == control.PREFIX + "statistics":
                return Reply(exchange.document(self._statistics()))
            return control.handle(self._service, request, now)
        try:
            return self._service.handle(request, now, time.time())
        except OSError as error:
            _log.error("emulator.ledger_failed error=%s", error)
            return Reply(exchange.refusal("InternalFailure", "The ledger cannot be written."))

    def request_id(self) -> str:
        """Return a new `x-amzn-RequestId`; see `http.Handler`."""
        self._request_number += 1
        run = self._run
        return f"{run[:8]}-{run[8:12]}-4{run[12:15]}-8{run[13:16]}-{self._request_number:012x}"

    def _statistics(self) -> EmulatorStatistics:
        inner = self._service.statistics(time.monotonic())
        fields = {field.name: getattr(inner, field.name) for field in dataclasses.fields(inner)}
        return EmulatorStatistics(
            **fields,
            connections=len(self._http.connections) if self._http else 0,
            connections_total=self._http.accepted if self._http else 0,
        )

    def _in_loop(self, call: Callable[[], Result]) -> Result:
        """Run a function in the server's loop, never between two steps of a request."""
        if self._loop is None or not self._loop.is_running() or self._loop is _running_loop():
            return call()
        future: concurrent.futures.Future[Result] = concurrent.futures.Future()

        def settle() -> None:
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is the caller's, and raised there
                future.set_exception(error)

        self._loop.call_soon_threadsafe(settle)
        return future.result()


def environment(options: EmulatorOptions, url: str) -> dict[str, str]:
    """Return the environment in which an AWS SDK sends to this URL, and nowhere else."""
    credentials = options.credentials
    region = options.region or REGION
    names = {
        "AWS_ENDPOINT_URL_SESV2": url,
        "AWS_ACCESS_KEY_ID": credentials.access_key_id if credentials else "anyone",
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key if credentials else "anything",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": options.host,
    }
    if credentials and credentials.session_token:
        names["AWS_SESSION_TOKEN"] = credentials.session_token
    return names


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
