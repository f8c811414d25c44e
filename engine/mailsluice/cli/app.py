"""The command line: one file a command, each importing what it needs only when it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

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


class _OneMailing(TyperCommand):
    """A command whose only argument is a mailing file; says where a list goes."""

    allow_extra_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UsageError if there are more than one."""
        left = super().parse_args(ctx, args)
        if ctx.args:
            ctx.fail(
                f"unexpected argument: {' '.join(ctx.args)}; a list of recipients goes to "
                "--recipients, or into [recipients] path of the mailing file"
            )
        return left


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


app.command("check", cls=_OneMailing)(check.check)
app.command("preview", cls=_OneMailing)(preview.preview)
app.command("send", cls=_OneMailing)(send.send)
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
