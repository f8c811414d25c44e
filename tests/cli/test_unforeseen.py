"""What nobody foresaw, and what this machine is short of: one line, and a documented exit code."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from mailsluice.cli import failure
from mailsluice.model.errors import ConfigurationError, JournalError
from mailsluice.reports.report import ExitCode

if TYPE_CHECKING:
    from tests.cli.conftest import Folder
    from tests.support.forked import Ended

SHALLOW = """
import sys
from mailsluice.cli import app, failure, main
sys.setrecursionlimit({limit})
main()
"""
"""A command that finds no room on Python's stack: nobody foresees a RecursionError."""


def _limited(
    folder: Folder, limit: Callable[[], None], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*folder.COMMAND, *arguments],
        cwd=folder.path,
        env=folder.environment({}),
        capture_output=True,
        text=True,
        preexec_fn=limit,  # the limit is the command's and not the test's
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("number", [8, 20])
@pytest.mark.parametrize("command", ["send mailing.toml", "worker worker.toml", "emulator", "demo"])
def test_too_few_file_descriptors_are_2_and_nothing_was_sent(
    folder: Folder, command: str, number: int
) -> None:
    folder.write("worker.toml", '[folder]\npath = "mail"\n')
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (number, number))
    ended = _limited(folder, limit, *command.split())
    assert ended.returncode == 2
    assert f"may have {number} file descriptors, and needs 64 at least" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert folder.accepted == 0


@pytest.mark.parametrize("mib", [24, 40, 64, 96, 128, 200])
def test_too_little_memory_is_2_and_nothing_was_sent(folder: Folder, mib: int) -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (mib << 20, mib << 20))
    ended = _limited(folder, limit, "send", "mailing.toml")
    assert ended.returncode == 2
    assert "memory" in ended.stderr or "address space" in ended.stderr
    assert "raise its limit" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert folder.accepted == 0


@pytest.mark.parametrize("lost", ["mailsluice.cli.app", "mailsluice.cli"])
def test_a_compiler_without_memory_is_2_and_one_line(folder: Folder, lost: str) -> None:
    """CPython reports that by a SystemError, in whatever module it comes to next."""
    program = (
        "import sys\n"
        "import mailsluice.cli\n"
        "class Lost:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name.startswith({lost + '.'!r}) or name == {lost!r}:\n"
        "            raise SystemError('compile returned NULL without setting an exception')\n"
        "sys.meta_path.insert(0, Lost())\n"
        "mailsluice.cli.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "status", "mailing.journal"],
        cwd=folder.path,
        env=folder.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "no memory" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_certificates_that_are_not_there_are_2(folder: Folder) -> None:
    ended = folder.send(environment={"AWS_CA_BUNDLE": "/nonexistent"})
    assert ended.code == 2
    assert "/nonexistent cannot be read" in ended.err
    assert "set AWS_CA_BUNDLE" in ended.err


def test_an_endpoint_with_a_password_is_2(folder: Folder) -> None:
    ended = folder.send(environment={"AWS_ENDPOINT_URL_SESV2": "http://user:hush@127.0.0.1:1"})
    assert ended.code == 2
    assert "the endpoint URL of 127.0.0.1:1 has a user or password" in ended.err
    assert "hush" not in ended.out + ended.err


def sent_with(folder: Folder, credential_process: str) -> Ended:
    folder.write("aws.ini", f"[default]\ncredential_process = {credential_process}\n")
    environment = {"AWS_CONFIG_FILE": str(folder.path / "aws.ini"), **folder.NO_CREDENTIALS}
    ended = folder.send(environment=environment)
    assert folder.accepted == 0
    return ended


def test_a_credential_process_that_is_not_there_is_2(folder: Folder) -> None:
    ended = sent_with(folder, "/nonexistent")
    assert ended.code == 2
    assert "`credential_process`" in ended.err


@pytest.mark.parametrize("program", ["/bin/false", "/bin/echo no JSON"])
def test_a_credential_process_that_fails_may_work_later(folder: Folder, program: str) -> None:
    ended = sent_with(folder, program)
    assert ended.code == 3
    assert "held: NO_CREDENTIALS: AWS credentials cannot be obtained" in ended.out


@pytest.mark.parametrize("arn", ["arn:aws:iam::123456789012:role/x", "x"])
@pytest.mark.parametrize("file", ["", "mailing.toml"])
def test_a_web_identity_that_cannot_be_used_is_told_in_one_line(
    folder: Folder, file: str, arn: str
) -> None:
    identity = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder.path / file),  # a directory, or no token
        "AWS_ROLE_ARN": arn,
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
    }
    ended = folder.send(environment={**identity, **folder.NO_CREDENTIALS})
    assert (ended.code, ended.err) == (3, "")
    assert ended.out.startswith("held: NO_CREDENTIALS: AWS credentials cannot be obtained")
    assert folder.accepted == 0


@pytest.mark.parametrize(
    "command",
    [
        "send mailing.toml",
        "status mailing.journal",
        "why mailing.journal ann@example.com",
        "export mailing.journal",
        "resolve mailing.journal --in-doubt drop",
        "worker worker.toml",
        "pause worker.toml",
        "emulator",
        "demo",
    ],
)
def test_an_error_that_nobody_foresaw_is_70_and_never_1(folder: Folder, command: str) -> None:
    folder.write("worker.toml", '[folder]\npath = "mail"\n')
    folder.journal.touch()
    ended = subprocess.run(
        [sys.executable, "-c", SHALLOW.format(limit=40), *command.split()],
        cwd=folder.path,
        env=folder.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == ExitCode.UNFORESEEN
    assert "mailsluice: an unexpected error: RecursionError" in ended.stderr
    assert "Please report it" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_traceback_is_for_developers(folder: Folder) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", SHALLOW.format(limit=40), "emulator"],
        env=folder.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == ExitCode.UNFORESEEN
    assert "Traceback" in ended.stderr


def _midway(error: Exception) -> Exception:
    made = failure.MidwayError()
    made.__cause__ = error
    return made


def _because_of(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


_MANY_FILES = OSError(errno.EMFILE, "Too many open files", "list.csv")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigurationError("no region"), 2, "no region"),
        (JournalError("the disk is full"), 5, "the disk is full"),
        (_MANY_FILES, 2, "list.csv: Too many open files: this process has no file descriptors"),
        (_midway(_MANY_FILES), 70, "run the same command again to carry on"),
        (MemoryError(), 2, "no memory left"),
        (ExceptionGroup("", [ValueError("other"), MemoryError()]), 2, "no memory left"),
        (_because_of(ConfigurationError("the SDK"), MemoryError()), 2, "the SDK: this process has"),
        (RuntimeError("can't start new thread"), 2, "starts no more threads"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "make room"),
        (TypeError("unhashable"), 70, "TypeError: unhashable"),
        (_midway(TypeError("unhashable")), 70, "what was sent is in the journal"),
        (ValueError("what of ann@example.com, then"), 70, "what of <address>, then"),
    ],
    ids=repr,
)
def test_what_an_error_says_and_its_exit_code(error: Exception, code: int, says: str) -> None:
    found, text = failure.explained(error)
    assert found == code
    assert says in text
    assert "@example.com" not in text
    assert "\n" not in text
