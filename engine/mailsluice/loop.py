"""The process that commands run in: uvloop's event loop, where that is there, and calm garbage.

Only for a process that is ours from its start: a service that embeds the engine decides for itself.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

GC_THRESHOLDS = (20_000, 20, 50)
"""Instead of (700, 10, 10): see `gc.set_threshold`."""

GC_THRESHOLDS_LASTING = (2_000, 5, 2)
"""For a process that lasts: each call of the SDK leaves cycles behind, and so does what fails. They
are megabytes where they are seldom collected, and leave holes that the next do not fit into."""


def set_apart() -> None:
    """What there is now stays to the end, and is looked at no more.

    Python looks for garbage among all that is old only when a quarter of it is new: beside the
    hundred thousand objects of the AWS SDK, not before there are twenty-five thousand others.
    """
    gc.collect()
    gc.freeze()


def run(
    main: Coroutine[Any, Any, Result], gc_thresholds: tuple[int, int, int] = GC_THRESHOLDS
) -> Result:
    """Run `main` to its end."""
    # A run makes little that is cyclic, and what the imports left is never garbage: looking for it
    # at Python's own pace is a third of the CPU (docs/adr/0014).
    gc.freeze()
    gc.set_threshold(*gc_thresholds)
    try:
        import uvloop  # noqa: PLC0415  # it does not exist for every platform
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
