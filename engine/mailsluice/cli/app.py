"""The command line: one file a command, each importing what it needs only when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from mailsluice.cli import (
    check,
    demo,
    emulator,
    events,
    export,
    operate,
    preview,
    resolve,
    send,
    status,
    suppress,
    why,
    worker,
)

app = typer.Typer(
    name="mailsluice",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:  # a flag
    if asked:
        from mailsluice import __version__

        typer.echo(f"mailsluice {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Send mailings through Amazon SES v2 at the account's full rate.

    Every recipient is accounted for.
    """


app.command("check")(check.check)
app.command("preview")(preview.preview)
app.command("send")(send.send)
app.command("status")(status.status)
app.command("why")(why.why)
app.command("export")(export.export)
app.command("events")(events.events)
app.command("resolve")(resolve.resolve)
app.add_typer(suppress.app, name="suppress")
app.command("worker")(worker.worker)
app.command("pause")(operate.pause)
app.command("resume")(operate.resume)
app.command("cancel")(operate.cancel)
app.command("emulator")(emulator.emulator)
app.command("demo")(demo.demo)
