"""Every status and exception of SES, through real HTTP: both ledgers compared.

What the journal says of each recipient against what the emulated SES accepted, for each row of the
table in docs/guarantees.md.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailsluice import DeliverySettings, Engine, Mailing, QuotaSettings, Report, Settings
from mailsluice.dispatch import backoff
from mailsluice.emulator import CallFault, Emulator, EntryFault
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports import audit as audits
from mailsluice.reports import export
from mailsluice.reports.export import Line
from mailsluice.sources import Fields, files

MAILING = Mailing(from_address="News <news@example.com>", template="welcome")
GOOD = [f"good{n}@example.com" for n in range(8)]
ODD = "odd@example.com"

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})

DAY_S = 1.0
"""Of the emulated daily quota."""


@dataclass
class Ran:
    """One run, seen from both sides."""

    report: Report
    lines: dict[str, Line]
    audit: audits.Audit

    def states(self) -> dict[str, str]:
        return {address: line.state for address, line in self.lines.items()}


@asynccontextmanager
async def engine(path: Path, **delivery: object) -> AsyncIterator[Engine]:
    settings = Settings(
        delivery=DeliverySettings(**{"timeout_s": 2, "max_attempts": 3} | delivery),
        quota=QuotaSettings(refresh_s=1),
    )
    async with Engine.open(settings, journal=path, day_s=DAY_S) as opened:
        yield opened


async def run(emulator: Emulator, path: Path, addresses: list[str], **delivery: object) -> Ran:
    list_ = path.with_suffix(".csv")
    if not list_.exists():
        list_.write_text("\n".join(["email", *addresses, ""]))
    async with engine(path, **delivery) as opened:
        # A file's rows come in one list, so that the batches are the same however busy the machine.
        report = await opened.run(MAILING, files.open_source(list_, Fields()))
    assert report.counts.conserved
    return seen(emulator, path, report)


def seen(emulator: Emulator, path: Path, report: Report) -> Ran:
    journal = SqliteJournal.read(path)
    lines = list(export.lines(journal))
    journal.close()
    accepted = [(each.tags["mailsluice-id"], each.message_id) for each in emulator.ledger.entries()]
    return Ran(report, {line.address: line for line in lines}, audits.compare(lines, accepted))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of back-off say nothing here; their order and number do."""
    quick = backoff.Backoff(first_s=0.01, max_s=0.02)
    for name in ("RECIPIENT_BACKOFF", "THROTTLE_BACKOFF", "ENDPOINT_BACKOFF"):
        monkeypatch.setattr(backoff, name, quick)


# --- statuses of single entries -------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["MESSAGE_REJECTED", "INVALID_PARAMETER", "INVALID_PARAMETER_VALUE"]
)
async def test_a_rejected_entry_is_rejected_alone(
    ses_emulator: Emulator, path: Path, status: str
) -> None:
    ses_emulator.faults.add(EntryFault(status=status, address=ODD, error="no good"))
    ran = await run(ses_emulator, path, [*GOOD, ODD])
    assert ran.audit.agree
    assert (ran.report.counts.sent, ran.report.counts.rejected) == (8, 1)
    odd = ran.lines[ODD]
    assert ("rejected", status, "no good", 1) == (odd.state, odd.status, odd.error, odd.attempts)
    assert ran.report.exit_code == 1


@pytest.mark.parametrize("status", ["TRANSIENT_FAILURE", "FAILED", "ACCOUNT_THROTTLED"])
async def test_a_deferred_entry_is_sent_later(
    ses_emulator: Emulator, path: Path, status: str
) -> None:
    ses_emulator.faults.add(EntryFault(status=status, address=ODD, times=2))
    ran = await run(ses_emulator, path, [*GOOD, ODD])
    assert ran.audit.agree
    assert ran.report.counts.sent == 9
    assert ran.lines[ODD].attempts == 3
    assert ran.report.exit_code == 0


@pytest.mark.parametrize("status", ["TRANSIENT_FAILURE", "FAILED"])
async def test_an_entry_that_never_succeeds_fails_when_its_attempts_are_exhausted(
    ses_emulator: Emulator, path: Path, status: str
) -> None:
    ses_emulator.faults.add(EntryFault(status=status, address=ODD, error="later"))
    ran = await run(ses_emulator, path, [*GOOD, ODD])
    assert ran.audit.agree
    odd = ran.lines[ODD]
    assert ("failed", status, "later", 3) == (odd.state, odd.status, odd.error, odd.attempts)


