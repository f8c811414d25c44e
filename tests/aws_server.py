"""The server of `tests/aws.py`, as a process: prints its port.

moto changes a queue's list in two steps and from several threads, so that messages would be lost
which no client can find again: here one request is served after the other. A long poll is many
short ones, or it would keep everybody else waiting.
"""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs import models
from werkzeug.serving import WSGIRequestHandler, make_server

POLL_S = 0.02

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class OneByOne:
    """`application`, one request after the other."""

    def __init__(self, application: Wsgi) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ.get("HTTP_X_AMZ_TARGET") != "AmazonSQS.ReceiveMessage":
            return self._answer(environ, body, start)
        asked = json.loads(body)
        ends = time.monotonic() + asked.pop("WaitTimeSeconds", 0)
        asked["WaitTimeSeconds"] = 0
        body = json.dumps(asked).encode()
        begun: list[Any] = []
        while True:
            answer = b"".join(self._answer(environ, body, lambda *head: begun.append(head)))
            if b'"Messages"' in answer or time.monotonic() > ends:
                start(*begun[-1])
                return [answer]
            time.sleep(POLL_S)

    def _answer(
        self, environ: dict[str, Any], body: bytes, start: Callable[..., Any]
    ) -> Iterable[bytes]:
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        with self._lock:
            return list(self._application(environ, start))


def main() -> None:
    """Serve until it is ended."""
    # moto asks for the time for every message in the queue, several times a call, and takes 3 µs.
    vars(models)["unix_time_millis"] = lambda: time.time() * 1000
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # connections are kept
    WSGIRequestHandler.disable_nagle_algorithm = True
    WSGIRequestHandler.wbufsize = -1
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = OneByOne(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
