"""The library as a service uses it: real HTTP, any iterable, cancellation, stop."""

import gc
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from mailsluice import (
    DeliverySettings,
    Engine,
    JournalError,
    Mailing,
    MailingChangedError,
    Message,
    QuotaSettings,
    Recipient,
    RecipientsSettings,
    Report,
    RunFinishedError,
    Settings,
    SourceChangedError,
)
from mailsluice.dispatch.daily_quota import DailyStatistics
from mailsluice.emulator import CallFault, Emulator, EntryFault
from mailsluice.journal.memory import MemoryJournal
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.mailing.dedupe import Seen
from mailsluice.model.rolling_window import DAY_S
from mailsluice.model.wait_reason import Reason
from mailsluice.reports import export
from mailsluice.ses.client import Client
from mailsluice.sources import Fields
from mailsluice.sources.dialect import Reader
from mailsluice.sources.files import open_source
from tests.support.waiting import PATIENCE_S

MAILING = Mailing(from_address="News <news@example.com>", template="welcome")

pytestmark = pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": -1})


def addresses(count: int) -> list[str]:
    return [f"user{n}@example.com" for n in range(count)]


def states(path: Path) -> dict[str, str]:
    journal = SqliteJournal.read(path)
    found = {line.address: line.state for line in export.lines(journal)}
    journal.close()
    return found


