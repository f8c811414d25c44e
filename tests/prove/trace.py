"""The system calls of a program that matter to a file system, as strace tells them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CALLS = (
    "openat,pwrite64,fdatasync,fsync,ftruncate,truncate,unlink,rename,write,writev,sendto,sendmsg"
)

_line = re.compile(
    r"(?P<task>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>)?(?P<rest>.*)", re.DOTALL
).fullmatch
_call = re.compile(
    r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+).*", re.DOTALL
).fullmatch
_argument = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?|(-?\w+)(?:<((?:\\x[0-9a-f]{2})*)>)?')


class Call(NamedTuple):
    """One system call that has succeeded."""

    name: str
    path: str
    """Of the file that it is about; of a socket a name that is no path."""
    data: bytes = b""
    """What was written; of a rename the new path."""
    number: int = 0
    """Offset of a write, length of a truncation."""
    created: bool = False
    """Of an open: whether it could have made the file."""


def available() -> bool:
    """Whether this machine lets us trace."""
    strace = shutil.which("strace")
    if not strace:
        return False
    traced = subprocess.run([strace, "-qq", "-o", os.devnull, "true"], check=False)
    return not traced.returncode


def run(
    command: Sequence[str], output: Path, *, cwd: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Run a command to its end and trace it; its exit code."""
    strace = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-xx",
        "-s",
        "100000000",
        "-e",
        f"trace={CALLS}",
    ]
    return subprocess.run(
        [*strace, "-e", "signal=none", "-o", str(output), *command],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        check=False,
    ).returncode


def read(output: Path, cwd: Path) -> Iterator[Call]:
    """The calls in the order in which they ended; those that failed are left out."""
    begun: dict[str, str] = {}
    with output.open(encoding="ascii") as lines:
        for line in lines:
            match = _line(line.rstrip("\n"))
            assert match is not None, line[:200]
            task, rest = match["task"], match["rest"]
            if rest.endswith("<unfinished ...>"):
                begun[task] = rest.removesuffix("<unfinished ...>").rstrip()
                continue
            if match["resumed"]:
                rest = begun.pop(task) + rest
            call = _parsed(rest, cwd)
            if call is not None:
                yield call


def _parsed(text: str, cwd: Path) -> Call | None:  # noqa: PLR0911  # one a call
    match = _call(text)
    if match is None or int(match["result"]) < 0:
        return None
    found = list(_argument.finditer(match["arguments"]))
    texts = [_bytes(each[1]) for each in found if each[1] is not None]
    words = [each[2] for each in found if each[2] is not None]
    of_descriptor = os.fsdecode(_bytes(found[0][3] or ""))
    match match["name"]:
        case "openat":
            return Call("openat", _path(texts[0], cwd), created="O_CREAT" in words)
        case "pwrite64":
            return Call("pwrite64", of_descriptor, texts[0], int(words[-1]))
        case "ftruncate":
            return Call("truncate", of_descriptor, number=int(words[-1]))
        case "truncate":
            return Call("truncate", _path(texts[0], cwd), number=int(words[-1]))
        case "rename":
            return Call("rename", _path(texts[0], cwd), os.fsencode(_path(texts[1], cwd)))
        case "unlink":
            return Call("unlink", _path(texts[0], cwd))
        case "fdatasync" | "fsync" as name:
            return Call(name, of_descriptor)
        case _:
            return Call("write", of_descriptor, b"".join(texts))


def _path(text: bytes, cwd: Path) -> str:
    return str(cwd / os.fsdecode(text))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
