"""What a worker's check finds holds a mailing until somebody has mended it."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mailsluice.emulator import AccountSettings, Emulator
from tests.support.waiting import PATIENCE_S
from tests.support.worker import WORKER, drop_mailing, worker

GREETING = {"welcome": {"subject": "Welcome, {{name}}", "text": "Hello {{name}}"}}


def drop_without_names(folder: Path) -> Path:
    drop_mailing(folder, "one", 3)
    return folder / "mail"


@pytest.mark.ses_emulator(
    account=AccountSettings(rate_per_s=5_000, daily_max=-1), resources={"templates": GREETING}
)
def test_a_mailing_whose_rows_lack_a_variable_is_held_until_its_list_is_mended(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    mail = drop_without_names(tmp_path)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states().get("one") in {"held", "finished"})
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


@pytest.mark.ses_emulator(
    account=AccountSettings(rate_per_s=5_000, daily_max=-1), resources={"templates": GREETING}
)
def test_a_mailing_has_a_preview_in_which_nothing_runs(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    drop_without_names(tmp_path)
    with worker(tmp_path, ses_emulator) as running:
        running.until(lambda: running.states() == {"one": "held"})
        url = f"{running.url}/mailings/one/preview"
        with urllib.request.urlopen(f"{url}?row=2", timeout=PATIENCE_S) as answer:
            policy = answer.headers["Content-Security-Policy"]
            page = answer.read().decode()
        assert "one1@example.com" in page
        assert "missing: name" in page
        assert '<iframe sandbox=""' in page
        assert policy.startswith("sandbox; default-src 'none'; ")
        for wrong, status in (
            (f"{url}?row=0", 400),
            (f"{url}?row=x", 400),
            (f"{url}?row=4", 409),
            (url.replace("one", "two"), 404),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(wrong, timeout=PATIENCE_S)
            assert refused.value.code == status
            refused.value.close()
        assert "preview" in running.get("/")
