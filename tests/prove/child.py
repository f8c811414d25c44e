"""The command in a process that is forked when everything is imported already.

A proof that kills ten thousand processes cannot wait half a second of imports for each, nor can two
hundred tests. What runs is the command itself, `mailsluice.cli.main`, in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import NamedTuple

import aioboto3  # noqa: F401  # what `send` imports when it runs
import uvloop  # noqa: F401  # as above

import mailsluice.audit
import mailsluice.cli
import mailsluice.cli.display
import mailsluice.cli.dry_run
import mailsluice.engine
import mailsluice.export
import mailsluice.overview
import mailsluice.sources.files
import mailsluice.worker.page  # as above

OUTPUT = "output.txt"
"""Standard output and error, in the folder of the command."""


def context() -> ForkServerContext:
    """Where processes are forked from; this module is imported there."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([__name__])
    return made


def start(
    made: ForkServerContext, folder: Path, environment: Mapping[str, str], arguments: Sequence[str]
) -> ForkServerProcess:
    """Start `mailsluice ARGUMENTS` in `folder`."""
    process = made.Process(target=_command, args=(folder, dict(environment), list(arguments)))
    process.start()
    return process


class Forked:
    """A command that is running, with what a test wants of a `subprocess.Popen`."""

    def __init__(
        self,
        made: ForkServerContext,
        environment: Mapping[str, str],
        arguments: Sequence[str],
        stderr: Path,
    ) -> None:
        given = (Path.cwd(), dict(environment), list(arguments), [Path(os.devnull), stderr])
        self._process = made.Process(target=_command_alone, args=given)
        self._process.start()

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that has ended it; None while it runs."""
        return self._process.exitcode

    returncode = property(poll)

    def wait(self, timeout_s: float | None = None) -> int:
        """The same when it has ended. Raises TimeoutError."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            raise TimeoutError
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """By SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


def run(
    made: ForkServerContext,
    folder: Path,
    environment: Mapping[str, str],
    arguments: Sequence[str],
    patience_s: float = 60.0,
) -> Ended:
    """Run it to its end, with this environment and no other."""
    with tempfile.TemporaryDirectory(prefix="mailsluice-child-") as name:
        told = [Path(name) / "out", Path(name) / "err"]
        given = (folder, dict(environment), list(arguments), told)
        process = made.Process(target=_command_alone, args=given)
        process.start()
        process.join(patience_s)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(arguments)
        return Ended(process.exitcode, told[0].read_text(), told[1].read_text())


def _command_alone(
    folder: Path, environment: dict[str, str], arguments: list[str], told: list[Path]
) -> None:
    nothing, end = os.pipe()
    os.close(end)
    os.dup2(nothing, 0)
    for fd, path in enumerate(told, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), fd)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["mailsluice", *arguments]
    mailsluice.cli.main()


def _command(folder: Path, environment: dict[str, str], arguments: list[str]) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd in (1, 2):
        os.dup2(output, fd)
    sys.argv = ["mailsluice", *arguments]
    mailsluice.cli.main()
