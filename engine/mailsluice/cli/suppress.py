"""`mailsluice suppress`: whom not to mail."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mailsluice.cli.suppression_lists import EXPORTS, FORMATS, REASONS

if TYPE_CHECKING:
    from mailsluice.config.settings import Settings
    from mailsluice.ses.control_plane import ControlPlane
    from mailsluice.suppression.exports import Format, Refused
    from mailsluice.suppression.scopes import Suppression
    from mailsluice.suppression.store import Suppressions

IMPORTED_AT_ONCE = 500_000
"""Addresses per transaction: each touches as many pages as a hundred of them would."""

REFUSED_SHOWN_MAX = 20
"""Rows of a file that are named because they cannot be used."""

DAY_S = 86_400

SOME_NOT = 1
"""Exit code if what was asked for is not true, or was not done, of some addresses or rows."""

_PULLED = "{listed:,} listed by SES, {new:,} new, {refused:,} cannot be used"

Result = TypeVar("Result")

app = typer.Typer(no_args_is_help=True, help="Whom not to mail: list, change, import, export.")

Addresses = Annotated[
    list[str], typer.Argument(help='Addresses; "-": one per line of standard input.')
]
Store = Annotated[
    Path | None, typer.Option("--store", help="The store; made by `add` and `import`.")
]
File = Annotated[
    Path | None,
    typer.Option("--file", help="A mailing's or worker's file: its [suppression] path."),
]
Scope = Annotated[
    str | None,
    typer.Option("--scope", help='"all", "mailings", or a kind of mailing. Default: all.'),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HashOnly = Annotated[
    bool, typer.Option("--hash-only", help="Keep no address, only its keyed hash.")
]


@app.command("add")
def add(  # noqa: PLR0913, PLR0917  # one parameter a flag
    addresses: Addresses,
    store: Store = None,
    file: File = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar=REASONS, help="Why they are suppressed.")
    ] = "manual",
    scope: Annotated[
        str | None,
        typer.Option("--scope", help="From which mail; default: as the reason has it."),
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="For so many days; default: for good.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Where this comes from.")] = "",
    hash_only: HashOnly = False,
    json: Json = False,
) -> None:
    """Suppress addresses: from the moment this ends, no process begins to mail them.

    Exit codes: 0 done; 2 bad usage or address; 5 the store.
    """
    from mailsluice.cli import suppression_lists as lists
    from mailsluice.suppression.scopes import SCOPE_OF, Suppression

    known, now = lists.reason_of(reason), time.time()
    expires = None if days is None else now + days * DAY_S
    keys = lists.keys_of(addresses)
    chosen = lists.scope_of(scope) or SCOPE_OF[known]
    with _opened(store, file, hash_only=hash_only, make=True) as opened:
        new = opened.add(Suppression(key, known, chosen, now, note, expires) for key in keys)
    _tell(json, {"suppressed": len(keys), "new": new}, f"{len(keys):,} suppressed, {new:,} new")


@app.command("remove")
def remove(  # noqa: PLR0913, PLR0917  # one parameter a flag
    addresses: Addresses,
    store: Store = None,
    file: File = None,
    scope: Scope = None,
    from_ses: Annotated[
        bool, typer.Option("--from-ses", help="Also from SES's list of the account.")
    ] = False,
    json: Json = False,
) -> None:
    """Let addresses be mailed again.

    Exit codes: 0 done; 1 one of them was not suppressed; 2 bad usage or address; 5 the store.
    """
    from mailsluice.cli import suppression_lists as lists
    from mailsluice.cli import suppression_sync as sync

    keys = lists.keys_of(addresses)
    with _opened(store, file) as opened:
        if from_ses:
            _with_ses(file, lambda ses: sync.allow(ses, opened, keys))
        gone = sum(bool(opened.remove(key, scope)) for key in keys)
    _tell(json, {"removed": gone}, f"{gone:,} of {len(keys):,} removed")
    raise typer.Exit(SOME_NOT if gone < len(keys) else 0)


@app.command("has")
def has(
    addresses: Addresses,
    store: Store = None,
    file: File = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="A kind of mailing; default: say what is there for any mail."),
    ] = None,
    json: Json = False,
) -> None:
    """Say whether addresses are suppressed, and why.

    Exit codes: 0 all of them are; 1 one is not; 2 bad usage or address; 5 the store.
    """
    from mailsluice.cli import suppression_lists as lists
    from mailsluice.suppression.scopes import applies

    keys, now, missing = lists.keys_of(addresses), time.time(), 0
    with _opened(store, file) as opened:
        for key in keys:
            found = [
                each
                for each in opened.entries(key)
                if (each.expires is None or each.expires > now)
                and (to is None or applies(each.scope, to))
            ]
            missing += not found
            said = "; ".join(map(lists.described, found)) or "not suppressed"
            _tell(json, {"address": key, "found": [*map(lists.as_dict, found)]}, f"{key}: {said}")
    raise typer.Exit(SOME_NOT if missing else 0)


@app.command("forget")
def forget(
    addresses: Addresses, store: Store = None, file: File = None, json: Json = False
) -> None:
    """Erase addresses from the store's files; they stay suppressed, by their keyed hashes.

    Exit codes: 0 done; 1 the store held none of one of them; 2 bad usage or address; 5 the store.
    """
    from mailsluice.cli import suppression_lists as lists

    keys = lists.keys_of(addresses)
    with _opened(store, file) as opened:
        changed = sum(bool(opened.forget(key)) for key in keys)
    _tell(json, {"forgotten": changed}, f"{changed:,} of {len(keys):,} forgotten")
    raise typer.Exit(SOME_NOT if changed < len(keys) else 0)


@app.command("import")
def import_(  # noqa: PLR0913, PLR0917  # one parameter a flag
    files: Annotated[
        list[Path] | None, typer.Argument(help='Lists to import; "-": standard input.')
    ] = None,
    store: Store = None,
    file: File = None,
    format_: Annotated[
        str, typer.Option("--format", metavar=FORMATS, help="Whose export it is.")
    ] = "csv",
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar=REASONS, help="For rows that do not say why."),
    ] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", help="For all rows; default: as their reason has it.")
    ] = None,
    from_ses: Annotated[
        bool, typer.Option("--from-ses", help="All of SES's list of the account instead.")
    ] = False,
    hash_only: HashOnly = False,
    json: Json = False,
) -> None:
    """Suppress whom lists name: exports of SES, Mailgun, SendGrid, Postmark, or any CSV.

    A row that cannot be used is named by file and row; all others are imported.

    Exit codes: 0 every row was imported; 1 some cannot be used; 2 bad usage or file; 5 the store.
    """
    from mailsluice.cli import suppression_lists as lists
    from mailsluice.cli import suppression_sync as sync

    if from_ses == bool(files):
        raise typer.BadParameter("name the files to import, or --from-ses, and not both")
    if from_ses:
        with _opened(store, file, hash_only=hash_only, make=True) as opened:
            told = _with_ses(file, lambda ses: sync.pull(ses, opened, whole=True))
        _tell(json, told, _PULLED.format(**told))
        return
    assert files is not None
    kind: Format = lists.format_of(format_)
    why = None if reason is None else lists.reason_of(reason)
    chosen = lists.scope_of(scope)
    totals = {"suppressed": 0, "new": 0, "refused": 0}
    with _opened(store, file, hash_only=hash_only, make=True) as opened:
        for path in files:
            rows = lists.read(path, kind, why, chosen, time.time())
            _import(opened, str(path), rows, totals)
    _tell(
        json,
        totals,
        "{suppressed:,} suppressed, {new:,} new, {refused:,} rows refused".format(**totals),
    )
    raise typer.Exit(SOME_NOT if totals["refused"] else 0)


def _import(
    store: Suppressions,
    name: str,
    rows: Iterator[Suppression | Refused],
    totals: dict[str, int],
) -> None:
    """Add in large parts, and name the rows that cannot be used."""
    from mailsluice.cli import output
    from mailsluice.cli import suppression_lists as lists
    from mailsluice.suppression.exports import Refused

    before = totals["refused"]
    for part in lists.parts(rows, IMPORTED_AT_ONCE):
        for each in part:
            if isinstance(each, Refused):
                totals["refused"] += 1
                if totals["refused"] - before <= REFUSED_SHOWN_MAX:
                    output.warn(f"{name}: row {each.row}: {each.why}")
        usable = [each for each in part if not isinstance(each, Refused)]
        totals["suppressed"] += len(usable)
        totals["new"] += store.add(usable)
    if (more := totals["refused"] - before - REFUSED_SHOWN_MAX) > 0:
        output.warn(f"{name}: {more:,} further rows cannot be used")


@app.command("export")
def export(
    store: Store = None,
    file: File = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar=EXPORTS,
            help="csv; ndjson; ses: the file of an import job of SES's account list.",
        ),
    ] = "csv",
    to_ses: Annotated[
        bool, typer.Option("--to-ses", help="Put it on SES's list instead: an address per second.")
    ] = False,
) -> None:
    """Write the list to standard output, in the order of the store.

    SES's list knows bounces and complaints only: with `ses` the others are left out and counted.
    Of addresses whose hash alone is kept, CSV and NDJSON say why and since when.

    Exit codes: 0 all were written; 1 `ses`: some cannot be; 2 bad usage; 5 the store.
    """
    import sys

    from mailsluice.cli import output
    from mailsluice.cli import suppression_lists as lists
    from mailsluice.cli import suppression_sync as sync

    kind = lists.export_of(format_)
    if to_ses:
        with _opened(store, file) as opened:
            put = _with_ses(file, lambda ses: sync.push(ses, opened))
        output.write(f"{put:,} put on SES's list")
        return
    with _opened(store, file) as opened, output.ignore_broken_pipe():
        left_out = lists.write(opened.entries(), kind, sys.stdout)
    if left_out:
        output.warn(
            f"{left_out:,} are left out: SES's list knows no such reason, or not their address"
        )
    raise typer.Exit(SOME_NOT if left_out else 0)


@app.command("sync")
def sync_(store: Store = None, file: File = None, json: Json = False) -> None:
    """Bring the store and SES's list of the account together.

    Takes over what SES's list has gained since the last sync, and puts there the bounces and
    complaints that are not known to be on it, an address per second. What is removed from one is
    not removed from the other: `suppress remove --from-ses` does both.

    Exit codes: 0 done; 2 bad usage, or SES gives no answer; 5 the store.
    """
    from mailsluice.cli import suppression_sync as sync

    async def both(ses: ControlPlane) -> dict[str, int]:
        told = await sync.pull(ses, opened, whole=False)
        return {**told, "put": await sync.push(ses, opened)}

    with _opened(store, file, make=True) as opened:
        told = _with_ses(file, both)
    _tell(json, told, f"{_PULLED}; {{put:,}} put on SES's list".format(**told))


def _with_ses(file: Path | None, do: Callable[[ControlPlane], Awaitable[Result]]) -> Result:
    """Run something that asks SES."""
    from mailsluice.cli import runtime
    from mailsluice.cli import suppression_sync as sync

    async def run() -> Result:
        async with sync.control_plane(_settings(file)) as ses:
            return await do(ses)

    return runtime.run(run())


@contextmanager
def _opened(
    store: Path | None, file: Path | None, *, hash_only: bool = False, make: bool = False
) -> Iterator[Suppressions]:
    """Open the store that flags, file or environment name. Raises ConfigurationError."""
    from mailsluice.config.settings import SuppressionSettings
    from mailsluice.model.errors import ConfigurationError
    from mailsluice.suppression.store import Suppressions

    if store is not None and file is not None:
        raise typer.BadParameter("--store and --file exclude each other")
    settings = _settings(file).suppression
    if store is not None:
        settings = (settings or SuppressionSettings()).model_copy(update={"path": store})
    if settings is None:
        where = f"{file}: it has no [suppression]" if file else "no store is named"
        raise ConfigurationError(f"{where}; give --store FILE, or --file with [suppression] path")
    if not make and not settings.path.exists():
        raise ConfigurationError(
            f"{settings.path}: there is no such store; `suppress add` and `import` make one"
        )
    opened = Suppressions.open(settings.path, "hash" if hash_only else settings.keep)
    try:
        yield opened
    finally:
        opened.close()


def _settings(file: Path | None) -> Settings:
    from mailsluice.config import loading
    from mailsluice.config.settings import Settings

    return Settings() if file is None else loading.load_suppression(file)


def _tell(json: bool, table: dict[str, Any] | Sequence[Any], text: str) -> None:  # a flag
    import orjson

    from mailsluice.cli import output

    if json:
        output.write_json(orjson.dumps(table))
    else:
        output.write(text)
