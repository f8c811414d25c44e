"""The command in a process that is forked when everything is imported already.

A proof that kills ten thousand processes cannot wait half a second of imports for each, nor can two
hundred tests. What runs is the command itself, `mailsluice.cli.main`, in a process of its own.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from multiprocessing import reduction
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any, NamedTuple

import botocore.session
from botocore.httpsession import get_cert_path

import mailsluice.cli.app
import mailsluice.engine.engine
import mailsluice.reports.audit
import mailsluice.reports.export
import mailsluice.reports.overview
import mailsluice.sources.files
from mailsluice.ses import aws
from mailsluice.ses.aws import http
from tests.support.waiting import PATIENCE_S

IMPORTED_LATER = (
    "anyio._backends._asyncio",
    "anyio.streams.tls",
    "encodings.idna",
    "encodings.utf_8_sig",
    "mailsluice.cli.display",
    "mailsluice.cli.dry_run",
    "mailsluice.cli.failure",
    "mailsluice.worker.http.server",
    "pythonjsonlogger.orjson",
    "rich._emoji_codes",
    "uvloop",
)
"""What commands import when they run."""

COMMAND = "from mailsluice.cli import main; main()"

Stream = int | Path | None

OUTPUT = "output.txt"
"""Standard output and error, in the folder of the command."""


def _parse_models() -> None:
    """Have what sessions share parsed before anything is forked: models, and CA certificates."""
    core = botocore.session.get_session()
    for verify in (True, core.get_config_variable("ca_bundle") or True):
        http._context(get_cert_path(verify))
    loader = aws.session(None, None)._session.get_component("data_loader")
    core.register_component("data_loader", loader)
    for service in ("sesv2", "sqs", "s3"):
        core.create_client(
            service,
            region_name="us-east-1",
            endpoint_url="http://127.0.0.1:9",
            aws_access_key_id="none",
            aws_secret_access_key="none",
        )


_parse_models()
for _name in IMPORTED_LATER:
    importlib.import_module(_name)


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


class Streams(NamedTuple):
    """Each a descriptor, a file that is appended to, or PIPE; None stands for /dev/null."""

    stdin: Stream = None
    stdout: Stream = None
    stderr: Stream = None


class Forked:
    """A command that is running, with what a test wants of a `subprocess.Popen`.

    `program` is Python source that runs in its place, as `python -c` would have it.
    """

    def __init__(  # noqa: PLR0913  # what a process is started with
        self,
        made: ForkServerContext,
        folder: Path,
        environment: Mapping[str, str],
        arguments: Sequence[str],
        streams: Streams,
        *,
        program: str = COMMAND,
    ) -> None:
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        with ExitStack() as ours:
            passed: list[_Passed | Path | None] = []
            for fd, (name, stream) in enumerate(streams._asdict().items()):
                if stream == PIPE:
                    ends = os.pipe()
                    theirs, here = ends if fd == 0 else ends[::-1]
                    ours.callback(os.close, theirs)
                    setattr(self, name, os.fdopen(here, "wb" if fd == 0 else "rb"))
                    passed.append(_Passed(theirs))
                else:
                    passed.append(_Passed(stream) if isinstance(stream, int) else stream)
            given = (folder, dict(environment), list(arguments), passed, program)
            self._process = made.Process(target=_command_alone, args=given)
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

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

    def communicate(
        self, given: bytes = b"", timeout_s: float | None = None
    ) -> tuple[bytes, bytes]:
        """Write all of `given`, and read what is said until it has ended.

        Raises TimeoutError, having killed it.
        """
        with ThreadPoolExecutor(3) as pool:
            if self.stdin is not None and not self.stdin.closed:
                pool.submit(_write, self.stdin, given)
            said = [pool.submit(_read, stream) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout_s)
            except TimeoutError:
                self.kill()
                raise
            return said[0].result(), said[1].result()

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """By SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """By SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Passed:
    """A descriptor on its way to another process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _detached, (reduction.DupFd(self._fd),)


def _detached(passed: Any) -> int:
    fd: int = passed.detach()
    return fd


def _write(stream: IO[bytes], given: bytes) -> None:
    with suppress(BrokenPipeError), stream:
        stream.write(given)


def _read(stream: IO[bytes] | None) -> bytes:
    if stream is None or stream.closed:
        return b""
    with stream:
        return stream.read()


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


def run(  # noqa: PLR0913  # as above
    made: ForkServerContext,
    folder: Path,
    environment: Mapping[str, str],
    arguments: Sequence[str],
    patience_s: float = PATIENCE_S,
    *,
    program: str = COMMAND,
) -> Ended:
    """Run it to its end, with this environment and no other."""
    with tempfile.TemporaryDirectory(prefix="mailsluice-child-") as name:
        out, err = Path(name) / "out", Path(name) / "err"
        process = Forked(
            made, folder, environment, arguments, Streams(None, out, err), program=program
        )
        try:
            code = process.wait(patience_s)
        except TimeoutError:
            process.kill()
            raise TimeoutError(arguments) from None
        return Ended(code, out.read_text(), err.read_text())


def _command_alone(
    folder: Path,
    environment: dict[str, str],
    arguments: list[str],
    streams: list[int | Path | None],
    program: str,
) -> None:
    for fd, stream in enumerate(streams):
        made = stream if isinstance(stream, int) else _opened(fd, stream)
        os.dup2(made, fd)
        os.close(made)
    # Python's own streams still believe that they are the server's, seekable or not.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["mailsluice", *arguments]
    exec(program, {"__name__": "__main__"})


def _opened(fd: int, path: Path | None) -> int:
    if fd == 0:
        nothing, end = os.pipe()
        os.close(end)
        return nothing
    return os.open(path or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _command(folder: Path, environment: dict[str, str], arguments: list[str]) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd in (1, 2):
        os.dup2(output, fd)
    sys.argv = ["mailsluice", *arguments]
    mailsluice.cli.main()
