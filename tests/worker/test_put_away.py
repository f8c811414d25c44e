"""Mailings that come twice under one name, and those that cannot be put away."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from mailsluice import BatchSettled, Engine, Settings
from mailsluice.config.settings import SesSettings
from mailsluice.config.worker import FolderSettings
from mailsluice.emulator import Emulator
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.model.errors import ConfigurationError
from mailsluice.worker.mailings.inbox import Folder
from mailsluice.worker.mailings.job import ENDED, Job, JobState
from mailsluice.worker.mailings.jobs import Mailings
from mailsluice.worker.queue.journals import OpenJournal
from tests.support.waiting import PATIENCE_S
from tests.support.worker import drop_mailing, worker

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

FAST_S = 0.01


@asynccontextmanager
async def at_work(
    folder: Path,
    on_event: Callable[[BatchSettled], None] | None = None,
    open_journal: OpenJournal = SqliteJournal.open,
) -> AsyncIterator[Mailings]:
    """What a worker does with its folder, in this process."""
    made = Folder(folder / "mail")
    made.prepare()
    settings = FolderSettings(path=folder / "mail", poll_s=FAST_S, hold_s=FAST_S)
    mailings = Mailings(made, settings, SesSettings(), open_journal)
    async with (
        Engine.open(Settings(), on_event=on_event) as engine,
        anyio.create_task_group() as tasks,
    ):
        mailings.open(engine, tasks)
        tasks.start_soon(mailings.run)
        yield mailings
        mailings.stop()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # a folder has no event to wait for
            await anyio.sleep(FAST_S)


# --- twice under one name ---------------------------------------------------------------------


def test_a_mailing_that_is_dropped_twice_is_sent_once(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_mailing(tmp_path, "news", 5)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"news": "finished"})
        drop_mailing(tmp_path, "news", 5)
        running.until(lambda: running.states().get("inbox/news") == "failed")
        shown = {each["name"]: each["why"] for each in running.get("/status")["mailings"]}
        assert "nothing was sent: done/news is the same mailing" in shown["inbox/news"]
        assert (
            "drop it under another name" in (tmp_path / "mail/failed/news/report.json").read_text()
        )
        drop_mailing(tmp_path, "news", 6)  # the next one
        running.until(lambda: running.states()["news"] == "finished")
        running.until((tmp_path / "mail/done/news-2/report.json").exists)
        assert "inbox/news is another mailing than done/news" in running.log.read_text()
    assert len(ses_emulator.ledger) == 5 + 6


def journal(mailing: Path) -> None:
    (mailing / "mailing.journal").write_bytes(b"a journal")


def another_list(mailing: Path) -> None:
    (mailing / "list.csv").write_text("email\nother@example.com\n")


def another_file(mailing: Path) -> None:
    (mailing / "terms.pdf").write_bytes(b"%PDF")


def linked(mailing: Path) -> None:
    (mailing / "list.csv").rename(mailing / "real.csv")
    (mailing / "list.csv").symlink_to("real.csv")


def report(mailing: Path) -> None:
    (mailing / "report.json").write_text("{}")
    (mailing / "mailing.journal-wal").write_bytes(b"its log")
    (mailing / "paused").touch()


@pytest.mark.parametrize(
    ("place", "there", "change", "refused"),
    [
        ("done", journal, None, "was sent"),
        ("working", None, None, "is being sent"),
        ("failed", journal, None, "was started before"),
        ("failed", None, None, None),
        ("done", report, None, "was sent"),
        ("done", None, another_list, None),
        ("done", None, another_file, None),
        ("done", another_file, None, None),
        ("done", None, linked, None),
        ("done", None, journal, None),
    ],
)
def test_it_is_the_content_that_tells_whether_it_was_sent(
    tmp_path: Path,
    place: str,
    there: Callable[[Path], None] | None,
    change: Callable[[Path], None] | None,
    refused: str | None,
) -> None:
    folder = Folder(tmp_path / "mail")
    folder.prepare()
    drop_mailing(tmp_path, "news", 3)
    inbox = tmp_path / "mail" / "inbox" / "news"
    before = shutil.copytree(inbox, tmp_path / "mail" / place / "news")
    if there:
        there(before)
    if change:
        change(inbox)
    found = folder.claim()
    if refused is None:
        assert found == []
        assert not inbox.exists()
    else:
        assert [(each.path, refused in each.why) for each in found] == [(inbox, True)]
        assert inbox.exists()


def test_the_third_of_a_name_is_compared_with_the_second_too(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "mail")
    folder.prepare()
    for name, size in (("news", 1), ("news-2", 2)):
        drop_mailing(tmp_path, "news", size)
        (tmp_path / "mail" / "inbox" / "news").rename(tmp_path / "mail" / "done" / name)
    drop_mailing(tmp_path, "news", 2)
    assert ["done/news-2 is the same" in each.why for each in folder.claim()] == [True]


# --- what cannot be put away ------------------------------------------------------------------


async def test_what_cannot_be_put_away_is_said_once_shown_and_tried_again(
    ses_emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mailsluice.worker")
    drop_mailing(tmp_path, "news", 3)
    taken = tmp_path / "mail" / "inbox" / "news" / "report.json"
    taken.mkdir()
    async with at_work(tmp_path) as mailings:
        await until(lambda: "news" in mailings.jobs and mailings.jobs["news"].why is not None)
        job = mailings.jobs["news"]
        await anyio.sleep(20 * FAST_S)  # some more attempts, and looks into the folder
        assert mailings.jobs == {"news": job}
        assert (job.state, job.left.is_set()) == (JobState.FINISHED, False)
        assert job.why is not None
        assert "it cannot be put away" in job.why
        assert "Is a directory" in job.why
        said = [each for each in caplog.records if "put away" in each.getMessage()]
        assert [each.levelno for each in said] == [logging.WARNING]
        (tmp_path / "mail" / "working" / "news" / "report.json").rmdir()
        await until(job.left.is_set)
        assert not job.why
        assert (tmp_path / "mail" / "done" / "news" / "report.json").is_file()
    assert len(ses_emulator.ledger) == 3


async def test_a_mailing_that_somebody_else_has_put_away_is_shown_no_more(
    ses_emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mailsluice.worker")
    working, done = (tmp_path / "mail" / name / "news" for name in ("working", "done"))
    found: list[Job] = []

    def put_away(_: BatchSettled) -> None:  # as another worker would
        found.extend(mailings.jobs.values())
        working.rename(done)

    drop_mailing(tmp_path, "news", 3)
    async with at_work(tmp_path, put_away) as mailings:
        await until(lambda: bool(found) and found[0].left.is_set())
        assert mailings.jobs == {}
    said = caplog.text
    assert ("another worker or an operator has moved it" in said, "cannot be put away" in said) == (
        True,
        False,
    )
    assert (len(ses_emulator.ledger), done.is_dir(), working.exists()) == (3, True, False)


# --- a machine that is short of something ------------------------------------------------------


def _of_a_file() -> Exception:
    error = ConfigurationError("mailing.toml: Too many open files")
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")
    return error


@pytest.mark.parametrize(
    "shortage",
    [
        MemoryError(),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENFILE, "Too many open files in system"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        _of_a_file(),
    ],
    ids=["memory", "EMFILE", "ENFILE", "ENOMEM", "while a file is read"],
)
async def test_a_shortage_of_the_machine_holds_a_mailing_that_is_then_sent(
    ses_emulator: Emulator, tmp_path: Path, shortage: Exception
) -> None:
    drop_mailing(tmp_path, "news", 3)
    raised: list[Exception] = []

    def open_journal(*args: Any, **kwargs: Any) -> Any:
        if not raised:
            raised.append(shortage)
            raise shortage
        return SqliteJournal.open(*args, **kwargs)

    async with at_work(tmp_path, open_journal=open_journal) as mailings:
        await until(lambda: "news" in mailings.jobs and mailings.jobs["news"].state in ENDED)
        assert mailings.jobs["news"].state is JobState.FINISHED
    assert raised == [shortage]
    assert len(ses_emulator.ledger) == 3
