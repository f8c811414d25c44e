"""`mailsluice demo`: a whole run on loopback, with the usual faults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from mailsluice.emulator import EmulatorOptions, EmulatorProcess
    from mailsluice.reports.audit import Audit

RATE_PER_S = 1_000
"""The emulated account: 20,000 recipients take 20 seconds."""

LATENCY_S = "0.03-0.12"
"""SES usually answers in 40 to 60 ms (peers' measurements), sometimes later."""

TRANSIENT_SHARE = 0.01
THROTTLED_SHARE = 0.005

FOLDER = "mailsluice-demo"

MAILING = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"
data = { city = "Lisbon" }
tags = { campaign = "demo" }

[recipients]
path = "recipients.csv"
"""

BAD_ADDRESSES = ("no-at.example.com", "zoë@example.com", "a@-bad-.example", "", "a b@example.com")


def demo(
    recipients: Annotated[
        int, typer.Option("--recipients", min=100, help="Rows of the generated list.")
    ] = 20_000,
    folder: Annotated[
        Path | None,
        typer.Option(help="A new folder for list and journal. Default: mailsluice-demo, here."),
    ] = None,
) -> None:
    """Send a generated list to an emulated SES on loopback, and compare both ledgers.

    List and journal stay, for `status`, `why` and `export`. Exit code 0 if what the journal
    believes is what the emulated SES accepted.
    """
    from mailsluice.cli import runtime

    raise typer.Exit(runtime.run(_Demo(_made(folder), recipients).run()))


def _made(folder: Path | None) -> Path:
    """Make the folder, or the first free one of mailsluice-demo, mailsluice-demo-2 and so on."""
    from mailsluice.model.errors import ConfigurationError

    wanted = [folder] if folder else (Path(f"{FOLDER}{n}") for n in ("", *range(-2, -1000, -1)))
    for path in wanted:
        try:
            path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigurationError(
                f"{path}: the folder cannot be made: {error.strerror}; name another one: --folder"
            ) from error
        return path
    raise ConfigurationError(f"{path}: it exists; name a folder that does not: --folder")


class _Demo:
    def __init__(self, folder: Path, recipients: int) -> None:
        self._folder = folder
        self._recipients = recipients

    async def run(self) -> int:
        """Write the list, start the emulator, send, compare."""
        import os

        from rich.console import Console

        from mailsluice import emulator
        from mailsluice.cli.send import Job

        console = Console(highlight=False, soft_wrap=True)
        write_list(self._folder / "recipients.csv", self._recipients)
        mailing = self._folder / "mailing.toml"
        mailing.write_text(MAILING)
        async with emulator.emulator_process(_options()) as process:
            os.environ.update(process.environment)
            console.print(
                f"an emulated SES at {process.url}: {RATE_PER_S:,} recipients/s, "
                f"{TRANSIENT_SHARE:.1%} fail for a while, {THROTTLED_SHARE:.1%} are throttled"
            )
            console.print(f"a list of {self._recipients:,} rows, some bad, some twice\n")
            await Job.from_flags(mailing).send()
            audit = await self._compare(process)
        code = _tell(audit, console)
        _tell_next(self._folder / "mailing.journal", console)
        return code

    async def _compare(self, process: EmulatorProcess) -> Audit:
        import aiohttp
        import orjson

        from mailsluice.journal.sqlite import SqliteJournal
        from mailsluice.reports import audit, export

        ledger = f"{process.url}/_emulator/ledger"
        async with aiohttp.ClientSession() as session, session.get(ledger) as answer:
            accepted = [orjson.loads(line) async for line in answer.content]
        journal = SqliteJournal.read(self._folder / "mailing.journal")
        try:
            return audit.compare(
                export.lines(journal),
                [(each["tags"]["mailsluice-id"], each["message_id"]) for each in accepted],
            )
        finally:
            journal.close()


def write_list(path: Path, rows: int) -> None:
    """Write a realistic list: every 500th address is bad, every 300th is a duplicate."""
    with path.open("w", encoding="utf-8") as file:
        file.write("email,name\n")
        for n in range(1, rows + 1):
            address = f"user{n}@example.com"
            if n % 500 == 0:
                address = BAD_ADDRESSES[n // 500 % len(BAD_ADDRESSES)]
            elif n % 300 == 0:
                address = f"User{n - 7}@Example.com"
            file.write(f"{address},Name {n}\n")


def _options() -> EmulatorOptions:
    from mailsluice.emulator import (
        AccountSettings,
        EmulatorOptions,
        EntryFault,
        Latency,
        Script,
    )

    return EmulatorOptions(
        account=AccountSettings(rate_per_s=RATE_PER_S, daily_max=-1),
        latency=Latency.parse(LATENCY_S),
        faults=Script(
            seed=20,
            entry=(
                EntryFault(status="TRANSIENT_FAILURE", rate=TRANSIENT_SHARE, times=2),
                EntryFault(status="ACCOUNT_THROTTLED", rate=THROTTLED_SHARE, times=1),
            ),
        ),
    )


def _tell(audit: Audit, console: Console) -> int:
    console.print("\n[bold]both ledgers[/]")
    console.print(f"sent, says the journal       {audit.sent:>10,}")
    console.print(f"accepted, says the emulator  {audit.accepted:>10,}")
    console.print(f"sent, but never accepted     {len(audit.lost):>10,}")
    console.print(f"accepted, but not accounted  {len(audit.unexplained):>10,}")
    console.print(f"accepted more than once      {len(audit.duplicated):>10,}")
    console.print("[bold green]they agree[/]" if audit.agree else "[bold red]they differ[/]")
    return 0 if audit.agree else 1


def _tell_next(journal: Path, console: Console) -> None:
    """Name the commands that look into the journal."""
    import shlex

    command, path = _command(), shlex.quote(str(journal))
    tries = (
        (f"status {path}", "the run: counts, rate, what SES has answered"),
        (f"why {path} {_tried_again(journal)}", "every attempt for one recipient"),
        (f"export {path} --state refused", "one line per recipient in a state, as CSV"),
    )
    width = max(len(line) for line, _ in tries)
    console.print(f"\n[bold]what to try next[/] (the journal is {path})")
    for line, meaning in tries:
        console.print(f"{command} {line:<{width}}  {meaning}", markup=False)
    console.print("A first real mailing in five minutes: README.md")


def _command() -> str:
    """Return what the user has to type for `mailsluice`."""
    import shutil
    import sys

    typed = Path(sys.argv[0])
    if typed.name != "mailsluice":
        return "python -m mailsluice"
    found = shutil.which("mailsluice")
    return "mailsluice" if found and Path(found).resolve() == typed.resolve() else str(typed)


def _tried_again(journal: Path) -> str:
    """Return the first address that took more than one attempt, or else the first of all."""
    from contextlib import closing

    from mailsluice.journal.sqlite import SqliteJournal
    from mailsluice.reports import export

    first = ""
    with closing(SqliteJournal.read(journal)) as opened:
        for line in export.lines(opened):
            first = first or line.address
            if line.attempts > 1:
                return line.address
    return first
