"""Whose row it is: what a source gives on resume is compared with what the journal knows."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import anyio
import pytest
from anyio import to_thread
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsluice import (
    ConfigurationError,
    Counts,
    Engine,
    Mailing,
    QuotaSettings,
    Recipient,
    RecipientsSettings,
    Report,
    RunFinishedError,
    Settings,
    SourceChangedError,
    SourceError,
)
from mailsluice.emulator import (
    AccountSettings,
    CallFault,
    Emulator,
    EmulatorOptions,
    EntryFault,
)
from mailsluice.journal import Taken
from mailsluice.journal.schema import SCHEMA_VERSION, UPGRADED_VERSION
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.model import Dedupe
from mailsluice.reports import export
from mailsluice.reports.export import Line
from mailsluice.sources import Fields, Row, Source
from mailsluice.sources.files import open_source
from mailsluice.sources.iterable import IterableSource, Recipients
from tests.sim.ledgers import CheckedJournal, Ledgers
from tests.sim.ses import EPOCH_S, Accepted, Ses, Wire
from tests.sim.virtual import Process, VirtualLoop

MAILING = Mailing(from_address="News <news@example.com>", template="welcome")

BY_KEY = Settings(recipients=RecipientsSettings(dedupe="key"))

pytestmark = [
    pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=1e6, daily_max=-1)),
    # A killed process leaves coroutines behind that nobody will ever run.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def addresses(*numbers: int) -> list[str]:
    return [f"user{n}@example.com" for n in numbers]


def keyed(*numbers: int) -> list[Recipient]:
    return [Recipient(f"user{n}@example.com", key=f"k{n}") for n in numbers]


async def run(
    path: Path,
    recipients: Source | Recipients,
    settings: Settings | None = None,
    *,
    again: bool = False,
) -> Report:
    async with Engine.open(settings or Settings(), journal=path) as engine:
        return await engine.run(MAILING, recipients, again=again)


class AtOnce(IterableSource):
    """Gives its items in one list, so that a run that has read any of them has read all."""

    def __init__(self, items: Sequence[Recipient | str]) -> None:
        super().__init__(items)
        self._all = items

    async def rows(self) -> AsyncGenerator[list[Row], None]:
        """The list."""
        yield [
            Row(0, each if isinstance(each, Recipient) else Recipient(each)) for each in self._all
        ]


async def held_after(
    calls: int,
    emulator: Emulator,
    path: Path,
    recipients: Source | Recipients,
    settings: Settings | None = None,
) -> Report:
    """A run of which so many calls were accepted, and all later ones found the account paused."""
    fault = CallFault(fault="error", code="SendingPausedException", nth=tuple(range(calls + 1, 99)))
    emulator.faults.add(fault)
    given = AtOnce(recipients) if isinstance(recipients, list) else recipients
    report = await run(path, given, settings)
    emulator.faults.clear()
    assert report.state == "held"
    assert report.counts.sent == len(emulator.ledger)
    return report


def lines(path: Path) -> list[Line]:
    with closing(SqliteJournal.read(path)) as journal:
        return list(export.lines(journal))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


# --- in order -------------------------------------------------------------------------------------


async def test_new_rows_before_the_known_ones_are_refused_and_nobody_is_mailed_twice(
    ses_emulator: Emulator, path: Path
) -> None:
    before = await held_after(3, ses_emulator, path, addresses(*range(1000)))
    sent = before.counts.sent
    assert 0 < sent < 1000
    with pytest.raises(SourceChangedError) as refused:
        await run(path, addresses(*range(5000, 5100), *range(1000)))
    text = str(refused.value)
    assert "row 1 is not the same" in text
    assert "the source gives now another recipient" in text
    assert "nothing was sent" in text
    assert "ORDER BY" in text
    assert "@" not in text
    assert len(ses_emulator.ledger) == sent
    report = await run(path, addresses(*range(1000)))
    assert (report.state, report.counts.sent) == ("finished", 1000)
    assert ses_emulator.ledger.duplicates() == {}


async def test_the_error_names_both_rows_and_their_keys(ses_emulator: Emulator, path: Path) -> None:
    await held_after(1, ses_emulator, path, keyed(*range(300)))
    other = keyed(*range(300))
    del other[7]
    with pytest.raises(SourceChangedError) as refused:
        await run(path, other)
    text = str(refused.value)
    assert "row 8 is not the same" in text
    assert "a recipient with the key 'k7'" in text
    assert "row 9 of the journal with the key 'k8'" in text


async def test_a_key_that_is_an_address_is_not_shown(ses_emulator: Emulator, path: Path) -> None:
    first, second = (
        [Recipient(each, key=each) for each in addresses(*numbers)]
        for numbers in (range(60), range(1, 61))
    )
    await held_after(1, ses_emulator, path, first)
    with pytest.raises(SourceChangedError) as refused:
        await run(path, second)
    assert "@" not in str(refused.value)


async def test_a_difference_after_something_was_sent_holds_the_run(
    ses_emulator: Emulator, path: Path
) -> None:
    await held_after(1, ses_emulator, path, addresses(*range(1500)))
    begun = ses_emulator.statistics().account.calls
    sent = anyio.Event()

    async def changed() -> AsyncIterator[str]:
        """Gives a whole list of rows, waits until part of it is sent, and gives another row."""
        for address in addresses(*range(512)):
            yield address
        more = partial(ses_emulator.wait_for, calls=begun + 1, timeout_s=30.0)
        assert await to_thread.run_sync(more)
        sent.set()
        for address in addresses(*range(512, 900), 7000, *range(901, 1500)):
            yield address

    report = await run(path, changed())
    assert sent.is_set()
    assert (report.state, report.exit_code) == ("held", 3)
    assert report.hold is not None
    assert str(report.hold).startswith("SOURCE_CHANGED: row 901 is not the same")
    assert report.counts.conserved
    assert report.counts.pending > 0
    assert "user7000@example.com" not in ses_emulator.ledger.by_address()
    assert (await run(path, addresses(*range(1500)))).counts.sent == 1500
    assert ses_emulator.ledger.duplicates() == {}


async def test_rows_that_come_after_the_known_ones_may_be_any(
    ses_emulator: Emulator, path: Path
) -> None:
    first = await held_after(1, ses_emulator, path, addresses(*range(100)))
    assert first.counts.read == 100
    report = await run(path, addresses(*range(130)))
    assert (report.state, report.counts.sent) == ("finished", 130)
    assert ses_emulator.ledger.duplicates() == {}


async def test_a_list_that_has_lost_its_end_is_held_though_all_of_it_was_settled(
    ses_emulator: Emulator, path: Path
) -> None:
    """Row 100 alone is pending: those after it were refused."""
    first = [*addresses(*range(100)), *["no-at"] * 20]
    await held_after(1, ses_emulator, path, first)
    report = await run(path, first[:110])
    assert (report.state, report.counts.pending) == ("held", 0)
    assert str(report.hold) == (
        "SOURCE_SHORTER: the source ended before row 111 of 120, which were read before"
    )
    assert (await run(path, first)).state == "finished"


@pytest.mark.parametrize("takes_it", ["a pending row", "a new row"])
async def test_in_order_an_address_that_was_sent_under_one_key_is_not_sent_under_another(
    takes_it: str, ses_emulator: Emulator, path: Path
) -> None:
    first = keyed(*range(300))
    await held_after(2, ses_emulator, path, first)
    sent = next(line.seq for line in lines(path) if line.state == "sent")
    pending = next(line.seq for line in lines(path) if line.state == "pending")
    second, moved = list(first), first[sent - 1]
    second[sent - 1] = moved._replace(to="corrected@example.com")
    if takes_it == "a pending row":
        second[pending - 1] = first[pending - 1]._replace(to=moved.to)
    else:
        second.append(moved._replace(key="new"))
    with pytest.raises(SourceChangedError, match=rf"row {sent} is not .* other addresses .*'k"):
        await run(path, second)
    assert (await run(path, first)).counts.sent == 300
    assert set(ses_emulator.ledger.by_address().values()) == {1}


async def test_a_pending_row_that_cannot_be_sent_as_it_is_given_now_is_named(
    ses_emulator: Emulator, path: Path
) -> None:
    first = addresses(*range(300))
    await held_after(2, ses_emulator, path, first)
    pending = next(line.seq for line in lines(path) if line.state == "pending")
    second: list[str | Recipient] = [*first]
    second[pending - 1] = Recipient(first[pending - 1], tags={"no space": "x"})
    report = await run(path, second)
    assert (report.state, report.counts.sent, report.counts.pending) == ("held", 299, 1)
    assert report.hold is not None
    assert f"(row {pending} is refused: tags: a tag name may hold" in report.hold.text
    assert (await run(path, first)).counts.sent == 300


@pytest.mark.parametrize("settings", [Settings(), BY_KEY])
async def test_a_part_that_is_sent_once_more_is_of_those_whom_the_run_has_had(
    settings: Settings, ses_emulator: Emulator, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ses_emulator.faults.add(EntryFault(status="MESSAGE_REJECTED", address="user[37]@*"))
    assert (await run(path, keyed(*range(10)), settings)).counts.rejected == 2
    ses_emulator.faults.clear()
    ses_emulator.faults.add(EntryFault(status="ACCOUNT_SENDING_PAUSED", address="user7@*"))
    grown = keyed(*range(15))
    async with Engine.open(settings, journal=path) as engine:
        assert (await engine.run(MAILING, grown, only="rejected")).state == "held"
    ses_emulator.faults.clear()
    report = await run(path, grown, settings)  # it carries on
    assert report.counts == Counts(read=10, sent=10)
    assert "5 recipients that the run has not had are on the list" in caplog.text
    assert len(ses_emulator.ledger) == 10
    with pytest.raises(RunFinishedError, match="from row 11 on"):
        await run(path, grown, settings)
    assert (await run(path, grown, settings, again=True)).counts.sent == 15
    assert set(ses_emulator.ledger.by_address().values()) == {1}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("user1@example.com", "  User1@EXAMPLE.com "),
        ("ann@bücher.example", "Ann <ann@xn--bcher-kva.example>"),
        (
            Recipient(["a@example.com", "b@example.com"]),
            Recipient(("A@example.com", "b@EXAMPLE.com")),
        ),
        (Recipient("a@example.com", data={"n": 1}), Recipient("a@example.com", data={"n": 2})),
        (Recipient("Ann <a@example.com>", key="k"), Recipient(["A@example.com"], key="k")),
    ],
)
async def test_the_same_recipient_in_another_form_is_the_same(
    before: Recipient | str, now: Recipient | str, ses_emulator: Emulator, path: Path
) -> None:
    rest = [f"r{n}@example.com" for n in range(60)]
    await held_after(1, ses_emulator, path, [before, *rest])
    assert (await run(path, [now, *rest])).counts.sent == 61


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("no-at", "no-such-at"),
        (Recipient("a@example.com"), Recipient("a@example.com", cc="b@example.com")),
        (Recipient("a@example.com"), Recipient(cc="a@example.com")),
        (Recipient("a@example.com", key="a"), Recipient("a@example.com", key="A")),
        (Recipient("a@example.com", key="k"), Recipient("b@example.com", key="k")),
        (Recipient(["a@example.com"], key="k"), Recipient(["b@example.com"], key="k")),
        (Recipient("a@example.com", key="k"), "a@example.com"),
        (Recipient("a@example.com"), 5),
        ("a\n@example.com", "a@example.com"),
    ],
)
async def test_another_recipient_is_another_row_whether_it_was_refused_or_sent(
    before: Recipient | str, now: object, ses_emulator: Emulator, path: Path
) -> None:
    rest = [f"r{n}@example.com" for n in range(60)]
    await held_after(1, ses_emulator, path, [before, *rest])
    changed: list[object] = [now, *rest]
    with pytest.raises(SourceChangedError, match="row 1 is not the same"):
        await run(path, changed)  # type: ignore[arg-type]


# --- by key ---------------------------------------------------------------------------------------


async def test_with_keys_order_is_free_new_ones_are_sent_and_those_who_are_gone_are_told(
    ses_emulator: Emulator, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = await held_after(3, ses_emulator, path, keyed(*range(300)), BY_KEY)
    assert before.counts.read == 300
    pending = [line.seq for line in lines(path) if line.state == "pending"]
    gone, *left = pending
    second = [*keyed(*range(5000, 5100)), *keyed(*(seq - 1 for seq in left)), *keyed(*range(10))]
    Random(1).shuffle(second)
    report = await run(path, second, BY_KEY)
    assert report.state == "finished"
    assert report.counts == Counts(read=400, sent=399, failed=1)
    assert report.exit_code == 1
    [line] = [line for line in lines(path) if line.state != "sent"]
    assert (line.seq, line.state, line.status) == (gone, "failed", "GONE")
    assert "1 recipients are given up (GONE)" in caplog.text
    mailed = ses_emulator.ledger.by_address()
    assert set(mailed.values()) == {1}
    assert mailed.keys() >= {f"user{n}@example.com" for n in range(5000, 5100)}


async def test_with_keys_a_finished_journal_sends_to_those_who_are_new_if_it_is_told_so(
    ses_emulator: Emulator, path: Path
) -> None:
    await run(path, keyed(1, 2, 3), BY_KEY)
    assert (await run(path, keyed(3, 1), BY_KEY)).state == "finished"
    with pytest.raises(RunFinishedError, match=r"rows that the run never had, from row 4.*--again"):
        await run(path, keyed(4, 1), BY_KEY)
    assert (await run(path, keyed(4, 1, 5), BY_KEY, again=True)).counts.sent == 5
    assert set(ses_emulator.ledger.by_address().values()) == {1}


async def test_with_keys_a_file_may_be_another_export_of_the_same_people(
    ses_emulator: Emulator, tmp_path: Path, path: Path
) -> None:
    list_, fields = tmp_path / "list.csv", Fields(key="id")
    list_.write_text("id,email\n" + "".join(f"{n},user{n}@example.com\n" for n in range(200)))
    await held_after(2, ses_emulator, path, open_source(list_, fields), BY_KEY)
    list_.write_text(
        "email,id\n" + "".join(f"user{n}@example.com,{n}\n" for n in range(220, 0, -1))
    )
    report = await run(path, open_source(list_, fields), BY_KEY)
    assert (report.state, report.counts.read, report.counts.conserved) == ("finished", 221, True)
    assert report.counts.sent + report.counts.failed == 221
    assert set(ses_emulator.ledger.by_address().values()) == {1}


async def test_rows_without_a_key_are_known_by_their_addresses_as_often_as_they_come(
    ses_emulator: Emulator, path: Path
) -> None:
    first: list[str | Recipient] = [*addresses(*range(100)), *addresses(1, 1), *keyed(7, 8)]
    await held_after(1, ses_emulator, path, first, BY_KEY)
    report = await run(path, first[::-1], BY_KEY)
    assert report.counts == Counts(read=104, sent=104)
    mailed = ses_emulator.ledger.by_address()
    assert (mailed["user1@example.com"], mailed["user7@example.com"]) == (3, 2)


async def test_rows_that_are_given_keys_are_the_ones_that_they_were(
    ses_emulator: Emulator, path: Path
) -> None:
    """Who sets `dedupe` first, and `[recipients] key` later."""
    await held_after(2, ses_emulator, path, addresses(*range(300)), BY_KEY)
    report = await run(path, keyed(*range(299, -1, -1)), BY_KEY)
    assert report.counts == Counts(read=300, sent=300)
    assert set(ses_emulator.ledger.by_address().values()) == {1}


async def test_duplicates_of_a_key_stay_duplicates_in_any_order(
    ses_emulator: Emulator, path: Path
) -> None:
    last = Recipient("other@example.com", key="k59")
    await held_after(1, ses_emulator, path, [*keyed(*range(60)), last], BY_KEY)
    report = await run(path, [*keyed(59), *keyed(*range(59)), last, *keyed(59)], BY_KEY)
    assert report.counts == Counts(read=62, sent=60, duplicate=2)
    assert set(ses_emulator.ledger.by_address().values()) == {1}


async def test_a_run_begun_in_order_stays_in_order(ses_emulator: Emulator, path: Path) -> None:
    """Its fingerprints are too short to find a row by."""
    await held_after(1, ses_emulator, path, keyed(*range(60)))
    with pytest.raises(SourceChangedError, match="row 1 is not the same"):
        await run(path, keyed(*range(60))[::-1], BY_KEY)
    assert (await run(path, keyed(*range(60)), BY_KEY)).counts.sent == 60


@pytest.mark.parametrize("dedupe", ["address", "none"])
async def test_a_run_begun_by_key_is_not_carried_on_otherwise(
    dedupe: Dedupe, ses_emulator: Emulator, path: Path
) -> None:
    """An address that moved to another key would be sent again."""
    first = keyed(*range(300))
    await held_after(2, ses_emulator, path, first, BY_KEY)
    otherwise = Settings(recipients=RecipientsSettings(dedupe=dedupe))
    with pytest.raises(ConfigurationError, match=r'began with .* dedupe = "key"; give'):
        await run(path, first, otherwise)
    assert len(ses_emulator.ledger) == 100
    assert (await run(path, first, BY_KEY)).counts.sent == 300


# --- finished -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (addresses(1, 2, 3), None),
        (addresses(1, 2, 3, 4), "rows that the run never had, from row 4 on.*--again"),
        (addresses(1, 2), "ends before row 3"),
        (addresses(1, 5, 3), "row 2 is not the same"),
    ],
)
async def test_another_list_on_a_finished_journal_is_an_error(
    second: list[str], told: str | None, ses_emulator: Emulator, path: Path
) -> None:
    await run(path, addresses(1, 2, 3))
    if told is None:
        assert (await run(path, second)).counts.sent == 3
    else:
        with pytest.raises(RunFinishedError, match=f"has finished, and this is another.*{told}"):
            await run(path, second)
    assert len(ses_emulator.ledger) == 3


# --- journals of schema version 4 -----------------------------------------------------------------


def as_version_4(path: Path) -> None:
    """Take from the journal what version 4 did not have."""
    with closing(SqliteJournal.read(path)) as journal:
        records, run_ = list(journal.replay(details=True)), journal.run
    path.unlink()
    with closing(SqliteJournal.open(path)) as journal:
        assert run_ is not None
        journal.begin(run_)
        journal.commit(
            [
                each._replace(prints=b"", head=None) if isinstance(each, Taken) else each
                for each in records
            ]
        )
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE record DROP COLUMN prints")
        database.execute(f"PRAGMA user_version = {UPGRADED_VERSION}")
        database.commit()


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        found: int = database.execute("PRAGMA user_version").fetchone()[0]
    return found


async def test_a_journal_of_version_4_is_read_as_it_is_and_resumed_by_its_attempts(
    ses_emulator: Emulator, path: Path
) -> None:
    await held_after(2, ses_emulator, path, addresses(*range(300)))
    expected = lines(path)
    as_version_4(path)
    assert (lines(path), version_of(path)) == (expected, UPGRADED_VERSION)
    with pytest.raises(SourceChangedError, match="row 4 is not the same"):
        await run(path, addresses(0, 1, 2, *range(4, 300)))
    assert version_of(path) == SCHEMA_VERSION
    report = await run(path, addresses(*range(300)))
    assert (report.state, report.counts.sent) == ("finished", 300)
    assert ses_emulator.ledger.duplicates() == {}


# --- a source that breaks -------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("rows", [0, 600])
async def test_a_source_that_raises_cancelled_error_is_broken_and_no_stop(
    asynchronous: bool,  # noqa: FBT001  # a table's value
    rows: int,
    ses_emulator: Emulator,
    path: Path,
) -> None:
    def broken() -> Iterator[str]:
        yield from addresses(*range(rows))
        raise anyio.get_cancelled_exc_class()

    async def arriving() -> AsyncIterator[str]:
        for address in broken():
            yield address

    source = arriving() if asynchronous else broken()
    if not rows:
        with pytest.raises(SourceError, match="they raised CancelledError"):
            await run(path, source)
        return
    report = await run(path, source)
    assert report.state == "held"
    assert report.hold is not None
    assert str(report.hold).startswith("SOURCE_BROKEN: the recipients broke off")
    assert report.counts.sent == rows == len(ses_emulator.ledger)


# --- any edit of a list between two runs ----------------------------------------------------------


class World:
    """SES and a journal, which outlive the processes, on virtual time."""

    def __init__(self, seed: int, dedupe: Dedupe) -> None:
        account = AccountSettings(rate_per_s=20, daily_max=-1)
        self.ses = Ses(EmulatorOptions(account=account, credentials=None))
        self.loop = VirtualLoop(seed)
        self.ledgers = Ledgers()
        self._dedupe = dedupe
        self._journal: CheckedJournal | None = None

    def process(self, recipients: list[Recipient], kill_after_s: float | None) -> Report | None:
        """A process of the engine; None if it is killed. Raises SourceChangedError."""
        journal = CheckedJournal(self.ledgers, "hold", self._journal)
        wire = Wire(
            self.ses,
            Random(1),
            latency_s=(0.05, 0.3),
            unreachable=0.0,
            timeout_s=30.0,
            submitted=self._submitted,
        )
        engine = Engine(
            transport=wire,
            journal=journal,
            quota=QuotaSettings(refresh_s=7.0),
            recipients=RecipientsSettings(dedupe=self._dedupe),
            wall=lambda: EPOCH_S + self.loop.time(),
            random=Random(2),
        )
        process = Process(self.loop, engine.run(MAILING, recipients))
        journal.kill = process.kill
        handle = kill_after_s and self.loop.call_later(kill_after_s, process.kill)
        try:
            return process.run(lambda _: None)
        finally:
            if handle:
                handle.cancel()
            journal.dead = True
            if process.killed:
                wire.cut()
            process.clear_away()
            self._journal = journal
            assert journal.violation is None
            self.loop.jump(1.0)

    def _submitted(self, rows: list[int], _: int) -> Accepted:
        batches = self.ledgers.submitted(rows)
        return lambda accepted: self.ledgers.arrived(batches, accepted)

    @property
    def mailed(self) -> dict[str, int]:
        """By address: how often SES has accepted it."""
        return self.ses.service.ledger.by_address()

    def in_doubt(self) -> set[str]:
        assert self._journal is not None
        return {line.address for line in export.lines(self._journal) if line.state == "in_doubt"}


NUMBERS = st.integers(0, 10_000)

EDITS = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "swap", "change"]), NUMBERS, NUMBERS),
    max_size=6,
)


def edited(list_: list[int], edits: list[tuple[str, int, int]]) -> list[int]:
    """The list after these edits; nobody is on it twice."""
    made = list(list_)
    for n, (kind, one, other) in enumerate(edits):
        at = one % (len(made) + 1)
        match kind:
            case "insert":
                made.insert(at, 1000 + n)
            case "delete":
                del made[at : at + 1 + other % 5]
            case "swap" if len(made) > 1:
                i, j = one % len(made), other % len(made)
                made[i], made[j] = made[j], made[i]
            case "change" if made:
                made[one % len(made)] = 2000 + n
    return made


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 120),
    edits=EDITS,
    kill_after_s=st.floats(0.1, 8.0),
    dedupe=st.sampled_from(["address", "key"]),
)
def test_after_any_edit_nobody_is_mailed_twice_and_it_is_refused_or_right(
    size: int, edits: list[tuple[str, int, int]], kill_after_s: float, dedupe: Dedupe
) -> None:
    world = World(size, dedupe)
    try:
        first = list(range(size))
        second = edited(first, edits)
        world.process(keyed(*first), kill_after_s)
        mailed = world.mailed
        try:
            report = world.process(keyed(*second), None)
        except RunFinishedError:
            assert second != first
            assert world.mailed == mailed
            return
        except SourceChangedError:
            assert dedupe == "address"
            assert second != first
            assert world.mailed == mailed
            return
        assert report is not None
        assert report.counts.conserved
        wanted = {f"user{n}@example.com" for n in second}
        assert set(world.mailed.values()) <= {1}
        assert world.mailed.keys() - mailed.keys() <= wanted
        if report.state == "held":
            assert dedupe == "address"
            assert second != first
            assert str(report.hold).startswith(("SOURCE_CHANGED", "SOURCE_SHORTER"))
        else:
            assert report.counts.pending == 0
            assert wanted <= world.mailed.keys() | world.in_doubt()
    finally:
        world.loop.close()
