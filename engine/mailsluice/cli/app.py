"""The command line: one file a command, each importing what it needs only when it runs."""

from __future__ import annotations

import typer

from mailsluice.cli import demo, emulator, export, operate, resolve, send, status, why, worker

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
