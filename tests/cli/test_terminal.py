"""What others have written reaches a terminal or a log as text, and never as an order to it."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from mailsluice.cli import output
from mailsluice.emulator import EntryFault
from mailsluice.model.plain import plain, plain_json

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

ORDERS = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202e\u2028\r\nmailsluice: all sent"
"""Changes the title, clears the screen, colours it, turns the text round, forges a line."""

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]")


def is_plain(text: str) -> bool:
    return CONTROLS.search(text) is None and "\nmailsluice: all sent" not in text


@pytest.mark.parametrize("text", ["", "Zoë, ünïcode 邮件 👩‍💻", "a\\b"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert is_plain(plain(ORDERS))
    assert plain("\x1b[2J\n\udcff") == r"\x1b[2J\n\udcff"


def test_json_stays_the_same_document() -> None:
    document = {"why": ORDERS, "ok": "Zoë"}
    text = plain_json(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    assert json.loads(text) == document
    assert is_plain(text)
    assert "Zoë" in text


@pytest.mark.parametrize("lines", [True, False])
def test_no_record_of_a_log_can_forge_another(*, lines: bool) -> None:
    formatter = output.Formatter("%(levelname)s %(message)s", lines=lines)
    forged = "a\nERROR forged"
    error = ValueError(forged)
    exception = (ValueError, error, None)
    record = logging.LogRecord("", logging.INFO, "", 0, "%s", (forged,), exception)
    first, *others = formatter.format(record).split("\n")
    assert first == ("INFO a" if lines else r"INFO a\nERROR forged")
    assert all(line.startswith("  ") for line in others)


def test_what_ses_says_is_shown_as_text_by_each_command(folder: Folder) -> None:
    fault = EntryFault(status="ACCOUNT_SENDING_PAUSED", error=f"paused {ORDERS}", address="cy*")
    folder.emulator.faults.add(
        fault, EntryFault(status="MESSAGE_REJECTED", error=ORDERS, address="bob*")
    )
    folder.write_list(["ann@example.com", "bob@example.com", "cy@example.com"])
    held = folder.send()
    assert held.code == 3
    for ended in (
        held,
        folder.run("status", "mailing.journal"),
        folder.run("status", "mailing.journal", "--json"),
        folder.run("why", "mailing.journal", "bob@example.com"),
        folder.run("why", "mailing.journal", "bob@example.com", "--json"),
    ):
        assert is_plain(ended.out), repr(ended.out)
        assert is_plain(ended.err), repr(ended.err)
        assert "[2J" in ended.out + ended.err
    assert is_plain(folder.report()["hold"])


def test_what_a_list_holds_is_shown_as_text(folder: Folder) -> None:
    folder.write("recipients.csv", f'"{ORDERS}",x\n1,2\n')
    columns = folder.send()
    folder.write("recipients.csv", f'email,name\n"ann@example.com{ORDERS}","{ORDERS}"\n')
    rows = folder.send("--dry-run")
    folder.write_mailing("recipients.csv", "none\\u001b[2J.csv")
    name = folder.send()
    for ended in (columns, rows, name):
        assert ended.code in {1, 2}
        assert is_plain(ended.out), repr(ended.out)
        assert is_plain(ended.err), repr(ended.err)


def test_an_export_is_exact_in_a_file_and_text_on_a_terminal(folder: Folder) -> None:
    folder.emulator.faults.add(EntryFault(status="MESSAGE_REJECTED", error=ORDERS))
    folder.write_list(1)
    assert folder.send().code == 1
    exported = folder.run("export", "mailing.journal", "--format", "ndjson").out
    assert ORDERS in json.loads(exported)["error"]
    table = folder.run("export", "mailing.journal").out
    (row,) = csv.DictReader(io.StringIO(table, newline=""))
    assert "\x1b[2J" in row["error"]
    for format_ in ("csv", "ndjson"):
        shown = on_a_terminal(folder, "export", "mailing.journal", "--format", format_)
        assert "[2J" in shown
        assert CONTROLS.search(shown.replace("\r\n", "\n")) is None, repr(shown)


def test_send_shows_that_it_asks_the_account(folder: Folder) -> None:
    folder.write_list(1)
    shown = on_a_terminal(folder, "send", "mailing.toml")
    asked, _, planned = shown.partition("asking SES what the account allows")
    assert "plan: 1 recipient" in planned
    assert "plan:" not in asked


def on_a_terminal(folder: Folder, *arguments: str) -> str:
    """What a command writes to a terminal."""
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "mailsluice", *arguments]
    environment = folder.environment({"TERM": "xterm"})
    with subprocess.Popen(
        command, cwd=folder.path, stdout=its_end, stderr=its_end, env=environment
    ) as process:
        os.close(its_end)
        shown = b""
        try:
            while some := os.read(terminal, 4096):
                shown += some
        except OSError:
            pass  # its other end is closed
        process.wait()
    os.close(terminal)
    return shown.decode()
