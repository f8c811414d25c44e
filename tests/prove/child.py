"""The command in a process that is forked when everything is imported already.

A proof that kills ten thousand processes cannot wait half a second of imports for each. What runs
is the command itself, `mailsluice.cli.main`, in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import aioboto3  # noqa: F401  # what `send` imports when it runs
import uvloop  # noqa: F401  # as above

import mailsluice.cli
import mailsluice.cli.display
import mailsluice.engine
import mailsluice.sources.files  # as above

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


def _command(folder: Path, environment: dict[str, str], arguments: list[str]) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd in (1, 2):
        os.dup2(output, fd)
    sys.argv = ["mailsluice", *arguments]
    mailsluice.cli.main()
