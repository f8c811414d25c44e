"""SQS and S3 on loopback: moto's server in a process of its own."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import botocore.session

ACCESS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}

_LEFT_RUNNING: list[Popen[str]] = []
"""Servers that end by themselves."""


class Aws:
    """Clients for the test, and the environment of a process that is to use the same."""

    def __init__(self, url: str) -> None:
        self.environment = {"AWS_ENDPOINT_URL_SQS": url, "AWS_ENDPOINT_URL_S3": url}
        self._url = url
        self._session = botocore.session.get_session()

    def client(self, service: str) -> Any:
        """A client; a second one for the same service costs little, as it needs no new model."""
        return self._session.create_client(
            service,
            endpoint_url=self._url,
            region_name=ACCESS["AWS_DEFAULT_REGION"],
            aws_access_key_id=ACCESS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ACCESS["AWS_SECRET_ACCESS_KEY"],
        )


@contextmanager
def running() -> Iterator[Aws]:
    """moto's server, as long as the context lasts."""
    process = _start(os.getpid())
    try:
        yield Aws(_url(process))
    finally:
        process.terminate()
        process.wait()


def shared(folder: Path, owner: int) -> Aws:
    """moto's server, one for all processes that name this folder; it ends after process `owner`."""
    with (folder / "aws").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        url = file.read()
        if not url:
            _LEFT_RUNNING.append(process := _start(owner))
            url = _url(process)
            file.write(url)
        return Aws(url)


def _start(owner: int) -> Popen[str]:
    environment = {name: value for name, value in os.environ.items() if "AWS" not in name}
    command = [sys.executable, "-m", "tests.support.aws_server", str(owner)]
    return Popen(command, stdout=PIPE, env=environment | ACCESS, text=True)


def _url(process: Popen[str]) -> str:
    assert process.stdout is not None
    with process.stdout as printed:
        return f"http://127.0.0.1:{int(printed.readline())}"


def left(sqs: Any, url: str) -> int:
    """Messages that are in a queue, hidden or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def free_port() -> int:
    """A port that nobody has at present."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port
