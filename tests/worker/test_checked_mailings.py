"""What a worker's check finds holds a mailing until somebody has mended it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailsluice.emulator import AccountSettings, Emulator
from tests.support.worker import WORKER, drop, worker

GREETING = {"welcome": {"subject": "Welcome, {{name}}", "text": "Hello {{name}}"}}


def drop_without_names(folder: Path) -> Path:
    drop(folder, "one", 3)
    return folder / "mail"


@pytest.mark.ses_emulator(
    account=AccountSettings(rate_per_s=5_000, daily_max=-1), resources={"templates": GREETING}
)
def test_a_mailing_whose_rows_lack_a_variable_is_held_until_its_list_is_mended(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    mail = drop_without_names(tmp_path)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"one": "held"})
        [held] = running.get("/status")["mailings"]
        assert held["why"].startswith("VARIABLE_MISSING: ")
        assert '"name", which is missing in 3 rows (rows 1, 2, 3;' in held["why"]
        assert len(ses_emulator.ledger) == 0
        rows = "".join(f"user{n}@example.com,Name\n" for n in range(3))
        (mail / "working/one/.list").write_text(f"email,name\n{rows}")
        (mail / "working/one/.list").rename(mail / "working/one/list.csv")
        running.until(lambda: running.states() == {"one": "finished"})
    assert len(ses_emulator.ledger) == 3
    assert ses_emulator.statistics().rendering_failures == 0


@pytest.mark.ses_emulator(
    account=AccountSettings(rate_per_s=5_000, daily_max=-1), resources={"templates": GREETING}
)
def test_a_worker_that_is_not_to_check_sends_what_it_gets(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_without_names(tmp_path)
    unchecked = WORKER.replace("[http]", "check = false\n[http]")
    with worker(tmp_path, ses_emulator, unchecked) as running:
        running.until(lambda: running.states() == {"one": "finished"})
    assert ses_emulator.statistics().rendering_failures == 3
