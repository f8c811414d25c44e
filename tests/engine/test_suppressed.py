"""Suppressed recipients: at intake, right before the intent, of runs and of single messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from mailsluice import ConfigurationError, Engine, Mailing, Message, Recipient, Rejected, Settings
from mailsluice.config import loading
from mailsluice.config.settings import QuotaSettings, SesSettings, SuppressionSettings
from mailsluice.emulator import CallFault, Emulator
from mailsluice.journal import Intent
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.reports import export, history
from mailsluice.suppression import links
from mailsluice.suppression.scopes import ALL, MAILINGS, Reason, Suppression
from mailsluice.suppression.store import Suppressions
from tests.support.messages import until

MAILING = Mailing(from_address="news@example.com", template="welcome")
ANN, BOB, EVE = "ann@example.com", "bob@example.com", "eve@example.com"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Suppressions]:
    """The store, as another process has it open."""
    with closing(Suppressions.open(tmp_path / "suppressions.db")) as opened:
        yield opened


def settings(
    emulator: Emulator, tmp_path: Path, scope: str = MAILINGS, rate: float = 1e6
) -> Settings:
    return Settings(
        ses=SesSettings(endpoint_url=emulator.url),
        quota=QuotaSettings(refresh_s=1.0, rate=rate),
        suppression=SuppressionSettings(path=tmp_path / "suppressions.db", scope=scope),
    )


def suppressed(address: str, scope: str = ALL, reason: Reason = Reason.BOUNCE) -> Suppression:
    return Suppression(address, reason, scope, time.time(), "test")


def taken_in(engine: Engine) -> int:
    now = engine.statistics()
    return 0 if now is None else now.counts.read


def lines(path: Path) -> dict[str, export.Line]:
    with closing(SqliteJournal.read(path)) as journal:
        return {line.address or str(line.seq): line for line in export.lines(journal)}


async def test_a_suppressed_recipient_is_not_mailed_and_everybody_says_why(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    elsewhere.add([suppressed("ann@xn--bcher-kva.example"), suppressed(BOB)])
    path = tmp_path / "run.journal"
    everybody = [
        Recipient(to="Ann <Ann@Bücher.example>"),
        Recipient(to=EVE, cc=["x@example.com"], bcc=[BOB.upper()]),
        Recipient(to=EVE),
    ]
    async with Engine.open(settings(fast, tmp_path), journal=path) as engine:
        report = await engine.run(MAILING, everybody)
    counts = report.counts
    assert (counts.read, counts.suppressed, counts.sent) == (3, 2, 1)
    assert counts.conserved
    assert fast.ledger.by_address() == {EVE: 1}
    with closing(SqliteJournal.read(path)) as journal:
        told = list(export.lines(journal))
    assert [(each.seq, each.state, each.status) for each in told[:2]] == [
        (1, "suppressed", "SUPPRESSED"),
        (2, "suppressed", "SUPPRESSED"),
    ]
    assert told[0].error is not None
    assert told[0].error.startswith("it is suppressed since ")
    assert told[0].error.endswith(", bounce (test)")
    assert str(told[1].error).startswith("one of its 3 addresses is suppressed")


@pytest.mark.parametrize(("scope", "sent"), [("news", 0), ("offers", 1)])
async def test_who_has_unsubscribed_gets_other_kinds_of_mailing(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions, scope: str, sent: int
) -> None:
    elsewhere.add([suppressed(ANN, "news", Reason.UNSUBSCRIBE)])
    async with Engine.open(settings(fast, tmp_path, scope)) as engine:
        report = await engine.run(MAILING, [Recipient(to=ANN)])
    assert (report.counts.sent, report.counts.suppressed) == (sent, 1 - sent)


async def test_s1_who_is_suppressed_while_waiting_is_in_no_intent(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    """All have passed intake when the last is suppressed, by another store than the engine's."""
    path = tmp_path / "run.journal"
    added = asyncio.Event()

    async def everybody() -> AsyncIterator[Recipient]:
        for number in range(60):
            yield Recipient(to=f"user{number}@example.com", cc="Copy <copy@example.com>")
        await added.wait()

    async with Engine.open(settings(fast, tmp_path), journal=path) as engine:
        engine.pause()
        run = asyncio.create_task(engine.run(MAILING, everybody()))
        await until(lambda: taken_in(engine) == 60)
        elsewhere.add([suppressed("user58@example.com")])
        engine.resume()
        added.set()
        report = await run
    assert (report.counts.sent, report.counts.suppressed) == (59, 1)
    assert report.counts.conserved
    assert "user58@example.com" not in fast.ledger.by_address()
    line = lines(path)["user58@example.com"]
    assert (line.state, line.status, line.cc, line.attempts) == (
        *("suppressed", "SUPPRESSED"),
        *("Copy <copy@example.com>", 0),
    )
    with closing(SqliteJournal.read(path)) as journal:
        [told] = history.find_histories(journal.replay(details=True), "user58@example.com")
        intents = [each for each in journal.replay(details=True) if isinstance(each, Intent)]
    assert told.state == "suppressed"
    assert all(59 not in each.seqs for each in intents)


