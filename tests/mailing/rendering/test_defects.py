"""Findings, counted over a list."""

from __future__ import annotations

from mailsluice.mailing.rendering import Defects, Fault, Source, Template, Verdict

TEMPLATE = Template.stored(
    Source(
        "{{firstname}}", "{{firstname}} {{city}}", "{{firstname}}\n{{#if vip}}{{#x}}{{/x}}{{/if}}"
    )
)


def test_a_name_is_counted_once_a_row_with_the_first_ten_rows() -> None:
    defects = Defects()
    for row in range(1, 101):
        data = {"firstname": "Ann", "city": "Lisbon"}
        if row % 3 == 0:
            data = {"fistname": "Ann", "city": "Lisbon"}
        if row == 50:
            data = {"firstname": "Ann", "city": "Lisbon", "vip": "yes"}
        defects.add(row, TEMPLATE.judge(data))
    missing, unknown = defects
    assert (missing.fault, missing.name, missing.count) == (Fault.MISSING, "firstname", 33)
    assert missing.rows == [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]
    assert missing.lines == {"subject": 1, "text": 1, "html": 1}
    assert missing.near_miss == "fistname"
    assert (unknown.fault, unknown.name, unknown.rows) == (Fault.UNKNOWN, "#x", [50])
    assert "no such block" in unknown.note
    assert defects.rows == {Verdict.FINE: 66, Verdict.FAILS: 33, Verdict.UNKNOWN: 1}


def test_a_near_miss_may_come_in_a_later_row() -> None:
    defects = Defects()
    defects.add(1, TEMPLATE.judge({"city": "Lisbon"}))
    defects.add(2, TEMPLATE.judge({"city": "Lisbon", "first_name": "Ann"}))
    [missing] = defects
    assert missing.near_miss == "first_name"


def test_the_same_name_in_other_data_is_another_defect() -> None:
    defects = Defects()
    template = Template.stored(
        Source(html="{{n}}{{#each l}}{{n}}{{/each}}{{#with o}}{{n}}{{/with}}")
    )
    defects.add(1, template.judge({"n": None, "l": [{}, {"n": "1"}], "o": {"n": "1"}}))
    assert {(each.name, each.block, each.fault) for each in defects} == {
        ("n", "", Fault.NULL),
        ("n", "#each l", Fault.MISSING),
    }
    assert [each.count for each in defects] == [1, 1]
