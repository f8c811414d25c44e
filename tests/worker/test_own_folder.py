"""What a mailing that is dropped into a worker's folder may read and write: its own folder."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsluice.emulator import Emulator
from mailsluice.ses.aws.sqs import Received
from mailsluice.worker.mailings.inbox import Folder, Mark
from tests.support.worker import drop_mailing, worker

ATTACHED = 'attachments = ["{}"]\n[recipients]'
OUTSIDE = "outside of the mailing's folder"

Change = Callable[[Path], None]


def attach(path: str) -> Change:
    def change(folder: Path) -> None:
        file = folder / "mailing.toml"
        file.write_text(file.read_text().replace("[recipients]", ATTACHED.format(path)))

    return change


def name_list(path: str) -> Change:
    def change(folder: Path) -> None:
        file = folder / "mailing.toml"
        file.write_text(file.read_text().replace("list.csv", path))

    return change


def name_content(path: str) -> Change:
    def change(folder: Path) -> None:
        file = folder / "mailing.toml"
        content = f'content = {{ subject = "Hi", html_file = "{path}" }}'
        file.write_text(file.read_text().replace('template = "welcome"', content))

    return change


def link(name: str, to: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return change


def both(first: Change, second: Change) -> Change:
    def change(folder: Path) -> None:
        first(folder)
        second(folder)

    return change


def pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


SECRET = "../../../secret.csv"  # a file's name

REFUSED: dict[str, tuple[Change, str]] = {
    "attach-absolute": (attach("/etc/passwd"), OUTSIDE),
    "attach-environment": (attach("/proc/self/environ"), OUTSIDE),
    "attach-up": (attach(SECRET), OUTSIDE),
    "attach-link": (both(link("a.pdf", SECRET), attach("a.pdf")), OUTSIDE),
    "attach-pipe": (both(pipe("a.pdf"), attach("a.pdf")), "named pipe"),
    "content-up": (name_content(SECRET), OUTSIDE),
    "list-absolute": (name_list("/proc/self/environ"), OUTSIDE),
    "list-descriptor": (name_list("/dev/fd/0"), OUTSIDE),
    "list-up": (name_list(SECRET), OUTSIDE),
    "list-link": (link("list.csv", SECRET), OUTSIDE),
    "list-device": (link("list.csv", "/dev/zero"), OUTSIDE),
    "list-pipe": (pipe("list.csv"), "named pipe"),
    "file-link": (link("mailing.toml", "../../../other.toml"), OUTSIDE),
    "message-link": (link("message.json", "../../../message.json"), OUTSIDE),
    "message-pipe": (pipe("message.json"), "named pipe"),
    "journal-link": (link("mailing.journal", "../../../victim"), "is a link"),
    "journal-new": (link("mailing.journal.new", "../../../victim"), "is a link"),
    "journal-log": (link("mailing.journal-wal", "../../../victim"), "is a link"),
    "journal-index": (link("mailing.journal-shm", "../../../victim"), "is a link"),
    "journal-pipe": (pipe("mailing.journal"), "is a link, or no file"),
}
"""By name: what is done to a mailing, and what its report then says."""


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})
def test_a_mailing_reads_and_writes_its_own_folder_only(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "secret.csv").write_text("email\nsecret@example.com\n")
    (tmp_path / "secret.csv").chmod(0o600)
    (tmp_path / "victim").write_text("")
    drop_mailing(tmp_path, "elsewhere", 1)
    inbox = tmp_path / "mail/inbox"
    (inbox / "elsewhere").rename(tmp_path / "elsewhere")
    (tmp_path / "other.toml").write_text((tmp_path / "elsewhere/mailing.toml").read_text())
    for name, (change, _) in REFUSED.items():
        drop_mailing(tmp_path, name, 1)
        change(inbox / name)
    drop_mailing(tmp_path, "inside", 3)
    (inbox / "inside/list.csv").rename(inbox / "inside/november.csv")
    (inbox / "inside/list.csv").symlink_to("november.csv")
    for name in (".report.json", "report.json", ".paused", ".cancelled"):
        (inbox / "inside" / name).symlink_to("../../../victim")
    (inbox / "linked").symlink_to(tmp_path / "elsewhere")
    with worker(tmp_path, ses_emulator) as running:
        expected = dict.fromkeys(REFUSED, "failed") | {"inside": "finished"}
        running.until(lambda: running.states() == expected)
    log = [json.loads(line) for line in running.log.read_text().splitlines()]
    to_be_mended = [each["message"] for each in log if each["level"] == "ERROR"]
    assert any("inbox/linked is not taken: it is a link" in each for each in to_be_mended)
    for name in REFUSED:
        assert any(each.startswith(f"{name}: failed: ") for each in to_be_mended), name
    for name, (_, why) in REFUSED.items():
        report = json.loads((tmp_path / f"mail/failed/{name}/report.json").read_text())
        assert why in report["why"], name
        assert not (tmp_path / f"mail/failed/{name}/report.json").is_symlink()
    assert (tmp_path / "victim").read_text() == ""
    assert sorted(each.name for each in (tmp_path / "elsewhere").iterdir()) == [
        "list.csv",
        "mailing.toml",
    ]
    sent_to = {each.addresses[0] for each in ses_emulator.ledger.entries()}
    assert sent_to == {f"inside{n}@example.com" for n in range(3)}


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})
def test_a_journal_is_not_written_through_a_hard_link(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("precious")
    for suffix in ("new", "wal"):
        drop_mailing(tmp_path, suffix, 1)
    inbox = tmp_path / "mail/inbox"
    (inbox / "new/mailing.journal.new").hardlink_to(tmp_path / "victim")
    (inbox / "wal/mailing.journal-wal").hardlink_to(tmp_path / "victim")
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"new": "held", "wal": "held"})
        mailings = running.get("/status")["mailings"]
    assert all("has 3 names (hard links)" in each["why"] for each in mailings)
    assert (tmp_path / "victim").read_text() == "precious"
    assert not list(ses_emulator.ledger.entries())


def test_what_an_operator_says_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    folder = Folder(tmp_path / "mail")
    folder.prepare()
    mailing = tmp_path / "mail/working/one"
    mailing.mkdir()
    (mailing / ".paused").symlink_to(victim)
    (mailing / "paused").symlink_to(victim)
    folder.mark(mailing, Mark.PAUSED)
    assert not (mailing / "paused").is_symlink()
    assert victim.read_text() == "kept"


def test_what_holds_addresses_is_readable_by_its_user_only(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        (tmp_path / "mail/quarantine").mkdir(parents=True)  # by an earlier version
        folder = Folder(tmp_path / "mail")
        folder.prepare()
        folder.quarantine(Received("../up", "handle", "ann@example.com", {}), "why")
        made = folder.put_to_work("queue-one", "{}")
    finally:
        os.umask(umask)
    (kept,) = (tmp_path / "mail/quarantine").iterdir()
    assert made
    private = {
        tmp_path / "mail/quarantine": 0o700,
        tmp_path / "mail/messages": 0o700,
        made: 0o700,
        kept: 0o600,
        made / "message.json": 0o600,
    }
    assert {each: stat.S_IMODE(each.stat().st_mode) for each in private} == private