async def test_throttling_never_exhausts_attempts(ses_emulator: Emulator, path: Path) -> None:
    ses_emulator.faults.add(EntryFault(status="ACCOUNT_THROTTLED", address=ODD, times=7))
    ran = await run(ses_emulator, path, [*GOOD, ODD], max_attempts=1)
    assert ran.audit.agree
    assert (ran.lines[ODD].state, ran.lines[ODD].attempts) == ("sent", 8)
    assert ran.report.throttled == 7


async def test_over_the_daily_quota_it_waits_for_room(ses_emulator: Emulator, path: Path) -> None:
    ses_emulator.faults.add(EntryFault(status="ACCOUNT_DAILY_QUOTA_EXCEEDED", times=1))
    ran = await run(ses_emulator, path, GOOD, max_attempts=1)
    assert ran.audit.agree
    assert ran.report.counts.sent == len(GOOD)


@pytest.mark.ses_emulator(
    account={"rate_per_s": 5000, "daily_max": 20, "day_s": DAY_S, "daily_refuses": "entry"}
)
async def test_a_rolling_day_is_waited_for_and_never_exceeded(
    ses_emulator: Emulator, path: Path
) -> None:
    ran = await run(ses_emulator, path, [f"user{n}@example.com" for n in range(50)])
    assert ran.audit.agree
    assert ran.report.counts.sent == 50
    assert ran.report.exit_code == 0


HOLDS = [
    "ACCOUNT_SUSPENDED",
    "ACCOUNT_SENDING_PAUSED",
    "CONFIGURATION_SET_SENDING_PAUSED",
    "CONFIGURATION_SET_NOT_FOUND",
    "CONFIGURATION_SET_DOES_NOT_EXIST",
    "TEMPLATE_NOT_FOUND",
    "TEMPLATE_DOES_NOT_EXIST",
    "MAIL_FROM_DOMAIN_NOT_VERIFIED",
    "INVALID_SENDING_POOL_NAME",
]


@pytest.mark.parametrize("status", HOLDS)
async def test_a_condition_of_the_account_or_mailing_holds_the_run(
    ses_emulator: Emulator, path: Path, status: str
) -> None:
    ses_emulator.faults.add(EntryFault(status=status, error="not now"))
    ran = await run(ses_emulator, path, GOOD)
    assert ran.audit.agree
    assert ("held", f"{status}: not now", 3) == (
        ran.report.state,
        str(ran.report.hold),
        ran.report.exit_code,
    )
    assert ran.report.counts.pending == len(GOOD)
    ses_emulator.faults.clear()
    again = await run(ses_emulator, path, GOOD)
    assert again.audit.agree
    assert (len(GOOD), 0) == (again.report.counts.sent, again.report.exit_code)


