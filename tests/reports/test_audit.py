from mailsluice.journal import AddressColumns, Intent, Record, Settlement, Taken
from mailsluice.journal.memory import MemoryJournal
from mailsluice.reports import audit, export

RECORDS: list[Record] = [
    Taken(0.0, 1, 4, []),
    Intent(0.0, 1, [1, 2, 3, 4], AddressColumns([f"{n}@e.org" for n in range(1, 5)])),
    Settlement(0.0, 1, "ssir", ["x"] * 4, ["a", "b", None, None], [None] * 4),
]


def found(*accepted: tuple[str, str]) -> audit.Audit:
    return audit.compare(export.lines(MemoryJournal(RECORDS)), accepted)


def test_ledgers_that_agree() -> None:
    result = found(("run-1", "a"), ("run-2", "b"), ("run-3", "c"))
    assert result.agree
    assert (result.sent, result.accepted, result.delivered_in_doubt) == (2, 3, 1)


def test_what_ses_never_saw_is_lost() -> None:
    assert found(("run-1", "a")).lost == (2,)


def test_another_message_id_is_no_proof() -> None:
    assert found(("run-1", "z"), ("run-2", "b")).lost == (1,)


def test_what_the_journal_does_not_account_for_is_unexplained() -> None:
    result = found(("run-1", "a"), ("run-2", "b"), ("run-4", "d"), ("run-9", "e"))
    assert result.unexplained == (4, 9)
    assert not result.agree


def test_what_ses_accepted_twice_is_duplicated() -> None:
    assert found(("run-1", "a"), ("run-1", "q"), ("run-2", "b")).duplicated == (1,)
