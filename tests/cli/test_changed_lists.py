"""Lists that change between two runs of the command, or while one reads them."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailsluice.emulator import AccountSettings, CallFault

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

pytestmark = pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=1e6, daily_max=-1))

ROWS = 3000


def addresses(numbers: Iterable[int]) -> list[str]:
    return [f"user{n}@example.com" for n in numbers]


def csv(numbers: Iterable[int]) -> bytes:
    return b"email\n" + b"".join(f"{each}\n".encode() for each in addresses(numbers))


def hold(folder: Folder, *flags: str, stdin: bytes = b"") -> int:
    """A run whose account is paused after 20 calls; how many were sent."""
    paused = CallFault(fault="error", code="SendingPausedException", nth=tuple(range(21, 500)))
    folder.emulator.faults.add(paused)
    assert folder.send("--quiet", *flags, stdin=stdin).code == 3
    folder.emulator.faults.clear()
    assert 0 < folder.accepted < ROWS
    return folder.accepted


def touch(path: Path) -> None:
    os.utime(path, (1_700_000_000, 1_700_000_000))


def copy(path: Path) -> None:
    """As from a backup: another inode, another time."""
    kept = path.with_suffix(".kept")
    shutil.copyfile(path, kept)
    path.unlink()
    kept.rename(path)


@pytest.mark.parametrize("restored", [touch, copy])
@pytest.mark.parametrize("name", ["recipients.csv", "recipients.csv.gz"])
def test_a_list_with_the_same_content_is_the_same_whatever_its_time_and_file(
    restored: Callable[[Path], None], name: str, folder: Folder
) -> None:
    path = folder.path / name
    path.write_bytes(gzip.compress(csv(range(ROWS))) if name.endswith(".gz") else csv(range(ROWS)))
    hold(folder, "--recipients", name)
    restored(path)
    ended = folder.send("--quiet", "--recipients", name)
    assert (ended.code, folder.counts()) == (0, {"read": ROWS, "sent": ROWS})
    assert folder.emulator.ledger.duplicates() == {}


def test_a_list_under_another_name_is_the_same(folder: Folder) -> None:
    (folder.path / "recipients.csv").write_bytes(csv(range(ROWS)))
    hold(folder)
    (folder.path / "recipients.csv").rename(folder.path / "moved.csv")
    assert folder.send("--quiet", "--recipients", "moved.csv").code == 0
    assert folder.emulator.ledger.duplicates() == {}


def test_another_content_is_2_and_the_error_says_to_what_it_is_to_be_restored(
    folder: Folder,
) -> None:
    path = folder.path / "recipients.csv"
    path.write_bytes(csv(range(ROWS)))
    touch(path)
    sent = hold(folder)
    path.write_bytes(csv(range(ROWS)).replace(b"user7@", b"user8@"))
    touch(path)
    for flags in ((), ("--dry-run",)):
        ended = folder.send("--quiet", *flags)
        assert ended.code == 2
        was = csv(range(ROWS))
        assert f"{len(was):,} bytes" in ended.err
        assert "modified 2023-11-14 22:13:20 UTC" in ended.err
        assert hashlib.sha256(was).hexdigest()[:16] in ended.err
        assert "nothing was sent" in ended.err
        assert "mails everybody on it again" in ended.err
    assert folder.accepted == sent
    path.write_bytes(csv(range(ROWS)))
    assert folder.send("--quiet").code == 0
    assert folder.emulator.ledger.duplicates() == {}


def test_a_list_that_grew_at_its_end_goes_on_and_one_that_shrank_is_2(folder: Folder) -> None:
    path = folder.path / "recipients.csv"
    path.write_bytes(csv(range(ROWS)))
    sent = hold(folder)
    path.write_bytes(csv(range(ROWS - 1)))
    ended = folder.send("--quiet")
    assert ended.code == 2
    assert "it is shorter" in ended.err
    assert folder.accepted == sent
    path.write_bytes(csv(range(ROWS + 5)))
    assert folder.send("--quiet").code == 0
    assert folder.counts() == {"read": ROWS + 5, "sent": ROWS + 5}
    assert folder.emulator.ledger.duplicates() == {}


def test_a_pipe_whose_first_64_kib_are_the_same_is_another_list(folder: Folder) -> None:
    same, rest = range(4000), range(4000, 5000)
    assert len(csv(same)) > 64 * 1024
    flags = ("--recipients", "-")
    folder.emulator.faults.add(
        CallFault(fault="error", code="SendingPausedException", nth=tuple(range(99, 500)))
    )
    assert folder.send("--quiet", *flags, stdin=csv([*same, *rest])).code == 3
    folder.emulator.faults.clear()
    sent = folder.accepted
    assert sent > len(same)
    ended = folder.send("--quiet", *flags, stdin=csv([*same, *range(9000, 10_000)]))
    assert "row 4001 (line 4002 of the list) is not the same" in ended.err
    assert (ended.code, folder.accepted) == (2, sent)
    assert folder.send("--quiet", *flags, stdin=csv([*same, *rest])).code == 0
    assert folder.counts() == {"read": 5000, "sent": 5000}
    assert folder.emulator.ledger.duplicates() == {}


def test_after_a_sigkill_rows_that_came_first_are_2_with_a_pipe_as_well(folder: Folder) -> None:
    """A query without ORDER BY."""
    folder.emulator.change_account(rate_per_s=500)
    (folder.path / "recipients.csv").write_bytes(csv(range(ROWS)))
    with folder.started("--quiet") as process:
        folder.until(process, accepted=150)
        process.kill()
        process.wait()
    folder.emulator.change_account(rate_per_s=1e6)
    mixed = csv([*range(9000, 9100), *range(ROWS)])
    ended = folder.send("--quiet", "--recipients", "-", stdin=mixed)
    assert ended.code == 2
    assert "row 1 (line 2 of the list) is not the same" in ended.err
    assert folder.send("--quiet", "--recipients", "-", stdin=csv(range(ROWS))).code in {0, 1}
    assert folder.emulator.ledger.duplicates() == {}
    assert folder.report()["counts"]["read"] == ROWS


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(csv(range(100_000, 140_000)))


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"late@example.com\n")


@pytest.mark.parametrize("change", [truncated, overwritten, appended])
def test_a_list_that_changes_while_it_is_sent_is_held_and_never_finished(
    change: Callable[[Path], None], folder: Folder
) -> None:
    """It is read in blocks of 256 KiB: the first two are 24,000 rows."""
    folder.emulator.change_account(rate_per_s=20_000)
    path = folder.path / "recipients.csv"
    path.write_bytes(csv(range(40_000)))
    with folder.started("--quiet") as process:
        folder.until(process, accepted=1000)
        change(path)
        ended = folder.end(process)
    report = folder.report()
    assert (ended.code, report["state"]) == (3, "held"), ended.err
    assert report["hold"].startswith("SOURCE_CHANGED: recipients.csv: it has been changed")
    assert report["counts"]["read"] < 30_000
    assert "late@example.com" not in folder.emulator.ledger.by_address()
    path.write_bytes(csv(range(40_000)))
    assert folder.send("--quiet").code == 0
    assert folder.counts() == {"read": 40_000, "sent": 40_000}
    assert folder.emulator.ledger.duplicates() == {}