async def test_a_batch_of_which_nobody_is_left_makes_no_call(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    path = tmp_path / "run.journal"
    async with Engine.open(settings(fast, tmp_path), journal=path) as engine:
        engine.pause()
        run = asyncio.create_task(engine.run(MAILING, [Recipient(to=ANN), Recipient(to=BOB)]))
        await until(lambda: taken_in(engine) == 2)
        elsewhere.add([suppressed(ANN), suppressed(BOB)])
        engine.resume()
        report = await run
    assert (report.state, report.counts.suppressed, report.calls) == ("finished", 2, 0)
    assert fast.statistics().account.calls == 0


async def test_who_was_deferred_and_is_suppressed_then_is_not_tried_again(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    fast.faults.add(CallFault(fault="error", code="ServiceUnavailable", http_status=503, times=1))
    path = tmp_path / "run.journal"

    async with Engine.open(settings(fast, tmp_path), journal=path) as engine:
        run = asyncio.create_task(engine.run(MAILING, [Recipient(to=ANN), Recipient(to=BOB)]))
        await until(lambda: fast.statistics().account.calls > 0)
        elsewhere.add([suppressed(ANN)])
        report = await run
    assert report.counts.sent + report.counts.suppressed == 2
    assert fast.ledger.by_address().get(ANN, 0) == report.counts.sent - 1


async def test_a_run_that_goes_on_does_not_mail_who_was_suppressed_meanwhile(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    path = tmp_path / "run.journal"
    everybody = [Recipient(to=f"user{number}@example.com") for number in range(120)]
    async with Engine.open(settings(fast, tmp_path), journal=path) as engine:
        engine.pause()
        run = asyncio.create_task(engine.run(MAILING, everybody))
        await until(lambda: taken_in(engine) == 120)
        engine.stop()
        engine.resume()
        assert (await run).counts.pending == 120
    elsewhere.add([suppressed("user7@example.com")])
    async with Engine.open(settings(fast, tmp_path), journal=path) as engine:
        report = await engine.run(MAILING, everybody)
    assert (report.state, report.counts.sent, report.counts.suppressed) == ("finished", 119, 1)
    assert "user7@example.com" not in fast.ledger.by_address()
    assert lines(path)["user7@example.com"].status == "SUPPRESSED"


async def test_a_store_that_cannot_be_read_holds_the_run(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    async with Engine.open(settings(fast, tmp_path), journal=tmp_path / "run.journal") as engine:
        engine.pause()
        run = asyncio.create_task(engine.run(MAILING, [Recipient(to=ANN), Recipient(to=BOB)]))
        await until(lambda: taken_in(engine) == 2)
        elsewhere.add([suppressed(BOB)])
        with open(tmp_path / "suppressions.db", "r+b") as file:  # noqa: ASYNC230, PTH123
            file.write(b"\0" * 8192)
        (tmp_path / "suppressions.db-wal").write_bytes(b"")
        engine.resume()
        report = await run
    assert report.state == "held"
    assert report.hold is not None
    assert report.hold.code == "SUPPRESSIONS_UNREADABLE"
    assert (report.counts.pending, report.counts.sent) == (2, 0)
    assert not fast.ledger.by_address()


async def test_transactional_messages_go_to_who_only_wants_no_mailings(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    elsewhere.add([suppressed(ANN), suppressed(BOB, MAILINGS, Reason.COMPLAINT)])
    async with Engine.open(settings(fast, tmp_path), journal=tmp_path / "m.journal") as engine:
        await engine.send(Message(MAILING, to=BOB))
        with pytest.raises(Rejected) as refused:
            await engine.send(Message(MAILING, to=BOB), lane="bulk")
        assert refused.value.status == "SUPPRESSED"
        with pytest.raises(Rejected, match="SUPPRESSED: it is suppressed since"):
            await engine.send(Message(MAILING, to=ANN))
    assert fast.ledger.by_address() == {BOB: 1}


async def test_a_message_that_waits_while_its_address_is_suppressed_is_refused(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    path = tmp_path / "m.journal"
    async with Engine.open(settings(fast, tmp_path), journal=path) as engine:
        await engine.send(Message(MAILING, to=EVE))
        engine.pause()
        sending = [asyncio.create_task(engine.send(Message(MAILING, to=to))) for to in (ANN, BOB)]
        await until(
            lambda: (now := engine.message_statistics()) is not None and now.counts.read == 3
        )
        elsewhere.add([suppressed(ANN)])
        engine.resume()
        ended = await asyncio.gather(*sending, return_exceptions=True)
    assert isinstance(ended[0], Rejected)
    assert ended[0].status == "SUPPRESSED"
    assert not isinstance(ended[1], BaseException)
    assert lines(path)[ANN].state == "suppressed"
    assert ANN not in fast.ledger.by_address()


WITH_LINKS = """\
[mailing]
from = "news@example.com"
template = "welcome"
[suppression]
path = "suppressions.db"
scope = "news"
[unsubscribe]
url = "https://u.example.com/u/{token}"
"""


def entries(emulator: Emulator) -> list[dict[str, Any]]:
    """All entries of all calls, as they came."""
    return [each for body in emulator.requests for each in body["BulkEmailEntries"]]


def headers_and_data(entry: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    template = entry["ReplacementEmailContent"]["ReplacementTemplate"]
    headers = {each["Name"]: each["Value"] for each in entry["ReplacementHeaders"]}
    return headers, orjson.loads(template["ReplacementTemplateData"])


async def test_each_recipient_has_a_signed_link_of_its_own(
    fast: Emulator, tmp_path: Path, elsewhere: Suppressions
) -> None:
    (tmp_path / "mailing.toml").write_text(WITH_LINKS)
    mailing, loaded = loading.load(tmp_path / "mailing.toml")
    loaded = loaded.model_copy(update={"ses": SesSettings(endpoint_url=fast.url)})
    own = {"List-Unsubscribe": "<mailto:own@example.com>"}
    everybody = [Recipient(to=ANN), Recipient(to=BOB, data={"unsubscribe_url": "x"}, headers=own)]
    path = tmp_path / "run.journal"
    async with Engine.open(loaded, journal=path) as engine:
        await engine.run(mailing, everybody)
    (ann, ann_data), (bob, bob_data) = map(headers_and_data, entries(fast))
    url = ann_data["unsubscribe_url"]
    assert ann["List-Unsubscribe"] == f"<{url}>"
    assert ann["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    asked = links.read(elsewhere.keys.links, url.removeprefix("https://u.example.com/u/"))
    assert asked == (elsewhere.hash(ANN), "news", fast.ledger.to(ANN)[0].tags["mailsluice-id"])
    assert bob_data["unsubscribe_url"] == "x", "what a row has of its own counts"
    assert bob["List-Unsubscribe"] == own["List-Unsubscribe"]
    elsewhere.add_hash(asked.hash, asked.scope, time.time(), asked.source)
    async with Engine.open(loaded, journal=tmp_path / "next.journal") as engine:
        report = await engine.run(mailing, everybody[:1])
    assert report.counts.suppressed == 1


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        ("https://", "http://", "url: it must begin with https://"),
        ("/{token}", "", "url: it must have {token} in it"),
        ('[suppression]\npath = "suppressions.db"\nscope = "news"\n', "", "needs a [suppression]"),
        (
            "[suppression]",
            '[mailing.headers]\nList-Unsubscribe = "<https://own.example>"\n[suppression]',
            "headers has List-Unsubscribe, too",
        ),
    ],
)
def test_a_link_that_cannot_work_is_refused(
    tmp_path: Path, was: str, becomes: str, why: str
) -> None:
    (tmp_path / "mailing.toml").write_text(WITH_LINKS.replace(was, becomes))
    with pytest.raises(ConfigurationError) as refused:
        loading.load(tmp_path / "mailing.toml")
    assert why in str(refused.value)
