"""What a check says of each row is what becomes of it: the emulated SES renders for real."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from mailsluice import Engine, Mailing, Recipient, Settings
from mailsluice.checking.rows import Quick, Thorough
from mailsluice.config.settings import QuotaSettings, SesSettings
from mailsluice.emulator import Emulator
from mailsluice.mailing.rendering import Source, Template, Verdict
from mailsluice.sources import Row
from tests.support.chance import a_seed

ROWS = 10_000

PARTS = {
    "subject": "{{name}}, your order {{order.number}}",
    "text": """\
Dear {{name}},
{{#each items}}
- {{title}} ({{../currency}})
{{/each}}
{{#if coupon}}Your coupon: {{coupon}}{{else}}Come back soon{{/if}}
{{#unless quiet}}{{order.total}} {{currency}}{{/unless}}
""",
    "html": """\
{{#* inline "foot"}}<p>{{shop.name}}, {{city}}</p>{{/inline}}
<p>{{name}}</p>{{#with order}}<p>{{number}}{{#if note}}: {{note}}{{/if}}</p>{{/with}}{{> foot}}
""",
}
MAILING = Mailing(
    from_address="news@example.com",
    template="order",
    data={"shop": {"name": "Example", "url": "https://example.com"}, "currency": "EUR"},
)


def good(number: int) -> dict[str, Any]:
    return {
        "name": f"Name {number}",
        "city": "Lisbon",
        "order": {"number": f"{number}", "total": "12.90"},
        "items": [{"title": "one"}, {"title": "two"}],
    }


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for name in path[:-1]:
            data = data[name]
        del data[path[-1]]

    return change


def with_(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(fields)


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    # Each is a defect, or looks like one.
    "no name": without("name"),
    "no city": without("city"),
    "no order": without("order"),
    "no number": without("order", "number"),
    "no total": without("order", "total"),
    "no total, but quiet": with_(order={"number": "1"}, quiet="x"),
    "name misspelt": lambda data: data.update(nmae=data.pop("name")),
    "null name": with_(name=None),
    "null currency": with_(currency=None),
    "null coupon": with_(coupon=None),
    "empty name": with_(name=""),
    "coupon": with_(coupon="SAVE10"),
    "empty coupon": with_(coupon=""),
    "no items": without("items"),
    "empty items": with_(items=[]),
    "an item without a title": with_(items=[{"title": "one"}, {}]),
    "an item with a null title": with_(items=[{"title": None}]),
    "a shop of its own": with_(shop={"url": "x"}),
    "a null shop name": with_(shop={"name": None}),
    "a note": with_(order={"number": "1", "total": "2", "note": "thanks"}),
    "a null note": with_(order={"number": "1", "total": "2", "note": None}),
    "an empty order": with_(order={}),
    "order is null": with_(order=None),
    "number": with_(city=7),
}


def recipients(seed: int) -> list[tuple[str, Recipient]]:
    chance = random.Random(seed)
    made = []
    for number in range(ROWS):
        data = good(number)
        kind = chance.choice([*CHANGES, *["good"] * len(CHANGES)])
        if kind in CHANGES:
            CHANGES[kind](data)
        made.append((kind, Recipient(f"user{number}@example.org", data=data)))
    return made


def verdicts(rows: Quick, listed: list[tuple[str, Recipient]]) -> list[Verdict]:
    """Of each row, by what it adds to the counts."""
    found = []
    for _, recipient in listed:
        before = dict(rows.seen.defects.rows)
        rows.add([Row(0, recipient)])
        after = rows.seen.defects.rows
        found.append(next((each for each in Verdict if after[each] > before[each]), Verdict.FINE))
    return found


@pytest.mark.slow
@pytest.mark.ses_emulator(
    account={"rate_per_s": 1e6, "daily_max": -1},
    resources={"templates": {"order": PARTS}},
)
async def test_the_emulated_ses_agrees_with_the_check_on_every_row(ses_emulator: Emulator) -> None:
    listed = recipients(a_seed())
    settings = Settings(
        ses=SesSettings(endpoint_url=ses_emulator.url), quota=QuotaSettings(rate=1e6)
    )
    everybody = [recipient for _, recipient in listed]
    async with Engine.open(settings) as engine:
        quick = await engine.check(MAILING, everybody, depth="quick")
        thorough = await engine.check(MAILING, everybody)
        report = await engine.run(MAILING, everybody)
    assert report.counts.sent == ROWS  # SES has taken them all, those that fail, too
    failed = {
        entry.to[0] for entry in ses_emulator.ledger.entries() if entry.event == "Rendering Failure"
    }
    template = Template.stored(Source(**PARTS))
    disagreed = [
        (kind, recipient.to, verdict)
        for rows in (Quick(MAILING, template), Thorough(MAILING, template))
        for (kind, recipient), verdict in zip(listed, verdicts(rows, listed), strict=True)
        if (verdict is Verdict.FAILS) != (recipient.to in failed)
    ]
    # What cannot be judged is no false alarm, and never said to be fine.
    wrong = [each for each in disagreed if each[2] is not Verdict.UNKNOWN]
    assert wrong == []
    assert 0 < len(failed) < ROWS
    assert thorough.seen is not None
    assert thorough.seen.defects.rows[Verdict.FAILS] >= len(failed) - len(disagreed) // 2
    assert [str(each) for each in quick.errors] == [str(each) for each in thorough.errors]
