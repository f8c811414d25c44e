"""`mailsluice pause`, `resume`, `cancel`: an operator's orders to a running worker, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ANSWERS_S = 10.0

_DONE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}

File = Annotated[Path, typer.Argument(help="The worker's settings, a TOML file.", metavar="FILE")]
Mailing = Annotated[str, typer.Argument(help="Its name: that of its folder, or its key.")]
AnyMailing = Annotated[
    str | None, typer.Argument(help="Its name: that of its folder, or its key. Default: all.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: http.port=8026."),
]


def pause(file: File, mailing: AnyMailing = None, set_: Set = None) -> None:
    """Pause a mailing, or everything, of a running worker until `resume`.

    Exit 2: no worker answers, or there is nothing to pause.
    """
    _tell(file, mailing, set_ or [], "pause")


def resume(file: File, mailing: AnyMailing = None, set_: Set = None) -> None:
    """Resume what is paused in a running worker, or try at once what is held.

    Exit 2: no worker answers, or there is nothing to resume.
    """
    _tell(file, mailing, set_ or [], "resume")


def cancel(file: File, mailing: Mailing, set_: Set = None) -> None:
    """Cancel a mailing of a running worker for good.

    Exit 2: no worker answers, or there is nothing to cancel.
    """
    _tell(file, mailing, set_ or [], "cancel")


def _tell(file: Path, mailing: str | None, overrides: list[str], action: str) -> None:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.parse import quote
    from urllib.request import ProxyHandler, Request, build_opener

    from mailsluice.cli import output
    from mailsluice.config import loading
    from mailsluice.model.errors import ConfigurationError

    http = loading.load_worker(file, overrides).http
    if http.port == 0:
        raise ConfigurationError("[http] port is 0: say which, as in --set http.port=8025")
    place = f"mailings/{quote(mailing, safe='')}/{action}" if mailing else action
    request = Request(f"{http.url}/{place}", method="POST")  # noqa: S310  # it is http
    if http.token:
        request.add_header("Authorization", f"Bearer {http.token}")
    try:
        build_opener(ProxyHandler({})).open(request, timeout=ANSWERS_S).close()
    except HTTPError as error:
        with error:
            raise ConfigurationError(error.read().decode(errors="replace").strip()) from error
    except HTTPException:
        raise ConfigurationError(f"what answers at {http.url} is no worker") from None
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigurationError(
            f"no worker answers at {http.url}: {reason}; is it running, with these settings?"
        ) from error
    output.write(f"{mailing or 'the worker'}: {_DONE[action]}")
