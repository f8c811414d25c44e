"""`mailsluice worker`: a process that is fed by others, and `pause`, `resume`, `cancel` of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mailsluice.config import WorkerSettings


def worker(
    file: Annotated[Path, typer.Argument(help="The worker's settings, a TOML file.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: http.port=0."),
    ] = None,
) -> None:
    """Send what is dropped into a folder, mailing beside mailing, until told to stop.

    SIGTERM or SIGINT: take in nothing more, settle the calls in flight, and exit 0; mailings that
    are not finished go on with the next worker. Exit 2: the settings cannot be used.
    """
    from mailsluice import config, loop

    settings = config.load_worker(file, set_ or [])
    place = (file.parent / settings.folder.path).resolve()
    folder = settings.folder.model_copy(update={"path": place})
    loop.run(_serve(settings.model_copy(update={"folder": folder})))


async def _serve(settings: WorkerSettings) -> None:
    import asyncio

    from mailsluice.errors import ConfigurationError, root_of
    from mailsluice.worker.page import Page
    from mailsluice.worker.worker import Worker

    made = Worker(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, made.stop)
    try:
        async with Page(made, settings.http).open():
            await made.run()
    except OSError as error:
        raise ConfigurationError(f"[http] port: {error.strerror or error}") from error
    except BaseExceptionGroup as group:
        raise root_of(group) from None
