"""One line a recipient, whatever happened to it, and as many lines as rows."""

import csv
import io

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsluice.journal import AddressColumns, Event, Intent, Record, Resolution, Settlement, Taken
from mailsluice.journal.memory import MemoryJournal
from mailsluice.model import Remark, State
from mailsluice.reports import export


def settled(batch: int, states: str, at: float = 5.0) -> Settlement:
    size = len(states)
    ids = [f"id-{batch}-{i}" if code == "s" else None for i, code in enumerate(states)]
    return Settlement(at, batch, states, ["STATUS"] * size, ids, [None] * size)


RECORDS: list[Record] = [
    Event(0.0, "begun", ""),
    Taken(1.0, 1, 9, [Remark(3, State.REFUSED, "x", "k", "line 4: to: there is no @")]),
    Intent(2.0, 1, [1, 2, 4, 5], AddressColumns(["1@e.org", "2@e.org", "4@e.org", "5@e.org"])),
    settled(1, "sbir"),
    Intent(3.0, 2, [2, 6], AddressColumns(["2@e.org", "6@e.org"])),
    settled(2, "sp"),
    Resolution(6.0, [4], State.FAILED, "RESOLVED", "resolved by an operator: drop"),
    Intent(7.0, 3, [7], AddressColumns([["7@e.org", "b@e.org"]], [["c@e.org"]], key=["key-7"])),
]


def test_every_row_has_exactly_one_line_with_its_last_state() -> None:
    lines = {line.seq: line for line in export.lines(MemoryJournal(RECORDS))}
    assert list(range(1, 10)) == sorted(lines)
    assert len(list(export.lines(MemoryJournal(RECORDS)))) == 9
    states = {seq: line.state for seq, line in lines.items()}
    assert states == {
        1: "sent", 2: "sent", 3: "refused", 4: "failed", 5: "rejected",
        6: "pending", 7: "in_doubt", 8: "pending", 9: "pending",
    }  # fmt: skip


def test_a_line_says_all_that_is_known() -> None:
    lines = {line.seq: line for line in export.lines(MemoryJournal(RECORDS))}
    assert (lines[2].attempts, lines[2].message_id, lines[2].address) == (2, "id-2-0", "2@e.org")
    assert (
        lines[3].key,
        lines[3].error,
        lines[3].attempts,
    ) == ("k", "line 4: to: there is no @", 0)
    assert (lines[4].status, lines[4].error) == ("RESOLVED", "resolved by an operator: drop")
    seven = lines[7]
    assert (
        seven.address,
        seven.to,
        seven.cc,
        seven.key,
    ) == ("7@e.org", "7@e.org, b@e.org", "c@e.org", "key-7")
    assert lines[1].at == "1970-01-01T00:00:05.000+00:00"


def test_both_formats_say_the_same() -> None:
    as_csv, as_ndjson = io.StringIO(newline=""), io.StringIO()
    export.write_csv(export.lines(MemoryJournal(RECORDS)), as_csv)
    export.write_ndjson(export.lines(MemoryJournal(RECORDS)), as_ndjson)
    rows = list(csv.DictReader(io.StringIO(as_csv.getvalue(), newline="")))
    objects = [orjson.loads(line) for line in as_ndjson.getvalue().splitlines()]
    assert [
        {name: "" if value is None else str(value) for name, value in each.items()}
        for each in objects
    ] == rows


@settings(deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from('a",\r\n é=+-@\t'), max_size=4), min_size=1, max_size=30)
)
def test_csv_reads_back_whatever_the_fields_hold(texts: list[str]) -> None:
    rows = [
        export.Line(n, text or None, text, text, "", "", "sent", "S", None, text or None, 1, "now")
        for n, text in enumerate(texts)
    ]
    out = io.StringIO(newline="")
    export.write_csv(rows, out, defused=False)
    expected = io.StringIO(newline="")
    csv.writer(expected).writerows([export.Line._fields, *rows])
    assert out.getvalue() == expected.getvalue()


@settings(deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from('a",\r\n é=+-@\t'), max_size=4), min_size=1, max_size=30)
)
def test_no_cell_begins_as_a_formula(texts: list[str]) -> None:
    rows = [
        export.Line(n, text or None, text, text, "", "", "sent", "S", None, text or None, 1, "now")
        for n, text in enumerate(texts)
    ]
    out = io.StringIO(newline="")
    export.write_csv(rows, out)
    read = list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1:]
    for text, row in zip(texts, read, strict=True):
        assert row[2] == (f"'{text}" if text and text[0] in "=+-@\t\r" else text)