@pytest.fixture
def collector_at_rest() -> Iterator[None]:
    """Garbage stays until a test looks for it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def until(emulator: Emulator, **come: int) -> None:
    """Return when so much has come to the emulated SES (`Emulator.wait_for`)."""
    assert await to_thread.run_sync(partial(emulator.wait_for, **come, timeout_s=PATIENCE_S))


async def test_another_mailing_in_a_finished_journal_is_an_error_of_its_own(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    journal, december = (
        tmp_path / "run.journal",
        MAILING.model_copy(update={"template": "december"}),
    )
    async with Engine.open(Settings(), journal=journal) as engine:
        first = await engine.run(MAILING, addresses(3))
        assert await engine.run(MAILING, addresses(3)) == Report(
            state="finished",
            hold=None,
            counts=first.counts,
            calls=0,
            throttled=0,
            elapsed_s=0.0,
            rate_per_s=0.0,
            quota_rate_per_s=0.0,
        )
        with pytest.raises(RunFinishedError, match="this is another mailing"):
            await engine.run(december, addresses(3))
        again = await engine.run(december, addresses(3), again=True)
    assert (again.calls, again.counts, len(ses_emulator.ledger)) == (0, first.counts, 3)


async def test_another_mailing_in_an_unfinished_journal_is_an_error_of_its_own(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="user60@*"))
    december = MAILING.model_copy(update={"template": "december"})
    async with Engine.open(Settings(), journal=tmp_path / "run.journal") as engine:
        held = await engine.run(MAILING, addresses(120))
        assert (held.state, 0 < held.counts.sent < 120) == ("held", True)
        ses_emulator.faults.clear()
        with pytest.raises(MailingChangedError, match="recipients were sent the old one"):
            await engine.run(december, addresses(120))
        assert (await engine.run(december, addresses(120), again=True)).counts.sent == 120
    by_template = Counter(each.template for each in ses_emulator.ledger.entries())
    assert by_template == {"welcome": held.counts.sent, "december": 120 - held.counts.sent}


async def test_any_iterable_of_recipients_will_do(ses_emulator: Emulator) -> None:
    def generated() -> Iterator[Recipient]:
        for n, address in enumerate(addresses(120)):
            yield Recipient(to=address, data={"n": n}, key=f"k{n}")

    async def arriving() -> AsyncIterator[str]:
        for address in addresses(70):
            yield address

    async with Engine.open(Settings()) as engine:
        first = await engine.run(MAILING, generated())
        second = await engine.run(MAILING, arriving())
        third = await engine.run(MAILING, [])
    assert (first.counts.sent, second.counts.sent, third.counts.read) == (120, 70, 0)
    assert {first.state, second.state, third.state} == {"finished"}
    assert len(ses_emulator.ledger) == 190


async def test_what_a_recipient_says_reaches_ses(ses_emulator: Emulator) -> None:
    mailing = Mailing(
        from_address="News <news@example.com>", template="t", tags={"a": "1"}, data={"city": "x"}
    )
    recipient = Recipient(
        to="Ann <ann@EXAMPLE.com>",
        cc=["c@bücher.example"],
        bcc="b@example.com",
        data={"name": "Ann"},
        tags={"b": "2"},
        headers={"List-Unsubscribe": "<https://example.com/u>"},
    )
    async with Engine.open(Settings()) as engine:
        await engine.run(mailing, [recipient])
    [request] = ses_emulator.requests
    [entry] = request["BulkEmailEntries"]
    assert entry["Destination"] == {
        "ToAddresses": ["Ann <ann@EXAMPLE.com>"],
        "CcAddresses": ["c@xn--bcher-kva.example"],
        "BccAddresses": ["b@example.com"],
    }
    tags = {tag["Name"]: tag["Value"] for tag in entry["ReplacementTags"]}
    run, _, seq = tags.pop("mailsluice-id").rpartition("-")
    assert (tags, seq, len(run)) == ({"a": "1", "b": "2"}, "1", 16)
    replacement = entry["ReplacementEmailContent"]["ReplacementTemplate"]
    assert replacement["ReplacementTemplateData"] == '{"name":"Ann"}'
    assert entry["ReplacementHeaders"] == [
        {"Name": "List-Unsubscribe", "Value": "<https://example.com/u>"}
    ]
    assert request["DefaultContent"]["Template"]["TemplateData"] == '{"city":"x"}'


async def test_a_cancelled_run_leaves_its_calls_in_doubt_and_the_next_one_goes_on(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "run.journal"
    ses_emulator.faults.add(CallFault(fault="late", delay_s=30.0))
    async with Engine.open(Settings(), journal=path) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, MAILING, addresses(100))
        await until(ses_emulator, accepted=100)
        tasks.cancel_scope.cancel()
    assert set(states(path).values()) == {"in_doubt"}
    ses_emulator.faults.clear()
    async with Engine.open(Settings(), journal=path) as engine:
        report = await engine.run(MAILING, addresses(150))
    assert (report.counts.sent, report.counts.in_doubt) == (50, 100)
    assert ses_emulator.ledger.duplicates() == {}


async def test_stop_lets_the_calls_in_flight_end(ses_emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    ses_emulator.change_account(rate_per_s=100)
    reports = []
    async with Engine.open(Settings(), journal=path) as engine, anyio.create_task_group() as tasks:

        async def run() -> None:
            reports.append(await engine.run(MAILING, addresses(1000)))

        tasks.start_soon(run)
        await until(ses_emulator, calls=2)
        engine.stop()
    [report] = reports
    assert report.state == "stopped"
    assert report.exit_code == 4
    assert report.counts.conserved
    assert report.counts.sent == len(ses_emulator.ledger)
    assert report.counts.in_doubt == 0


async def test_stop_ends_a_run_that_waits_for_its_account(ses_emulator: Emulator) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=30.0, operation="GetAccount"))
    reports = []
    async with Engine.open(Settings()) as engine, anyio.create_task_group() as tasks:

        async def run() -> None:
            reports.append(await engine.run(MAILING, addresses(10)))

        tasks.start_soon(run)
        await until(ses_emulator, get_account_calls=1)
        engine.stop()
    assert [(each.state, each.calls) for each in reports] == [("stopped", 0)]


async def test_statistics_say_why_it_is_not_faster(ses_emulator: Emulator) -> None:
    ses_emulator.change_account(rate_per_s=100)
    async with Engine.open(Settings()) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, MAILING, addresses(1000))
        await until(ses_emulator, calls=2)
        now = engine.statistics()
        tasks.cancel_scope.cancel()
    assert now is not None
    assert now.pacer.ceiling_per_s == 100
    assert now.pipeline.waiting_for == "the rate"
    told = {reason: now.explained(reason) for reason in Reason}
    assert all(text.startswith(reason) for reason, text in told.items())
    assert told[Reason.RATE] == "the rate: 100 recipients/s are allowed"
    assert "32 calls at once" in told[Reason.LATENCY]
    assert "100/s of 100/s" in told[Reason.THROTTLED]
    assert engine.statistics() is None


async def test_share_and_reserve_leave_something_to_others(ses_emulator: Emulator) -> None:
    ses_emulator.change_account(rate_per_s=1000, daily_max=100)
    settings = Settings(quota=QuotaSettings(share=0.8, reserve=30, refresh_s=1))
    async with Engine.open(settings) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, MAILING, addresses(200))
        await until(ses_emulator, accepted=70)
        asked = ses_emulator.statistics().get_account_calls
        await until(ses_emulator, get_account_calls=asked + 1)
        now = engine.statistics()
        assert now is not None
        assert (now.pacer.ceiling_per_s, now.dispatcher.daily.room) == (800, 0)
        engine.stop()
    assert len(ses_emulator.ledger) == 70


async def test_a_changed_file_is_refused_on_resume(ses_emulator: Emulator, tmp_path: Path) -> None:
    path, list_ = tmp_path / "run.journal", tmp_path / "list.csv"
    list_.write_text("email\n" + "\n".join(addresses(10)))
    ses_emulator.faults.add(CallFault(fault="error", code="SendingPausedException"))
    async with Engine.open(Settings(), journal=path) as engine:
        await engine.run(MAILING, open_source(list_, Fields()))
        list_.write_text("email\n" + "\n".join([*addresses(9), "late@example.com"]))
        with pytest.raises(SourceChangedError, match=r"list\.csv: it has changed.*--journal"):
            await engine.run(MAILING, open_source(list_, Fields()))


async def test_a_journal_in_use_is_refused(ses_emulator: Emulator, tmp_path: Path) -> None:
    assert ses_emulator.url
    path = tmp_path / "run.journal"
    async with Engine.open(Settings(), journal=path):
        with pytest.raises(JournalError, match="this process has the journal open already"):
            async with Engine.open(Settings(), journal=path):
                pass


async def test_no_more_calls_than_in_flight_at_once(ses_emulator: Emulator) -> None:
    ses_emulator.faults.add(CallFault(fault="late", delay_s=0.3))
    settings = Settings(delivery=DeliverySettings(in_flight=3))
    seen = []
    async with Engine.open(settings) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, MAILING, addresses(400))
        for calls in range(3, 9):
            await until(ses_emulator, calls=calls)
            now = engine.statistics()
            seen.append(now.dispatcher.in_flight if now else 0)
    assert max(seen) == 3


async def test_runs_side_by_side_take_turns_where_calls_are_scarce(ses_emulator: Emulator) -> None:
    ses_emulator.change_account(rate_per_s=1e6)
    ses_emulator.faults.add(CallFault(fault="late", delay_s=0.05))
    settings = Settings(delivery=DeliverySettings(in_flight=2))
    long = Mailing(from_address="a@example.com", template="long")
    async with (
        Engine.open(settings) as engine,
        engine.attended(),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(engine.beside().run, long, addresses(5_000))
        await until(ses_emulator, calls=4)
        report = await engine.beside().run(MAILING, [f"short{n}@example.com" for n in range(500)])
        mails = ses_emulator.ledger.by_address()
        assert report.counts.sent == 500
        assert 500 <= sum(not each.startswith("short") for each in mails) <= 1_500


async def test_the_loop_goes_on_turning_while_a_list_is_read_and_sent(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    """Every slice of intake is followed by a turn of everybody else."""
    ses_emulator.change_account(rate_per_s=1e6)
    list_ = tmp_path / "list.csv"
    list_.write_text("email,name\n" + "".join(f"{a},{a}\n" for a in addresses(5_000)))
    turns = 0
    async with Engine.open(Settings()) as engine, anyio.create_task_group() as tasks:

        async def count() -> None:
            nonlocal turns
            while True:
                await anyio.lowlevel.checkpoint()
                turns += 1

        tasks.start_soon(count)
        report = await engine.run(MAILING, open_source(list_, Fields()))
        tasks.cancel_scope.cancel()
    assert report.counts.sent == 5_000
    assert turns > 5_000 / 256


async def test_a_shorter_source_on_resume_is_held_and_not_called_finished(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "run.journal"
    ses_emulator.faults.add(CallFault(fault="error", code="SendingPausedException"))
    async with Engine.open(Settings(), journal=path) as engine:
        first = await engine.run(MAILING, addresses(300))
        ses_emulator.faults.clear()
        report = await engine.run(MAILING, addresses(150))
    left = first.counts.read - 150
    assert (report.state, report.counts.sent, report.counts.pending) == ("held", 150, left)
    assert report.hold is not None
    assert str(report.hold).startswith("SOURCE_SHORTER")


async def test_a_refused_or_duplicate_row_stays_so_whatever_the_settings_become(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "run.journal"
    twice = [*addresses(20), *addresses(10)]
    ses_emulator.faults.add(CallFault(fault="error", code="SendingPausedException"))
    async with Engine.open(Settings(), journal=path) as engine:
        await engine.run(MAILING, twice)
    ses_emulator.faults.clear()
    settings = Settings(recipients=RecipientsSettings(dedupe="none"))
    async with Engine.open(settings, journal=path) as engine:
        report = await engine.run(MAILING, twice)
    assert report.counts.conserved
    assert (report.counts.sent, report.counts.duplicate) == (20, 10)


async def test_held_twice_for_the_same_reason_the_last_rows_are_to_blame(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.change_account(rate_per_s=1e6)
    for n in (100, 101):
        fault = CallFault(
            fault="error", code="BadRequestException", message="no", address=f"user{n}@example.com"
        )
        ses_emulator.faults.add(fault)
    ends = []
    async with Engine.open(Settings(), journal=tmp_path / "run.journal") as engine:
        for _ in range(3):
            report = await engine.run(MAILING, addresses(102))
            ends.append((report.state, report.counts.rejected, report.counts.pending))
    assert ends[-1] == ("finished", 2, 0)
    assert ends[0] in {("held", 0, 2), ("finished", 2, 0)}


async def test_what_the_callers_iterable_raises_is_raised_when_all_is_settled(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "run.journal"

    def broken() -> Iterator[str]:
        yield from addresses(300)
        raise LookupError("the database has gone")

    async with Engine.open(Settings(), journal=path) as engine:
        with pytest.raises(LookupError, match="the database has gone"):
            await engine.run(MAILING, broken())
    found = list(states(path).values())
    assert found.count("sent") == len(ses_emulator.ledger)
    assert "in_doubt" not in found


async def test_one_engine_runs_one_mailing_at_a_time(ses_emulator: Emulator) -> None:
    ses_emulator.change_account(rate_per_s=50)
    async with Engine.open(Settings()) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, MAILING, addresses(100))
        await until(ses_emulator, calls=1)
        with pytest.raises(RuntimeError, match="running a mailing"):
            await engine.run(MAILING, addresses(1))
        tasks.cancel_scope.cancel()


async def test_the_day_is_probed_where_the_account_may_not_be_asked(
    ses_emulator: Emulator,
) -> None:
    ses_emulator.faults.add(
        CallFault(fault="error", code="AccessDeniedException", operation="GetAccount"),
        EntryFault(status="ACCOUNT_DAILY_QUOTA_EXCEEDED", times=2),
    )
    settings = Settings(quota=QuotaSettings(rate=1000))
    async with Engine.open(settings, day_s=10.0) as engine:
        report = await engine.run(MAILING, addresses(120))
    assert (report.state, report.counts.sent) == ("finished", 120)


async def test_a_sending_rate_of_nothing_is_a_hold(ses_emulator: Emulator) -> None:
    ses_emulator.change_account(sending_enabled=False)
    async with Engine.open(Settings()) as engine:
        report = await engine.run(MAILING, addresses(3))
    assert (report.state, report.calls) == ("held", 0)


async def test_a_restart_does_not_give_burned_attempts_back(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.faults.add(EntryFault(status="TRANSIENT_FAILURE"))
    path = tmp_path / "run.journal"
    settings = Settings(delivery=DeliverySettings(max_attempts=2))
    async with Engine.open(settings, journal=path) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, MAILING, addresses(1))
        await until(ses_emulator, calls=1)
        engine.stop()
    async with Engine.open(settings, journal=path) as engine:
        report = await engine.run(MAILING, addresses(1))
    assert (report.counts.failed, report.calls) == (1, 1)


async def test_an_account_under_review_is_warned_of_once(
    ses_emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    ses_emulator.change_account(enforcement="PROBATION", rate_per_s=20)
    settings = Settings(quota=QuotaSettings(refresh_s=1))
    async with Engine.open(settings) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, MAILING, addresses(100))
        await until(ses_emulator, get_account_calls=3)
        engine.stop()
    assert caplog.text.count("under review (EnforcementStatus PROBATION)") == 1


async def test_a_reserve_that_leaves_nothing_holds_the_run(ses_emulator: Emulator) -> None:
    ses_emulator.change_account(daily_max=100)
    async with Engine.open(Settings(quota=QuotaSettings(reserve=100))) as engine:
        report = await engine.run(MAILING, addresses(3))
    assert (report.state, report.calls, report.counts.pending) == ("held", 0, 3)
    assert report.hold is not None
    assert str(report.hold).startswith(
        "QUOTA_TOO_SMALL: of 100 recipients in 24 hours, share 1 and"
    )


async def test_an_account_that_cannot_be_asked_for_a_moment_is_a_hold(
    ses_emulator: Emulator,
) -> None:
    ses_emulator.faults.add(CallFault(fault="error", http_status=500, operation="GetAccount"))
    async with Engine.open(Settings()) as engine:
        report = await engine.run(MAILING, addresses(3))
    assert (report.state, report.exit_code, report.calls) == ("held", 3, 0)


@pytest.mark.usefixtures("ses_emulator", "collector_at_rest")
async def test_what_has_ended_leaves_no_cyclic_garbage(tmp_path: Path) -> None:
    # Half a megabyte a run, ten kilobytes a mailing's messages: a worker grew by that for minutes.
    list_ = tmp_path / "list.csv"
    list_.write_text("\n".join(["email", *addresses(10), ""]))
    async with Engine.open(Settings()) as engine, engine.attended():
        gc.collect()
        for _ in range(10):
            report = await engine.beside().run(MAILING, open_source(list_, Fields()))
            assert report.counts.sent == 10
        # The collector does not count what falls apart when a generator is closed.
        assert not any(isinstance(each, Reader) for each in gc.get_objects())
        assert gc.collect() < 10
        for n in range(100):  # more than are kept ready
            mailing = Mailing(from_address="a@example.com", template="welcome", data={"n": n})
            await engine.send(Message(mailing, to="b@example.com"))
        assert gc.collect() < 10


@pytest.mark.usefixtures("collector_at_rest")
async def test_a_run_that_was_stopped_holds_no_memory_of_its_recipients(
    ses_emulator: Emulator,
) -> None:
    # The traceback of what was cancelled refers to all of it until the collector comes by.
    async def endless() -> AsyncIterator[str]:
        for address in addresses(10):
            yield address
        await anyio.sleep_forever()

    before = sum(isinstance(each, Seen) and len(each) > 0 for each in gc.get_objects())
    async with Engine.open(Settings()) as base, anyio.create_task_group() as tasks:
        for n in range(5):
            engine = base.beside()
            tasks.start_soon(engine.run, MAILING, endless())
            await until(ses_emulator, accepted=10 * (n + 1))
            engine.stop()
    after = sum(isinstance(each, Seen) and len(each) > 0 for each in gc.get_objects())
    assert after == before


@pytest.mark.ses_emulator(account={"rate_per_s": 5000, "daily_max": 100, "lag_s": 3600})
@pytest.mark.parametrize("jump_s", [-10 * DAY_S, -DAY_S, DAY_S, 10 * DAY_S])
async def test_a_clock_set_during_a_run_frees_nothing_of_the_next_ones_day_and_delays_it_by_a_day(
    ses_emulator: Emulator, jump_s: float
) -> None:
    journal = MemoryJournal()
    readings = 0

    def wall() -> float:
        nonlocal readings
        readings += 1
        return time.time() + (jump_s if 5 <= readings < 8 else 0)

    async def until_the_day_is_used(wall: Callable[[], float]) -> DailyStatistics:
        async with Client(
            region=None, profile=None, endpoint_url=None, in_flight_max=1, timeout_s=5
        ) as transport:
            engine = Engine(
                transport=transport,
                journal=journal,
                delivery=DeliverySettings(in_flight=1),
                wall=wall,
            )
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(engine.run, MAILING, addresses(150))
                daily = (await engine.begun()).dispatcher.daily
                await until(ses_emulator, accepted=100)
                engine.stop()
        return daily

    await until_the_day_is_used(wall)
    daily = await until_the_day_is_used(time.time)
    assert (daily.own, daily.room) == (100, 0)
    assert daily.goes_on_at is not None
    assert daily.goes_on_at <= anyio.current_time() + DAY_S
    assert len(ses_emulator.ledger) == 100