async def test_an_unknown_status_is_given_up_and_warned_of(
    ses_emulator: Emulator, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ses_emulator.faults.add(EntryFault(status="NOVEL_STATUS", address=ODD))
    ran = await run(ses_emulator, path, [*GOOD, ODD])
    assert ran.audit.agree
    assert ran.lines[ODD].state == "failed"
    assert "NOVEL_STATUS" in caplog.text
    assert "@" not in caplog.text


# --- errors of whole calls ------------------------------------------------------------------------

RETRIED_CALLS = [
    CallFault(fault="error", code="TooManyRequestsException", times=3),
    CallFault(fault="error", code="ThrottlingException", http_status=400, times=3),
    CallFault(
        fault="error", code="ThrottlingException", http_status=400,
        message="Daily message quota exceeded", times=1,
    ),
    CallFault(fault="error", code="ServiceUnavailable", http_status=503, times=3),
]  # fmt: skip


@pytest.mark.parametrize("fault", RETRIED_CALLS, ids=lambda fault: fault.message or fault.code)
async def test_a_call_that_was_not_taken_is_made_again_and_burns_nothing(
    ses_emulator: Emulator, path: Path, fault: CallFault
) -> None:
    ses_emulator.faults.add(fault)
    ran = await run(ses_emulator, path, GOOD, max_attempts=1)
    assert ran.audit.agree
    assert ran.report.counts.sent == len(GOOD)
    assert ran.report.exit_code == 0


@pytest.mark.parametrize(
    "code", ["BadRequestException", "MessageRejected", "LimitExceededException"]
)
async def test_a_refused_call_is_bisected_to_the_bad_entry(
    ses_emulator: Emulator, path: Path, code: str
) -> None:
    ses_emulator.faults.add(CallFault(fault="error", code=code, address=ODD, message="no good"))
    addresses = [f"user{n}@example.com" for n in range(49)]
    ran = await run(ses_emulator, path, [*addresses[:17], ODD, *addresses[17:]])
    assert ran.audit.agree
    assert (ran.report.counts.sent, ran.report.counts.rejected) == (49, 1)
    odd = ran.lines[ODD]
    assert ("rejected", code, "no good") == (odd.state, odd.status, odd.error)
    assert ran.report.calls <= 13


@pytest.mark.parametrize(
    "code", ["BadRequestException", "MessageRejected", "LimitExceededException"]
)
async def test_a_mailing_that_ses_refuses_for_everyone_is_a_hold(
    ses_emulator: Emulator, path: Path, code: str
) -> None:
    ses_emulator.faults.add(CallFault(fault="error", code=code, message="the mailing is no good"))
    ran = await run(ses_emulator, path, GOOD)
    assert ran.audit.agree
    assert (f"{code}: the mailing is no good", len(GOOD)) == (
        str(ran.report.hold),
        ran.report.counts.pending,
    )


HOLDING_CALLS = [
    ("AccountSuspendedException", 400),
    ("SendingPausedException", 400),
    ("MailFromDomainNotVerifiedException", 400),
    ("NotFoundException", 404),
    ("ExpiredTokenException", 403),
    ("AccessDeniedException", 403),
    ("UnrecognizedClientException", 403),
    ("SignatureDoesNotMatch", 403),
]


@pytest.mark.parametrize(("code", "http_status"), HOLDING_CALLS)
async def test_a_call_refused_for_the_account_holds_the_run(
    ses_emulator: Emulator, path: Path, code: str, http_status: int
) -> None:
    ses_emulator.faults.add(CallFault(fault="error", code=code, http_status=http_status))
    ran = await run(ses_emulator, path, GOOD)
    assert ran.audit.agree
    assert (ran.report.state, ran.report.exit_code) == ("held", 3)
    assert ran.report.hold is not None
    assert code in str(ran.report.hold)
    assert ran.report.counts.pending == len(GOOD)


DOUBTS = [
    CallFault(fault="reset_before", times=1),
    CallFault(fault="reset_after", times=1),
    CallFault(fault="lost", times=1),
    CallFault(fault="late", delay_s=4.0, times=1),
    CallFault(fault="cut", times=1),
    CallFault(fault="broken", times=1),
    CallFault(fault="short", times=1),
    CallFault(fault="error", code="InternalFailure", http_status=500, times=1),
    CallFault(fault="error", code="InternalFailure", http_status=500, accepted=True, times=1),
    CallFault(fault="error", http_status=502, times=1),
]


@pytest.mark.parametrize("fault", DOUBTS, ids=lambda fault: f"{fault.fault}-{fault.http_status}")
async def test_a_lost_answer_leaves_the_batch_in_doubt_and_nothing_is_sent_twice(
    ses_emulator: Emulator, path: Path, fault: CallFault
) -> None:
    ses_emulator.faults.add(fault)
    addresses = [f"user{n}@example.com" for n in range(60)]
    ran = await run(ses_emulator, path, addresses)
    assert ran.audit.agree
    assert (ran.report.counts.sent, ran.report.counts.in_doubt) == (10, 50)
    reached = not (fault.is_before)
    assert ran.audit.delivered_in_doubt == (50 if reached else 0)
    assert ran.report.exit_code == 1


@pytest.mark.parametrize("fault", DOUBTS, ids=lambda fault: f"{fault.fault}-{fault.http_status}")
async def test_with_resend_everybody_is_sent_and_each_extra_mail_has_a_doubt_behind_it(
    ses_emulator: Emulator, path: Path, fault: CallFault
) -> None:
    ses_emulator.faults.add(fault)
    addresses = [f"user{n}@example.com" for n in range(60)]
    ran = await run(ses_emulator, path, addresses, in_doubt="resend")
    assert (*ran.audit.lost, *ran.audit.unexplained) == ()
    assert ran.report.counts.sent == 60
    doubtful = {line.seq for line in ran.lines.values() if line.attempts > 1}
    assert set(ran.audit.duplicated) <= doubtful
    assert len(doubtful) == 50


@pytest.mark.usefixtures("ses_emulator")
async def test_a_wrong_secret_holds_before_anything_is_sent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    async with engine(path) as opened:
        report = await opened.run(MAILING, GOOD)
    assert (report.state, report.calls) == ("held", 0)
