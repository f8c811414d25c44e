"""Explains the error that ended a command: one sentence with the remedy, and the exit code."""

from __future__ import annotations

import errno
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mailsluice.model import hold
from mailsluice.model.errors import EngineError, JournalError, MailsluiceError, StoreError
from mailsluice.reports.report import ExitCode

logger = logging.getLogger("mailsluice")

_PACKAGE = Path(__file__).parents[1]

_NO_DESCRIPTORS = (
    "this process has no file descriptors left: raise its limit (`ulimit -n`, LimitNOFILE= in "
    "systemd), or lower delivery.in_flight"
)
_NO_MEMORY = (
    "this process has no memory left: raise its limit (`ulimit -v`, MemoryMax= in systemd, the "
    "container's), or lower delivery.in_flight"
)
_BY_ERRNO = {
    errno.EMFILE: _NO_DESCRIPTORS,
    errno.ENFILE: "this machine has no file descriptors left: end what holds them (`lsof`), or "
    "raise fs.file-max",
    errno.ENOMEM: _NO_MEMORY,
    errno.EAGAIN: "this machine starts no more threads or processes: raise the limit (`ulimit -u`, "
    "TasksMax= in systemd)",
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "the disk quota is used up: make room",
    errno.EROFS: "the file system is mounted read-only: make it writable",
}
_UNMAPPED = ("annot allocate memory", "failed to map segment")
"""The dynamic linker's text for a module that does not fit into memory (glibc)."""
_NO_RESULT = "returned NULL without setting an exception"
"""The text of CPython's compiler, in a SystemError, if it runs out of memory."""
_CARRY_ON = "what was sent is in the journal: run the same command again to carry on"


class MidwayError(Exception):
    """A command had started to send when its `__cause__` ended it."""


@contextmanager
def midway(has_begun: Callable[[], bool]) -> Iterator[None]:
    """Raise MidwayError for an unexpected error, once `has_begun`."""
    try:
        yield
    except MailsluiceError:
        raise
    except Exception as error:
        if has_begun():
            raise MidwayError from error
        raise


def tell(error: Exception) -> ExitCode:
    """Log what ended the command (the traceback at DEBUG). Return the exit code."""
    code, text = explained(error)
    logger.error(text)
    if code is ExitCode.UNFORESEEN:
        if sys.flags.dev_mode:
            logger.setLevel(logging.DEBUG)
        logger.debug("the traceback of that", exc_info=error)
    return code


def explained(error: Exception) -> tuple[ExitCode, str]:
    """Return the exit code of a command that this error has ended, and a sentence for its user."""
    if isinstance(error, JournalError | StoreError):
        return ExitCode.JOURNAL, str(error)
    if isinstance(error, MailsluiceError) and not isinstance(error, EngineError):
        lack = error.__cause__ and _lack(error.__cause__)
        return ExitCode.BAD_INPUT, f"{error}: {lack}" if lack else str(error)
    begun = isinstance(error, MidwayError | EngineError)
    root = _root(error)
    lack = _lack(root)
    if lack is not None:
        if begun:
            return ExitCode.UNFORESEEN, f"{lack}; {_CARRY_ON}"
        return ExitCode.BAD_INPUT, lack
    after = f"; {_CARRY_ON}" if begun else ""
    text = hold.without_addresses(f"{type(root).__name__}: {root}")
    return ExitCode.UNFORESEEN, (
        f"an unexpected error: {text} ({_place(root)}){after}. Please report it, with the "
        "traceback that `python -X dev -m mailsluice` logs"
    )


def _root(error: BaseException) -> BaseException:
    """Return the error to blame: the first one of a group, or a shortage."""
    if isinstance(error, MidwayError | EngineError) and error.__cause__ is not None:
        return _root(error.__cause__)
    if isinstance(error, BaseExceptionGroup):
        leaves = [_root(each) for each in error.exceptions]
        return next((each for each in leaves if _lack(each)), leaves[0])
    return error


def _lack(error: BaseException) -> str | None:
    """Return what this machine is short of; None if the error is no shortage."""
    if isinstance(error, MemoryError) or _NO_RESULT in str(error):
        return _NO_MEMORY
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _BY_ERRNO[errno.EAGAIN]
    if isinstance(error, OSError):
        found = _BY_ERRNO.get(error.errno or 0)
        name = f"{error.filename}: " if error.filename else ""
        return found and f"{name}{error.strerror}: {found}"
    if isinstance(error, ImportError) and any(each in str(error) for each in _UNMAPPED):
        return _NO_MEMORY
    return None


def _place(error: BaseException) -> str:
    """Return the place in this package where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if Path(each.filename).is_relative_to(_PACKAGE)]
    if not ours:
        return "no place is known"
    return f"{Path(ours[-1].filename).relative_to(_PACKAGE)}, line {ours[-1].lineno}"
