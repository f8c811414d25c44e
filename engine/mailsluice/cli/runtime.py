"""The process of a command: uvloop's event loop if installed, and rare garbage collection.

Only for a process that is ours from its start: a service that embeds the engine decides for itself.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Coroutine
from typing import Any, TypeVar

from mailsluice.model.errors import ConfigurationError

Result = TypeVar("Result")

GC_THRESHOLDS = (20_000, 20, 50)
"""Instead of (700, 10, 10): see `gc.set_threshold`."""

GC_THRESHOLDS_LASTING = (2_000, 5, 2)
"""For a long-running process: each call of the SDK, and each failure, leaves cycles behind.
Collected rarely, they are megabytes, and leave holes in the heap that later objects do not fit
into."""


DESCRIPTORS_MIN = 64
"""File descriptors that a process may have at least: an event loop, a journal with its files, a
list and some connections have 30. libuv aborts the process if it gets none for itself."""

ADDRESS_SPACE_MIN = 256 * 1024 * 1024
"""Bytes of address space that a process may have at least: a run has some 140 MiB, half of them
stacks of threads. libuv aborts the process if it cannot start one."""


def set_apart() -> None:
    """Freeze all current objects, so that the garbage collector skips them (`gc.freeze`).

    Python collects the oldest generation only when a quarter of its objects are new: with the
    hundred thousand objects of the AWS SDK, not before there are twenty-five thousand others.
    """
    gc.collect()
    gc.freeze()


def run(
    main: Coroutine[Any, Any, Result], gc_thresholds: tuple[int, int, int] = GC_THRESHOLDS
) -> Result:
    """Run `main` to its end. Raises ConfigurationError if this process may have too little."""
    try:
        _require_room()
    except ConfigurationError:
        main.close()
        raise
    # A run makes little that is cyclic, and what the imports left is never garbage: looking for it
    # at Python's own pace is a third of the CPU (docs/adr/0014).
    gc.freeze()
    gc.set_threshold(*gc_thresholds)
    try:
        import uvloop  # it does not exist for every platform
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _require_room() -> None:
    """Raise ConfigurationError if the event loop would abort the process for lack of something."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors != resource.RLIM_INFINITY and descriptors < DESCRIPTORS_MIN:
        raise ConfigurationError(
            f"this process may have {descriptors} file descriptors, and needs {DESCRIPTORS_MIN} at "
            "least: raise its limit (`ulimit -n`, LimitNOFILE= in systemd)"
        )
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and space < ADDRESS_SPACE_MIN:
        raise ConfigurationError(
            f"this process may have {space >> 20} MiB of address space, and needs "
            f"{ADDRESS_SPACE_MIN >> 20} at least: raise its limit (`ulimit -v`, LimitAS= in "
            "systemd)"
        )
