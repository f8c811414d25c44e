"""The server of `tests/support/aws.py`, as a process: prints its port.

moto changes a queue's list in two steps and from several threads, so that messages would be lost
which no client can find again: here one request is served after the other. A long poll looks again
whenever another request may have put something into a queue, and now and then, because a message
that was hidden is seen again after its time; meanwhile it keeps nobody waiting.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs import models
from werkzeug.serving import WSGIRequestHandler, make_server

LOOK_AGAIN_S = 0.25
"""Between two looks of a long poll, for what becomes visible by itself."""

RECEIVE = "AmazonSQS.ReceiveMessage"
READS = {RECEIVE, "AmazonSQS.DeleteMessage", "AmazonSQS.GetQueueAttributes"}
"""Requests that give no other one a message."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class OneByOne:
    """`application`, one request after the other."""

    def __init__(self, application: Wsgi) -> None:
        self._application = application
        self._changed = threading.Condition()
        """Its lock is held while a request is answered."""

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        target = environ.get("HTTP_X_AMZ_TARGET")
        with self._changed:
            if target == RECEIVE:
                return self._receive(environ, json.loads(body), start)
            answer = self._answer(environ, body, start)
            if target not in READS:
                self._changed.notify_all()
            return answer

    def _receive(
        self, environ: dict[str, Any], asked: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        ends = time.monotonic() + asked.get("WaitTimeSeconds", 0)
        body = json.dumps(asked | {"WaitTimeSeconds": 0}).encode()
        heads: list[Any] = []
        while True:
            answer = b"".join(self._answer(environ, body, lambda *head: heads.append(head)))
            left_s = ends - time.monotonic()
            if b'"Messages"' in answer or left_s <= 0:
                start(*heads[-1])
                return [answer]
            self._changed.wait(min(left_s, LOOK_AGAIN_S))

    def _answer(
        self, environ: dict[str, Any], body: bytes, start: Callable[..., Any]
    ) -> list[bytes]:
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        return list(self._application(environ, start))


def _end_after(owner: int) -> None:
    """End this process soon after that one has ended."""
    while True:
        time.sleep(1)
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            os._exit(0)


def main(owner: int) -> None:
    """Serve until it is ended, or the process `owner` has ended."""
    threading.Thread(target=_end_after, args=(owner,), daemon=True).start()
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
    main(int(sys.argv[1]))
