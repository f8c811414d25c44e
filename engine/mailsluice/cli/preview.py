"""`mailsluice preview`: the mail as a recipient would get it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mailsluice.reports.report import ExitCode

if TYPE_CHECKING:
    from mailsluice.checking.previewing import Choosing, Previewed
    from mailsluice.config.settings import Settings
    from mailsluice.mailing.mailing import Mailing

Shape = Literal["html", "text", "eml"]

MARK = "X-Mailsluice-Preview"
"""Header of a mail that `--send-to` sends."""


def preview(  # noqa: PLR0913, PLR0917  # one parameter a flag
    mailing: Annotated[Path, typer.Argument(help="The mailing, a TOML file.")],
    row: Annotated[
        int | None, typer.Option(min=1, help="The row of that number (default: the first).")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="The first row that is sent to this address.")
    ] = None,
    longest: Annotated[
        bool, typer.Option("--longest", help="The row with the longest message.")
    ] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, max=1000, help="So many rows at random, always the same.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Print the HTML and nothing else.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Print the text and nothing else.")] = False,
    eml: Annotated[bool, typer.Option("--eml", help="Print the message as an .eml file.")] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Show it in the browser, without remote content.")
    ] = False,
    via_ses: Annotated[
        bool, typer.Option("--via-ses", help="Print the message as SES itself renders it.")
    ] = False,
    send_to: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Send it to this address (it is billed).")
    ] = None,
    recipients: Annotated[
        str | None, typer.Option(help='Recipients, instead of [recipients] path; "-": stdin.')
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: quota.rate=50."),
    ] = None,
) -> None:
    """Show a recipient's mail: content, headers, tags, size, and what is wrong with it.

    Exit codes: 0 shown; 2 there is no such row, or it cannot be rendered. With --send-to as those
    of `send`.
    """
    from mailsluice.checking.previewing import choosing
    from mailsluice.cli import runtime

    given: dict[Shape, bool] = {"html": html, "text": text, "eml": eml}
    shapes = [shape for shape, wanted in given.items() if wanted]
    if len(shapes) + via_ses > 1:
        raise typer.BadParameter("--html, --text, --eml and --via-ses exclude each other")
    if sum(map(bool, (row, address, longest, sample))) > 1:
        raise typer.BadParameter("--row, --address, --longest and --sample exclude each other")
    choice = choosing(row=row, address=address, longest=longest, sample=sample)
    asked = _Preview(mailing, recipients, set_ or [])
    shape = shapes[0] if shapes else None
    raise typer.Exit(
        runtime.run(asked.run(choice, shape, opens=open_, via_ses=via_ses, send_to=send_to))
    )


class _Preview:
    """What the flags add up to."""

    def __init__(self, path: Path, recipients: str | None, overrides: Sequence[str]) -> None:
        from mailsluice.cli.send import source_of
        from mailsluice.config import loading

        self._path = path
        self._mailing: Mailing
        self._settings: Settings
        self._mailing, self._settings = loading.load(path, overrides)
        self._source = source_of(path, recipients, self._settings)

    async def run(
        self,
        choice: Choosing,
        shape: Shape | None,
        *,
        opens: bool,
        via_ses: bool,
        send_to: str | None,
    ) -> int:
        from mailsluice.engine.engine import Engine

        async with Engine.open(self._settings) as engine:
            found = await engine.previews(self._mailing, self._source, choice, via_ses=via_ses)
        for each in found:
            _tell(each, shape)
        if opens:
            _open(found)
        if send_to is not None:
            return await self._send(found, send_to)
        return ExitCode.FINISHED

    async def _send(self, found: Sequence[Previewed], to: str) -> int:
        """Send these mails to one address, by the ordinary path, with a journal of their own."""
        import datetime as dt

        from mailsluice.cli import output
        from mailsluice.engine.engine import Engine
        from mailsluice.mailing.mailing import Mailing

        now = dt.datetime.now(dt.UTC)
        journal = self._path.with_name(f"{self._path.stem}.preview-{now:%Y%m%dT%H%M%S%f}.journal")
        marked = Mailing.model_validate(
            self._mailing.model_copy(update={"headers": self._mailing.headers | {MARK: "true"}})
        )
        everybody = [each.recipient._replace(to=to, cc=(), bcc=(), key=None) for each in found]
        # All go to one address.
        reading = self._settings.recipients.model_copy(update={"dedupe": "none"})
        settings = self._settings.model_copy(update={"recipients": reading})
        async with Engine.open(settings, journal=journal) as engine:
            report = await engine.run(marked, everybody)
        told = f"held: {report.hold}" if report.hold else f"{report.counts.sent:,} sent"
        output.warn(f"{told}; the journal is {journal}")
        return report.exit_code


def _tell(each: Previewed, shape: Shape | None) -> None:
    import sys

    from mailsluice.cli import output

    shown = each.preview
    if each.mime is not None or shape is not None:
        content = each.mime
        if content is None:
            content = {"html": shown.html, "text": shown.text}.get(shape or "")
        raw = shown.message().as_bytes() if shape == "eml" else (content or "").encode()
        with output.ignore_broken_pipe():
            sys.stdout.buffer.write(raw.rstrip(b"\n") + b"\n")
            sys.stdout.flush()
        return
    output.write(f"row         {shown.row:,}")
    for name, value in shown.lines():
        output.write(f"{name:<11} {value}")
    output.write("")
    for line in (shown.text or shown.html or "").splitlines():
        output.write(line)
    output.write("")


def _open(found: Sequence[Previewed]) -> None:
    """Show each in the browser, from a folder that only this user may read."""
    import tempfile
    import webbrowser

    from mailsluice.cli import output

    folder = Path(tempfile.mkdtemp(prefix="mailsluice-preview-"))
    for each in found:
        file = folder / f"row-{each.preview.row}.html"
        file.write_text(each.preview.page(), encoding="utf-8")
        output.warn(f"written: {file}")
        webbrowser.open(file.as_uri())
