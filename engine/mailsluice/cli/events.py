"""`mailsluice events`: take SES's events in, and say what has been heard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mailsluice.config.settings import Settings
    from mailsluice.feedback.listener import Stream
    from mailsluice.feedback.store import FeedbackStore
    from mailsluice.reports.heard import Heard
    from mailsluice.reports.report import ExitCode

FOLLOW_S = 1.0
"""Between two pictures of `--follow`, seconds."""

FOLLOW_SHARE = 0.1
"""Part of the time for which `--follow` reads the store and the journal, at most."""


def events(  # noqa: PLR0913  # one parameter a flag
    mailing: Annotated[Path, typer.Argument(help="The mailing file, with a [feedback] table.")],
    journal: Annotated[
        Path | None,
        typer.Option(help="The run's journal; default: beside the mailing file, if it is there."),
    ] = None,
    import_: Annotated[
        str | None,
        typer.Option("--import", metavar="PATH", help="Read this file, folder or s3:// prefix."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting."),
    ] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until SIGINT or SIGTERM.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON objects.")] = False,
) -> None:
    """Take SES's events in, and show by kind what has been heard, how late, and who is silent.

    Events are stored in [feedback] store, and then deleted from the queue. Exit 1: some bodies
    could not be read; 3: the queue or the bucket cannot be reached; 5: the store cannot be written.
    """
    from mailsluice.cli import runtime
    from mailsluice.config import loading
    from mailsluice.model.errors import ConfigurationError

    _, settings = loading.load(mailing, set_ or [])
    if settings.feedback is None:
        raise ConfigurationError(
            f"{mailing}: there is no [feedback] table; it says where SES's events come from: "
            'queue = "https://sqs…", or files = "…"'
        )
    if follow and import_:
        raise ConfigurationError("--follow and --import exclude each other; leave one out")
    beside = mailing.with_suffix(".journal")
    found = journal or (beside if beside.exists() else None)
    if found is not None and not found.exists():
        raise ConfigurationError(f"{found}: there is no such journal; mend --journal")
    job = _Events(settings, found, json=json)
    raise SystemExit(runtime.run(job.run(import_, follow=follow)))


class _Events:
    """What one call of the command takes in and shows."""

    def __init__(self, settings: Settings, journal: Path | None, *, json: bool) -> None:
        self._settings = settings
        self._journal = journal
        self._json = json

    async def run(self, place: str | None, *, follow: bool) -> ExitCode:
        """Take events in, and show them. Return the exit code."""
        from contextlib import closing

        from mailsluice.engine.streams import acts_of
        from mailsluice.feedback.ingest import Ingest
        from mailsluice.feedback.listener import Listener
        from mailsluice.feedback.store import FeedbackStore
        from mailsluice.reports.report import ExitCode

        assert self._settings.feedback is not None
        stream = self._stream(place, follow=follow)
        store = FeedbackStore.open(self._settings.feedback.store)
        with closing(store), acts_of(self._settings.suppression) as acts:
            ingest = Ingest(store, acts=acts)
            if follow:
                await self._follow(Listener(stream, ingest) if stream else None)
            elif stream is not None and (error := await _drained(Listener(stream, ingest))):
                return error
            self._print(self._text(store))
        return ExitCode.SOME_NOT_SENT if ingest.totals.unread else ExitCode.FINISHED

    def _stream(self, place: str | None, *, follow: bool) -> Stream | None:
        from mailsluice.engine.streams import stream_of
        from mailsluice.feedback.queue import DRAIN_WAIT_S, WAIT_S

        feedback, ses = self._settings.feedback, self._settings.ses
        assert feedback is not None
        if place is not None:
            feedback = feedback.model_copy(update={"queue": None, "files": place})
        return stream_of(feedback, ses, wait_s=WAIT_S if follow else DRAIN_WAIT_S)

    async def _follow(self, listener: Any) -> None:
        import signal

        import anyio

        from mailsluice.cli.signals import obeyed

        numbers = obeyed((signal.SIGINT, signal.SIGTERM))
        with anyio.open_signal_receiver(*numbers) as signals:
            async with anyio.create_task_group() as tasks:
                if listener is not None:
                    tasks.start_soon(listener.run)
                tasks.start_soon(self._keep_showing)
                async for _ in signals:
                    break
                if listener is not None:
                    listener.stop()
                tasks.cancel_scope.cancel()

    async def _keep_showing(self) -> None:
        """Show the table whenever this process, or another one, has stored something."""
        from contextlib import closing

        import anyio
        from anyio import to_thread
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        from mailsluice.feedback.store import FeedbackStore

        assert self._settings.feedback is not None
        console = Console()
        is_live = console.is_terminal and not self._json
        shown = ""
        # A store of its own: that of the listener is another thread's.
        with (
            closing(FeedbackStore.open(self._settings.feedback.store)) as store,
            Live(console=console, auto_refresh=False, transient=True) as live,
        ):
            while True:
                begun = anyio.current_time()
                text = await to_thread.run_sync(self._text, store)
                if text != shown and is_live:
                    live.update(Text(text), refresh=True)
                elif text != shown:
                    self._print(text)
                shown = text
                took_s = anyio.current_time() - begun
                await anyio.sleep(max(FOLLOW_S, took_s / FOLLOW_SHARE))

    # --- what is shown -----------------------------------------------------------------------

    def _text(self, store: FeedbackStore) -> str:
        """Return one JSON object, or the lines for people."""
        import orjson

        return (
            orjson.dumps(self._table(store)).decode()
            if self._json
            else "\n".join(self._lines(store))
        )

    def _print(self, text: str) -> None:
        import sys

        from mailsluice.cli import output

        if self._json:
            output.write_json(text.encode())
        else:
            for line in text.split("\n"):
                output.write(line)
        sys.stdout.flush()  # who follows wants it now

    def _table(self, store: FeedbackStore) -> dict[str, Any]:
        from mailsluice.feedback.records import Kind

        run, heard = self._heard(store)
        return {
            "run": run,
            "kinds": heard.kinds,
            "untagged": {kind: n for kind, n in store.heard(None).items() if kind in set(Kind)},
            "unread": len(store.unread()),
            "within_s": {f"p{round(100 * q)}": edge for q, edge in heard.within_s.items()},
            "sent": heard.sent,
            "heard": heard.heard,
            "silent": heard.silent,
        }

    def _lines(self, store: FeedbackStore) -> list[str]:
        run, heard = self._heard(store)
        return [*_lines(run, heard), *_lines_of_others(store)]

    def _heard(self, store: FeedbackStore) -> tuple[str | None, Heard]:
        """Return the journal's run and what was heard of it; of all runs without a journal."""
        from mailsluice.journal.sqlite import SqliteJournal
        from mailsluice.reports import heard

        if self._journal is None:
            return None, heard.of(store.heard_in_all(), store.heard_within(None), None, ())
        journal = SqliteJournal.read(self._journal)
        try:
            run = journal.run.id if journal.run is not None else ""
            return run, heard.of(
                store.heard(run), store.heard_within(run), journal, store.rows(run)
            )
        finally:
            journal.close()


