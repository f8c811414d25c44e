"""The event loop that commands run in: uvloop's, where that is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(main: Callable[[], Awaitable[Result]]) -> Result:
    """Run `main` to its end."""
    import anyio

    options: dict[str, Any] = {}
    try:
        import uvloop
    except ImportError:  # there is none for this platform
        pass
    else:
        options["loop_factory"] = uvloop.new_event_loop
    return anyio.run(main, backend_options=options)
