"""Several processes on one journal. Each test names its incident."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cli.conftest import Folder

WORKERS = 8


@pytest.mark.ses_emulator(account={"rate_per_s": 50, "daily_max": -1})
def test_eight_workers_on_one_journal_are_one(folder: Folder) -> None:
    """Postal#2222: up to 17 copies after --scale worker=8. Postal#198: a mail pulled twice."""
    folder.write_list(600)
    with folder.started("--set", "quota.refresh_s=1") as first:
        folder.until(first, accepted=50)
        with ThreadPoolExecutor(WORKERS - 1) as pool:
            begun = [
                pool.submit(folder.run, "send", "mailing.toml", "--quiet")
                for _ in range(WORKERS - 1)
            ]
            others = [other.result() for other in begun]
        folder.emulator.change_account(rate_per_s=5_000)
        assert folder.end(first).code == 0
    assert [other.code for other in others] == [5] * (WORKERS - 1)
    assert all("another process is using this journal" in other.err for other in others)
    assert folder.emulator.ledger.duplicates() == {}
    assert folder.accepted == 600
