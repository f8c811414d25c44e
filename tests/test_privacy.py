"""No address, template data or credential in logs above DEBUG, in reports, or in errors."""

import logging
from pathlib import Path

import orjson
import pytest

from mailsluice import (
    DeliverySettings,
    Engine,
    Mailing,
    MailsluiceError,
    QuotaSettings,
    Recipient,
    Settings,
)
from mailsluice.dispatch import backoff
from mailsluice.emulator import CallFault, Emulator, EntryFault
from mailsluice.emulator.exchange import EXCEPTIONS, STATUSES
from mailsluice.emulator.faults import Kind

MAILING = Mailing(
    from_address="News <sender@example.com>", template="welcome", data={"d": "Canary0"}
)

ADDRESSES = [f"canary{n}@example.com" for n in range(60)]
DATA = "CanaryData"
SAYS = (
    "Address canary7@example.com <canary8@example.com> is on the list; canary\uff20example.com, "
    "canary1%40example.com canary2(at)example.com, canary3 [at] example.com, "
    "canary4&#64;example.com"
)
"""SES may quote what it refuses, in the way in which it was written or logged."""

WIRE: tuple[Kind, ...] = ("reset_before", "reset_after", "lost", "cut", "broken", "short")

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = backoff.Backoff(first_s=0.01, max_s=0.02)
    for name in ("RECIPIENT_BACKOFF", "THROTTLE_BACKOFF", "ENDPOINT_BACKOFF"):
        monkeypatch.setattr(backoff, name, quick)


FAULTS = [
    *(EntryFault(status=each, error=SAYS, rate=0.5, times=2) for each in (*STATUSES, "NOVEL")),
    *(CallFault(fault="error", code=each, message=SAYS, times=2) for each in EXCEPTIONS),
    *(CallFault(fault=each, times=2) for each in WIRE),
    CallFault(fault="error", code="AccessDeniedException", message=SAYS, operation="GetAccount"),
    CallFault(fault="error", code="ExpiredTokenException", message=SAYS, operation="GetAccount"),
]


@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda each: getattr(each, "status", None) or each.code or each.fault
)
async def test_nothing_is_said_of_anybody(
    fault: EntryFault | CallFault,
    ses_emulator: Emulator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    ses_emulator.faults.add(fault)
    recipients = [
        *(Recipient(to=each, data={"d": DATA}) for each in ADDRESSES),
        Recipient(to="canary@bad@example.com"),
        Recipient(to="canary1@example.com"),
        Recipient(to="canary61@example.com", headers={"X": "CanaryHeader\r\nBcc: canary@e.org"}),
    ]
    settings = Settings(
        delivery=DeliverySettings(timeout_s=2, max_attempts=2), quota=QuotaSettings(refresh_s=1)
    )
    said = ""
    try:
        async with Engine.open(settings, journal=tmp_path / "run.journal", day_s=1.0) as engine:
            report = await engine.run(MAILING, recipients)
            said += repr(engine.statistics())
        said += orjson.dumps(report.as_dict()).decode()
    except MailsluiceError as error:
        said += str(error)
    secret = ses_emulator.environment["AWS_SECRET_ACCESS_KEY"]
    for text in (said, caplog.text):
        for canary in ("canary", "Canary", "sender@", secret):
            assert canary not in text
