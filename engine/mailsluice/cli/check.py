"""`mailsluice check`: finds what will go wrong with a mailing before its first call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailsluice.reports.report import ExitCode

if TYPE_CHECKING:
    from mailsluice.checking.checked import Checked
    from mailsluice.checking.findings import Finding
    from mailsluice.config.settings import Settings
    from mailsluice.mailing.mailing import Mailing
    from mailsluice.sources.files import FileSource


def check(  # noqa: PLR0913, PLR0917  # one parameter a flag
    mailing: Annotated[Path, typer.Argument(help="The mailing, a TOML file.")],
    recipients: Annotated[
        str | None, typer.Option(help='Recipients, instead of [recipients] path; "-": stdin.')
    ] = None,
    rows: Annotated[
        str, typer.Option(metavar="N|all", help="How many rows of the list are checked.")
    ] = "all",
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask SES for nothing: check the list and the mailing.")
    ] = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Send one mail, to SES's mailbox simulator (it is billed)."),
    ] = False,
    digest: Annotated[
        bool,
        typer.Option("--digest", help="Print the hash that `send --approved` asks for."),
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: quota.rate=50."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a mailing, its list and its account; send nothing.

    Exit codes: 0 no error was found; 2 an error was found, or the mailing cannot be read.
    """
    from mailsluice.cli import runtime

    if live and offline:
        raise typer.BadParameter("--live and --offline exclude each other")
    asked = _Check(mailing, recipients, _rows(rows), set_ or [])
    raise typer.Exit(runtime.run(asked.run(offline=offline, live=live, digest=digest, json=json)))


def _rows(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or not int(text):
        raise typer.BadParameter('--rows: give a number of rows from 1, or "all"')
    return int(text)


class _Check:
    """A check, as the flags ask for it."""

    def __init__(
        self, path: Path, recipients: str | None, rows: int | None, overrides: Sequence[str]
    ) -> None:
        from mailsluice.cli.send import source_of
        from mailsluice.config import loading

        self._mailing: Mailing
        self._settings: Settings
        self._mailing, self._settings = loading.load(path, overrides)
        self._source: FileSource = source_of(path, recipients, self._settings)
        self._rows = rows

    async def run(self, *, offline: bool, live: bool, digest: bool, json: bool) -> ExitCode:
        from mailsluice.cli import output
        from mailsluice.engine.engine import Engine
        from mailsluice.model.errors import ConfigurationError

        async with Engine.open(self._settings) as engine:
            checked = await engine.check(
                self._mailing, self._source, rows=self._rows, offline=offline, live=live
            )
        if json:
            output.write_json(self._json(checked))
        else:
            self._tell(checked)
        if digest:
            if checked.digest is None:
                raise ConfigurationError(
                    "there is no digest: it needs the template's text (ses:GetEmailTemplate) and "
                    "all rows of a list that is a file"
                )
            if not json:
                output.write(f"digest      {checked.digest}")
        return ExitCode.BAD_INPUT if checked.errors else ExitCode.FINISHED

    def _json(self, checked: Checked) -> bytes:
        import orjson

        seen = checked.seen
        table: dict[str, Any] = {
            "findings": [_as_table(each) for each in checked.findings],
            "rows": seen
            and {
                "read": seen.read,
                "accepted": seen.accepted,
                "refused": seen.refused,
                "addresses": seen.weight,
                "columns": seen.impression.columns if seen.impression else (),
            },
            "digest": checked.digest,
        }
        return orjson.dumps(table, option=orjson.OPT_INDENT_2)

    def _tell(self, checked: Checked) -> None:
        from mailsluice.cli import list_text, output

        if checked.seen is not None:
            for line in list_text.lines(checked.seen, self._settings.recipients):
                output.write(line)
        if checked.facts.account is not None and checked.seen is not None:
            for line in list_text.cost_lines(
                checked.facts.account, checked.seen.weight, self._settings.quota
            ):
                output.write(line)
        for each in checked.findings:
            output.write("")
            output.write(f"{each.level.value:<8}{each.code}")
            for line in _wrapped(each):
                output.write(line)
        output.write("")
        output.write(_verdict(checked))


def _as_table(found: Finding) -> dict[str, str]:
    return {
        "code": found.code,
        "level": found.level.value,
        "text": found.text,
        "remedy": found.remedy,
    }


def _wrapped(found: Finding) -> list[str]:
    import textwrap

    return [
        *textwrap.wrap(found.text, 92, initial_indent="        ", subsequent_indent="        "),
        *textwrap.wrap(
            found.remedy, 92, initial_indent="     -> ", subsequent_indent="        ",
            break_on_hyphens=False,
        ),
    ]  # fmt: skip


def _verdict(checked: Checked) -> str:
    from collections import Counter

    counted = Counter(each.level.value for each in checked.findings)
    told = [
        f"{count:,} {level}{'s'[: count > 1]}"
        for level in ("error", "warning")
        if (count := counted[level])
    ]
    if checked.errors:
        return f"{' and '.join(told)}: `mailsluice send` will not begin"
    return f"{told[0]}; nothing keeps it from being sent" if told else "nothing wrong was found"
