"""The command: its entry point, and the one border at which errors become exit codes.

One file a command, each importing what it needs when it runs, so that `--help` stays quick. `app`
has them all; `runtime` runs an event loop, `output` prints, `failure` says what ended a command,
`extras` which packages a command needs beside the library's.

It knows every room; no room knows it. Start with `app`, then the command in question.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line. Every error ends as one line and a documented exit code."""
    try:
        # Within the border: an import, too, fails where memory or descriptors are short.
        import logging  # as above

        from mailsluice.cli import extras, output  # as above

        output.open_closed_streams()
        handler = logging.StreamHandler()
        handler.setFormatter(output.Formatter("mailsluice: %(message)s", lines=True))
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        # It logs each refresh that fails, with a traceback; our own messages say what that means.
        logging.getLogger("aiobotocore.credentials").setLevel(logging.CRITICAL)
        extras.require("cli")
        from mailsluice.cli.app import app  # as above

        app()
    except SystemExit as ended:
        sys.exit(_code_of_exit(ended))
    except Exception as error:  # noqa: BLE001  # the border
        sys.exit(_told(error))


def _code_of_exit(ended: SystemExit) -> str | int | None:
    """Return the exit code of a command that has ended by itself.

    Typer exits with 1 on a closed pipe and on EOFError (`typer.core._main`); 1 says "finished".
    """
    from mailsluice.cli import output  # as `main`

    cause = ended.__context__
    if isinstance(cause, BrokenPipeError):
        output.silence()  # the reader has seen enough
        return 0
    if isinstance(cause, Exception) and isinstance(cause.__cause__, EOFError):
        return _told(cause.__cause__)
    return ended.code


def _told(error: Exception) -> int:
    """Say what has happened. Return the exit code."""
    try:
        from mailsluice.cli import failure  # as `main`

        return failure.tell(error)
    except Exception:  # noqa: BLE001  # not even that can be imported, or written
        text = (
            b"mailsluice: this process has no memory or file descriptors left: raise its limits\n"
        )
        os.write(2, text)
        # `send` and `worker` import it before they begin: without it nothing was sent.
        return 70 if "mailsluice.cli.failure" in sys.modules else 2
