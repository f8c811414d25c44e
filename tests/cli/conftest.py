"""The command as its users have it: a process in a folder, beside an emulated SES."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any, ClassVar

import orjson
import pytest

from mailsluice.emulator import Emulator
from mailsluice.journal import Record
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports import audit as audits
from mailsluice.reports import export
from mailsluice.reports.export import Line
from tests.support import forked
from tests.support.forked import Ended, Forked, Streams
from tests.support.waiting import PATIENCE_S

COMMAND = (sys.executable, "-m", "mailsluice")

FORKED = forked.context()

MAILING = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"

[recipients]
path = "recipients.csv"
"""

COUNTS = (
    "read",
    "refused",
    "duplicate",
    "suppressed",
    "sent",
    "rejected",
    "failed",
    "in_doubt",
    "pending",
)


class Folder:
    """A folder with a mailing file and a list, in which commands are run."""

    COMMAND: ClassVar = COMMAND
    NO_CREDENTIALS: ClassVar = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    """For `environment`."""

    def __init__(self, path: Path, emulator: Emulator) -> None:
        self.path = path
        self.emulator = emulator
        self.journal = path / "mailing.journal"
        self.write_mailing()

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.write_text(text, encoding="utf-8")
        return path

    def write_mailing(self, was: str = "", becomes: str = "") -> None:
        """Write `mailing.toml`, one part of it exchanged."""
        assert was in MAILING
        self.write("mailing.toml", MAILING.replace(was, becomes) if was else MAILING)

    def write_list(self, recipients: int | Iterable[str]) -> None:
        """Write `recipients.csv`: so many good addresses, or exactly these."""
        addresses = addresses_of(recipients) if isinstance(recipients, int) else recipients
        rows = "".join(f"{address},Name\n" for address in addresses)
        self.write("recipients.csv", f"email,name\n{rows}")

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        file_kib_max: int | None = None,
    ) -> Ended:
        """Run a command to its end; `file_kib_max` bounds every file that it writes."""
        place, all_of_it = cwd or self.path, self.environment(environment or {})
        if file_kib_max is not None:
            limit = f"{file_kib_max} << 10"
            limited = (
                f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
                + forked.COMMAND
            )
            ended = forked.run(FORKED, place, all_of_it, arguments, program=limited)
        elif stdin:
            pipes = Streams(PIPE, PIPE, PIPE)
            process = Forked(FORKED, place, all_of_it, arguments, pipes)
            out, err = process.communicate(stdin, PATIENCE_S)
            ended = Ended(process.wait(), out.decode(), err.decode())
        else:
            ended = forked.run(FORKED, place, all_of_it, arguments, PATIENCE_S)
        self.check_privacy(ended)
        return ended

    def send(self, *flags: str, **options: Any) -> Ended:
        """`mailsluice send mailing.toml`, with a report in `report.json`."""
        return self.run("send", "mailing.toml", "--report", "report.json", *flags, **options)

    @contextmanager
    def start(
        self, *arguments: str, environment: Mapping[str, str | None] | None = None, **options: Any
    ) -> Iterator[Forked]:
        """A command that goes on while the test does; killed with the block."""
        streams = Streams(None, PIPE, PIPE)._replace(**options)
        all_of_it = self.environment(environment or {})
        process = Forked(FORKED, self.path, all_of_it, arguments, streams)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def started(self, *flags: str, **options: Any) -> AbstractContextManager[Forked]:
        """As `send`, going on."""
        return self.start("send", "mailing.toml", "--report", "report.json", *flags, **options)

    def end(self, process: Forked) -> Ended:
        """Wait for a started command to end by itself."""
        out, err = process.communicate(timeout_s=PATIENCE_S)
        ended = Ended(process.wait(), out.decode(), err.decode())
        self.check_privacy(ended)
        return ended

    def until(self, process: Forked, **come: int) -> None:
        """Wait until so much has come to the emulated SES (`Emulator.wait_for`)."""
        if not self.emulator.wait_for(**come, timeout_s=PATIENCE_S):
            process.kill()
            raise AssertionError(self.end(process))

    def check_privacy(self, ended: Ended) -> None:
        """What holds of every command: no address among the messages, the secret nowhere."""
        secret = self.emulator.environment["AWS_SECRET_ACCESS_KEY"]
        assert "@" not in ended.err, ended.err
        assert secret not in ended.out + ended.err
        assert "Traceback" not in ended.err, ended.err

    def report(self) -> dict[str, Any]:
        """The report, in which every recipient is accounted for."""
        report: dict[str, Any] = orjson.loads((self.path / "report.json").read_bytes())
        self.check_conserved(report["counts"])
        return report

    @staticmethod
    def check_conserved(counts: dict[str, int]) -> None:
        """The identity of the contract."""
        assert tuple(counts) == COUNTS
        assert counts["read"] == sum(counts.values()) - counts["read"]

    def counts(self) -> dict[str, int]:
        """The report's counts that are not 0."""
        return {name: count for name, count in self.report()["counts"].items() if count}

    def records(self) -> list[Record]:
        with closing(SqliteJournal.read(self.journal)) as journal:
            return list(journal.replay(details=True))

    def lines(self) -> list[Line]:
        """What the journal says of each recipient."""
        with closing(SqliteJournal.read(self.journal)) as journal:
            return list(export.lines(journal))

    def states(self) -> dict[str, str]:
        """By address."""
        return {line.address: line.state for line in self.lines()}

    def audit(self) -> audits.Audit:
        """Both ledgers side by side."""
        accepted = self.emulator.ledger.entries()
        return audits.compare(
            self.lines(), [(each.tags["mailsluice-id"], each.message_id) for each in accepted]
        )

    @property
    def accepted(self) -> int:
        """Recipients that the emulated SES has accepted so far."""
        return len(self.emulator.ledger)

    @property
    def calls(self) -> int:
        """SendBulkEmail calls that have reached the emulated SES."""
        return self.emulator.statistics().account.calls

    def environment(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """The test's, without what the machine's owner has configured; None takes one away."""
        own = {name: text for name, text in os.environ.items() if not name.startswith("MAILSLUICE")}
        changed = {**own, "HOME": str(self.path), **changes}
        return {name: text for name, text in changed.items() if text is not None}


def addresses_of(recipients: int) -> Iterator[str]:
    return (f"user{n}@example.com" for n in range(1, recipients + 1))


@pytest.fixture
def folder(tmp_path: Path, ses_emulator: Emulator) -> Folder:
    """A folder with a mailing file, and two good addresses to send it to."""
    made = Folder(tmp_path, ses_emulator)
    made.write_list(["ann@example.com", "bob@example.com"])
    return made