async def _drained(listener: Any) -> ExitCode | None:
    """Take in what there is. Return the exit code if it cannot be reached."""
    from mailsluice.cli import output
    from mailsluice.model.errors import SourceUnavailableError
    from mailsluice.reports.report import ExitCode
    from mailsluice.ses.aws.sqs import UnreachableError

    try:
        await listener.drain()
    except (UnreachableError, SourceUnavailableError) as error:
        output.warn(f"no events can be taken in: {error}; run it again when the cause is gone")
        return ExitCode.HELD
    return None


def _lines(run: str | None, heard: Heard) -> Iterator[str]:
    yield f"run           {run}" if run is not None else "all runs"
    for kind, count in sorted(heard.kinds.items(), key=lambda each: -each[1]):
        yield f"{kind:<20}{count:>12,}"
    if not heard.kinds:
        yield "no events have been heard"
    if heard.within_s:
        told = ", ".join(
            f"{quantile:.0%} {_seconds(edge)}" for quantile, edge in heard.within_s.items()
        )
        yield f"first heard of: {told}"
    if heard.sent:
        assert heard.heard is not None
        share = heard.heard / heard.sent
        told = f"{heard.heard:,} heard of ({share:.2%}), {heard.silent:,} silent"
        yield f"of {heard.sent:,} sent: {told}"


def _seconds(edge: int | None) -> str:
    from mailsluice.feedback.schema import LAG_EDGES_S

    if edge is None:
        return f"after more than {LAG_EDGES_S[-1] // 3_600} h"
    unit, size = next((each for each in (("h", 3_600), ("min", 60)) if edge >= each[1]), ("s", 1))
    return f"within {edge // size} {unit}"


def _lines_of_others(store: FeedbackStore) -> Iterator[str]:
    from mailsluice.feedback.records import Kind

    untagged = store.heard(None)
    if others := sum(untagged.get(kind, 0) for kind in Kind):
        yield f"of mail without our tag: {others:,}"
    if unread := store.unread():
        reasons = "; ".join(sorted({why for _, why, _ in unread}))
        yield f"could not be read, and kept in the store: {len(unread):,} ({reasons})"
