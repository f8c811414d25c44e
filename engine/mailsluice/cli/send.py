"""`mailsluice send`: one mailing to all of its recipients."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mailsluice.cli.signals import obeyed
from mailsluice.cli.states import PARTS, part_of
from mailsluice.reports.report import ExitCode

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from mailsluice.checking.checked import Depth
    from mailsluice.checking.findings import Finding
    from mailsluice.config.settings import Settings
    from mailsluice.engine.engine import Engine
    from mailsluice.journal.recovery import Only, Scope
    from mailsluice.mailing.mailing import Mailing
    from mailsluice.reports.report import Report
    from mailsluice.sources.files import FileSource

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that stop a run. SIGHUP too: a closed terminal is no reason to leave calls in doubt."""

TWICE_S = 0.2
"""A second signal this soon (seconds) counts as the same one: `timeout` sends it to the process and
to its group."""

SHOW_CURSOR = b"\x1b[?25h"
"""Shows the cursor, which the live display hides."""


_HAD_FINISHED = (
    "nothing was sent: {journal} is of a run of this mailing that had finished. To mail everybody "
    "again name another --journal (--except JOURNAL leaves out those whom that one lists); to send "
    "a part of it once more: --only failed|rejected|in_doubt"
)


def send(  # noqa: PLR0913, PLR0917  # one parameter a flag
    mailing: Annotated[Path, typer.Argument(help="The mailing, a TOML file.")],
    recipients: Annotated[
        str | None, typer.Option(help='Recipients, instead of [recipients] path; "-": stdin.')
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="The run's journal; default: beside the mailing file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help='Write the JSON report here; "-": standard output.')
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: quota.rate=50."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            parser=part_of,
            metavar=PARTS,
            help="Of a finished run: send these once more, as new attempts.",
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Send the mailing as it is now to those whom the run has not settled."
        ),
    ] = False,
    except_: Annotated[
        list[Path] | None,
        typer.Option(
            "--except",
            metavar="JOURNAL",
            help="Leave out those whom this journal lists as sent or in doubt (repeatable).",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate everything, show the plan, send nothing.")
    ] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Begin without the check of `mailsluice check`.")
    ] = False,
    approved: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="Send only what `check --digest` gave this hash for."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Send a mailing; run it again to carry on where it stopped.

    Exit codes: 0 finished and all sent; 1 finished, some not sent; 2 bad usage, configuration or
    input; 3 held; 4 stopped by a signal; 5 the journal cannot be written or trusted; 70 an
    unexpected error.
    """
    from mailsluice.cli import runtime

    for number in obeyed(SIGNALS):
        signal.signal(number, _stop_at_once)
    job = Job.from_flags(
        mailing,
        recipients,
        journal,
        report,
        set_ or [],
        only=cast("Only | None", only),
        again=again,
        excepted=except_ or (),
        quiet=quiet,
        checks=not no_check,
        approved=_digest(approved, no_check=no_check),
    )
    raise typer.Exit(runtime.run(job.plan() if dry_run else job.send()))


def _digest(approved: str | None, *, no_check: bool) -> str | None:
    from mailsluice.checking.digest import is_digest

    if approved is None:
        return None
    if no_check:
        raise typer.BadParameter("--approved and --no-check exclude each other")
    if not is_digest(approved):
        raise typer.BadParameter("--approved: give the 64 digits that `check --digest` prints")
    return approved


def source_of(mailing: Path, recipients: str | None, settings: Settings) -> FileSource:
    """Open the list that flag or file names. Raises ConfigurationError, SourceError."""
    from mailsluice.model.errors import ConfigurationError
    from mailsluice.sources import files

    path = recipients or settings.recipients.path
    if path is None:
        raise ConfigurationError(
            f"{mailing}: no recipients: set [recipients] path, or use --recipients FILE"
        )
    if recipients is None and not files.is_elsewhere(path):
        path = str(mailing.parent / path)
    ses = settings.ses
    return files.open_source(
        path,
        settings.recipients.fields(),
        encoding=settings.recipients.encoding,
        region=ses.region,
        profile=ses.profile,
    )


class Job:
    """One run, as the flags ask for it."""

    def __init__(  # noqa: PLR0913  # as `send`
        self,
        mailing: Mailing,
        settings: Settings,
        source: FileSource,
        journal: Path,
        report: Path | None,
        *,
        scope: Scope,
        quiet: bool,
        checks: bool,
        approved: str | None,
    ) -> None:
        self._mailing = mailing
        self._settings = settings
        self._source = source
        self._journal = journal
        self._report = report
        self._scope = scope
        self._quiet = quiet
        self._checks = checks
        self._approved = approved
        self._findings: Sequence[Finding] = ()
        """Findings of the check at the start."""

    @classmethod
    def from_flags(  # noqa: PLR0913  # as `send`
        cls,
        mailing: Path,
        recipients: str | None = None,
        journal: Path | None = None,
        report: Path | None = None,
        overrides: Sequence[str] = (),
        *,
        only: Only | None = None,
        again: bool = False,
        excepted: Sequence[Path] = (),
        quiet: bool = False,
        checks: bool = True,
        approved: str | None = None,
    ) -> Job:
        """Build a run from flags. Raises ConfigurationError or SourceError if it cannot be sent."""
        from mailsluice.config import loading
        from mailsluice.journal.recovery import Scope
        from mailsluice.model.errors import ConfigurationError

        loaded, settings = loading.load(mailing, overrides)
        source = source_of(mailing, recipients, settings)
        path = journal or mailing.with_suffix(".journal")
        if only and not path.exists():
            raise ConfigurationError(
                f"{path}: there is no such journal, and --only sends part of a finished run once "
                "more; send without --only first, or name its --journal"
            )
        scope = Scope(only=only, again=again, excepted=tuple(excepted))
        return cls(
            *(loaded, settings, source, path, report),
            scope=scope,
            quiet=quiet,
            checks=checks,
            approved=approved,
        )

    async def send(self) -> int:
        """Send, show progress, write the report. Return the exit code."""
        import anyio

        from mailsluice.cli import failure
        from mailsluice.engine.engine import Engine
        from mailsluice.model.errors import root_of

        _check_writable(self._report)
        engine: Engine | None = None
        with failure.midway(lambda: engine is not None and engine.has_begun):
            try:
                async with anyio.create_task_group() as tasks:
                    async with Engine.open(self._settings, journal=self._journal) as engine:
                        await tasks.start(_obey_signals, engine)
                        # A part of a run has been checked as a whole.
                        if self._checks and (self._approved or self._scope.only is None):
                            await self._check(engine)
                        report = await self._run(engine)
                    self._tell(report)
                    tasks.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                raise root_of(group) from None
        return report.exit_code

    async def _check(self, engine: Engine) -> None:
        """Raise CheckFailedError for an error that must keep the mailing from starting."""
        from mailsluice.cli import display

        # An approval holds for all that a thorough check sees.
        depth: Depth = "thorough" if self._approved else "quick"
        with display.waiting("checking the mailing", quiet=self._quiet):
            checked = await engine.check(self._mailing, self._source, depth=depth)
        if engine.is_stopping:
            return
        checked.require(self._approved)
        if depth == "quick":
            self._findings = checked.findings

    async def _say_findings(self, engine: Engine) -> None:
        """Print warnings as soon as something is sent: a held run has more important news."""
        from mailsluice.cli import output

        await engine.begun()
        for each in self._findings:
            output.warn(f"{each.level.value}: {each}")

    async def _run(self, engine: Engine) -> Report:
        import anyio

        async with anyio.create_task_group() as tasks:
            if not self._quiet:
                tasks.start_soon(self._show_if_possible, engine)
                tasks.start_soon(self._say_findings, engine)
            report = await engine.run(
                self._mailing,
                self._source,
                only=self._scope.only,
                again=self._scope.again,
                except_journals=self._scope.excepted,
            )
            tasks.cancel_scope.cancel()
        return report

    async def _show_if_possible(self, engine: Engine) -> None:
        """Show progress. An error there never ends the run."""
        import logging

        try:
            await self._show(engine)
        except Exception:
            logging.getLogger(__name__).debug("the progress display has failed", exc_info=True)

    async def _show(self, engine: Engine) -> None:
        from mailsluice.cli import display
        from mailsluice.cli.remaining import Remaining

        # While the account is asked.
        estimate = await self._source.estimate()
        remaining = Remaining(estimate=estimate, part=self._scope.only is not None)
        await display.show(engine, display.progress_console(), remaining)

    def _tell(self, report: Report) -> None:
        import shlex

        from rich.console import Console

        from mailsluice.cli import display, output
        from mailsluice.reports.remedies import remedy

        if self._report is not None:
            with output.ignore_broken_pipe():
                _write(report, self._report)
        if not self._quiet:
            with output.ignore_broken_pipe():
                console = Console(stderr=str(self._report) == "-")
                display.summarise(report, shlex.quote(str(self._journal)), console)
        elif report.hold:
            output.warn(f"held: {report.hold}; next: {remedy(report.hold.code)}")
        if report.state == "finished" and report.counts.read and not report.elapsed_s:
            output.warn(_HAD_FINISHED.format(journal=self._journal))

    async def plan(self) -> int:
        """Show what would be sent. Return the exit code."""
        from mailsluice.cli import dry_run

        return await dry_run.show(
            self._mailing, self._settings, self._source, self._journal, self._scope
        )


def _stop_at_once(*_: object) -> None:
    """End at once, for a signal before the engine exists: nothing is in flight."""
    import os

    os._exit(ExitCode.STOPPED)


async def _obey_signals(engine: Engine, *, task_status: TaskStatus[None]) -> None:
    """Stop the engine at the first signal, and end the process at the second."""
    import os
    import sys

    import anyio

    from mailsluice.cli import output

    with anyio.open_signal_receiver(*obeyed(SIGNALS)) as signals:
        task_status.started()
        told_at: float | None = None
        async for _ in signals:
            if told_at is not None and anyio.current_time() < told_at + TWICE_S:
                continue
            if told_at is not None:
                if sys.stderr.isatty():
                    os.write(sys.stderr.fileno(), SHOW_CURSOR)
                # What is in flight is found open in the journal, and is in doubt on resume.
                output.warn(f"stopped at once{_left_in_doubt(engine)}")
                os._exit(ExitCode.STOPPED)
            told_at = anyio.current_time()
            engine.stop()
            output.warn(
                "stopping when the calls in flight end; again to stop at once"
                f"{_left_in_doubt(engine)}"
            )


def _left_in_doubt(engine: Engine) -> str:
    now = engine.statistics()
    if now is None or not now.in_flight:
        return ""
    return f", which leaves {now.in_flight:,} recipient{'s'[: now.in_flight > 1]} in doubt"


def _check_writable(path: Path | None) -> None:
    """Check that the file can be written before anything is sent. Raises ConfigurationError."""
    import os

    from mailsluice.model.errors import ConfigurationError

    if path is None or str(path) == "-":
        return
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError(
            f"{path}: the report cannot be written there; name a file in a folder that exists and "
            "can be written"
        )


def _write(report: Report, path: Path) -> None:
    import sys

    import orjson

    from mailsluice.cli import output

    text = orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if str(path) == "-":
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
        return
    try:
        path.write_bytes(text)
    except OSError as error:
        # The mails are out and journalled: the exit code says what became of them.
        output.warn(f"{path}: the report is not written: {error.strerror}")
