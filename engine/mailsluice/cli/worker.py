"""`mailsluice worker`: a long-running process that sends mailings and messages."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailsluice.cli.signals import obeyed

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from mailsluice.config.worker import LogSettings, WorkerSettings
    from mailsluice.worker.worker import Worker


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def worker(
    file: Annotated[Path, typer.Argument(help="The worker's settings, a TOML file.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: http.port=0."),
    ] = None,
) -> None:
    """Send what a queue and a folder bring, side by side in one quota, until told to stop.

    SIGTERM or SIGINT: take in nothing more, settle the calls in flight, return unsent messages to
    the queue, and exit 0; the next worker carries on with unfinished mailings. SIGHUP: read the
    settings again. Exit 2: the settings cannot be used; 5: a journal cannot be written; 70: an
    unexpected error.
    """
    for number in obeyed(SIGNALS):
        signal.signal(number, _obey_early)
    from mailsluice.cli import extras, runtime

    extras.require("worker")
    overrides = set_ or []
    settings = load(file, overrides)
    _log(settings.log)
    runtime.run(_serve(settings, file, overrides), runtime.GC_THRESHOLDS_LASTING)


def _obey_early(number: int, _: object) -> None:
    """End at once, for a signal while the settings are read: there is nothing to settle."""
    if number != signal.SIGHUP:
        raise SystemExit(0)


def load(file: Path, overrides: Sequence[str] = ()) -> WorkerSettings:
    """Load a worker's settings. Raises ConfigurationError."""
    from mailsluice.config import loading
    from mailsluice.model.errors import ConfigurationError

    settings = loading.load_worker(file, overrides)
    try:
        place = (file.parent / settings.folder.path).resolve()
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigurationError(f"{file}: [folder] path: it is no path: {error}") from error
    folder = settings.folder.model_copy(update={"path": place})
    return settings.model_copy(update={"folder": folder})


def _log(settings: LogSettings) -> None:
    """Set up logging by these settings."""
    import logging
    import sys

    from pythonjsonlogger.orjson import OrjsonFormatter

    from mailsluice.cli import output
    from mailsluice.model.plain import plain_json

    class _Json(OrjsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            return plain_json(super().format(record))

    handler = logging.StreamHandler()
    as_text = sys.stderr.isatty() if settings.format == "auto" else settings.format == "text"
    handler.setFormatter(
        output.Formatter("%(asctime)s %(levelname)s %(message)s")
        if as_text
        else _Json(
            "%(levelname)s%(name)s%(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp=True,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)  # the libraries'
    logging.getLogger("mailsluice").setLevel(settings.level.upper())


async def _serve(settings: WorkerSettings, file: Path, overrides: Sequence[str]) -> None:
    import anyio

    from mailsluice.cli import failure, runtime
    from mailsluice.journal.sqlite import SqliteJournal
    from mailsluice.model.errors import root_of
    from mailsluice.worker.counters import Counters
    from mailsluice.worker.http.server import Page
    from mailsluice.worker.http.unsubscribing import unsubscribing
    from mailsluice.worker.worker import Worker

    counters = Counters()
    made = Worker(
        settings, SqliteJournal.open, on_event=counters.settled, on_ready=runtime.set_apart
    )
    answers = settings.suppression if settings.http.unsubscribe else None
    with failure.midway(lambda: made.has_begun), unsubscribing(answers) as links:
        try:
            async with (
                Page(made, counters, settings.http, links).open(),
                anyio.create_task_group() as tasks,
            ):
                await tasks.start(_obey_signals, made, file, overrides)
                await made.run()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise root_of(group) from None


async def _obey_signals(
    worker: Worker, file: Path, overrides: Sequence[str], *, task_status: TaskStatus[None]
) -> None:
    import anyio

    with anyio.open_signal_receiver(*obeyed(SIGNALS)) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                _reload(worker, file, overrides)
            else:
                worker.stop()


def _reload(worker: Worker, file: Path, overrides: Sequence[str]) -> None:
    """Read the settings again; keep the present ones if they cannot be used."""
    import logging

    from mailsluice.model.errors import ConfigurationError

    logger = logging.getLogger(__name__)
    try:
        settings = load(file, overrides)
    except ConfigurationError as error:
        logger.error("the settings stay as they were: %s", error)  # noqa: TRY400  # for a person
        return
    waiting = worker.apply(settings)
    _log(settings.log)
    logger.info("the settings have been read again")
    if waiting:
        logger.warning("these wait for a restart: %s", ", ".join(waiting))
