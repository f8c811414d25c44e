"""`mailsluice preview`: what a recipient would get, before anybody gets it."""

from __future__ import annotations

import email
import email.policy
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailsluice.emulator import EntryFault

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

WELCOME = {
    "subject": "Welcome, {{name}}",
    "text": "Dear {{name}} of {{city}}\n",
    "html": '<p>Dear {{name}} of {{city}}</p><img src="http://tracker.example/x.png">',
}
PREVIEW = ("preview", "mailing.toml")
NAMES = ("Ann", "Bob", "Christopher-Alexander", "Dan", "Eve")

pytestmark = pytest.mark.ses_emulator(
    account={"rate_per_s": 5000, "daily_max": -1}, resources={"templates": {"welcome": WELCOME}}
)


@pytest.fixture(autouse=True)
def people(folder: Folder) -> None:
    rows = [f"{name.lower()}@example.com,{name},<https://u.example.com/{name}>" for name in NAMES]
    folder.write("recipients.csv", "\n".join(["email,name,stop", *rows, ",Zoe,x", ""]))
    folder.write_mailing(
        "[recipients]",
        'data = { city = "Lisbon" }\ntags = { kind = "test" }\nreply_to = ["help@example.com"]\n\n'
        '[recipients]\nheaders = { "List-Unsubscribe" = "stop" }',
    )


def test_the_first_row_is_shown_with_all_that_goes_with_it(folder: Folder) -> None:
    ended = folder.run(*PREVIEW)
    assert ended.code == 0
    for line in (
        "row         1",
        "From        News <news@example.com>",
        "To          ann@example.com",
        "Reply-To    help@example.com",
        "Subject     Welcome, Ann",
        "List-Unsubscribe <https://u.example.com/Ann>",
        "tag kind    test",
        "Dear Ann of Lisbon",
    ):
        assert line in ended.out.splitlines(), ended.out
    assert " bytes\n" in ended.out
    assert folder.calls == 0


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--row", "2"], ["Bob"]),
        (["--address", "Dan@Example.com"], ["Dan"]),
        (["--longest"], ["Christopher-Alexander"]),
        (["--sample", "9"], list(NAMES)),
    ],
)
def test_a_row_is_chosen(folder: Folder, flags: list[str], names: list[str]) -> None:
    ended = folder.run(*PREVIEW, *flags, "--text")
    assert ended.code == 0
    assert ended.out == "".join(f"Dear {name} of Lisbon\n" for name in names)


def test_a_sample_is_the_same_each_time(folder: Folder) -> None:
    shown = folder.run(*PREVIEW, "--sample", "2", "--text").out
    assert shown == folder.run(*PREVIEW, "--sample", "2", "--text").out
    assert shown.count("Dear") == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--row", "7"], "there is no row 7: the list has 6"),
        (["--row", "6"], "row 6 is refused, and would not be sent: "),
        (["--address", "zoe@example.com"], "no row that can be sent has that address"),
        (["--row", "0"], "--row"),
        (["--row", "1", "--longest"], "exclude each other"),
        (["--html", "--eml"], "exclude each other"),
    ],
)
def test_what_cannot_be_shown_is_2(folder: Folder, flags: list[str], said: str) -> None:
    ended = folder.run(*PREVIEW, *flags)
    assert ended.code == 2
    assert said in ended.err


def test_an_eml_file_is_a_message(folder: Folder) -> None:
    ended = folder.run(*PREVIEW, "--row", "2", "--eml")
    message = email.message_from_string(ended.out, policy=email.policy.default)
    assert message["Subject"] == "Welcome, Bob"
    assert message["List-Unsubscribe"] == "<https://u.example.com/Bob>"
    html = message.get_body(("html",))
    text = message.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "<p>Dear Bob of Lisbon</p>" in html.get_content()
    assert text.get_content() == "Dear Bob of Lisbon\n"


def test_ses_itself_renders_it(folder: Folder) -> None:
    ended = folder.run(*PREVIEW, "--row", "2", "--via-ses")
    assert ended.code == 0
    assert "Subject: Welcome, Bob" in ended.out
    assert folder.emulator.statistics().reading_calls["TestRenderEmailTemplate"] == 1


def test_a_missing_variable_is_shown_and_ses_refuses_it(folder: Folder) -> None:
    folder.write_mailing()
    assert "wrong       missing: city" in folder.run(*PREVIEW).out
    ended = folder.run(*PREVIEW, "--via-ses")
    assert ended.code == 2
    assert "SES does not render it: it cannot (" in ended.err


def test_the_browser_gets_a_page_that_loads_nothing(folder: Folder) -> None:
    ended = folder.run(*PREVIEW, "--open", environment={"BROWSER": "true %s"})
    assert ended.code == 0
    page = Path(ended.err.split("written: ")[1].strip())
    assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700
    text = page.read_text(encoding="utf-8")
    assert 'sandbox=""' in text
    assert "default-src 'none'" in text
    assert "<img" not in text  # only within the frame's attribute, escaped
    page.unlink()
    page.parent.rmdir()


def test_a_row_is_sent_to_oneself_with_a_journal_of_its_own(folder: Folder) -> None:
    for _ in range(2):
        ended = folder.run(*PREVIEW, "--sample", "2", "--send-to", "me@example.com")
        assert ended.code == 0
        assert "2 sent; the journal is mailing.preview-" in ended.err
    assert folder.emulator.ledger.by_address() == {"me@example.com": 4}
    assert len(list(folder.path.glob("mailing.preview-*.journal"))) == 2
    assert not folder.journal.exists()
    request = folder.emulator.requests[-1]
    headers = {
        each["Name"]: each["Value"] for each in request["BulkEmailEntries"][0]["ReplacementHeaders"]
    }
    assert headers["List-Unsubscribe"].startswith("<https://u.example.com/")
    assert "X-Mailsluice-Preview" in str(request)
    assert folder.send().code == 1  # the mailing itself is as if nothing had happened
    assert folder.counts() == {"read": 6, "sent": 5, "refused": 1}


def test_what_ses_refuses_of_it_is_an_exit_code(folder: Folder) -> None:
    folder.emulator.faults.add(EntryFault(status="MESSAGE_REJECTED"))
    assert folder.run(*PREVIEW, "--send-to", "me@example.com").code == 1


def test_a_template_that_may_not_be_read_is_said(folder: Folder) -> None:
    folder.emulator.change_resources(denied=["GetEmailTemplate"])
    ended = folder.run(*PREVIEW)
    assert ended.code == 2
    assert "a preview needs ses:GetEmailTemplate" in ended.err
