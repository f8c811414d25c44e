"""The command line: one file a command, each importing what it needs only when it runs."""

from __future__ import annotations

import logging
import sys

import typer

from mailsluice.cli import demo, emulator, export, operate, resolve, send, status, why, worker
from mailsluice.errors import JournalError, MailsluiceError
from mailsluice.report import ExitCode

app = typer.Typer(
    name="mailsluice",
    help="Send mailings through Amazon SES v2 at the account's full rate, "
    "and account for every recipient.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("send")(send.send)
app.command("status")(status.status)
app.command("why")(why.why)
app.command("export")(export.export)
app.command("resolve")(resolve.resolve)
app.command("worker")(worker.worker)
app.command("pause")(operate.pause)
app.command("resume")(operate.resume)
app.command("cancel")(operate.cancel)
app.command("emulator")(emulator.emulator)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line; errors of ours become one line and a documented exit code."""
    logging.basicConfig(level=logging.WARNING, format="mailsluice: %(message)s")
    try:
        app()
    except MailsluiceError as error:
        print(f"mailsluice: {error}", file=sys.stderr)  # the command's own output
        sys.exit(ExitCode.JOURNAL if isinstance(error, JournalError) else ExitCode.BAD_INPUT)
