"""What it costs to judge a row's data against the template, and to render them, per row.

    python -m benchmarks.rendering [--rows N] [--rounds N]

One typical template (subject, text and HTML; 17 tags, a condition, a list of three in both) and one
that has 16 variables only, each with complete rows, and with every tenth row lacking a name. It
prints CPU time: reading the row's JSON, merging it with the mailing's data, and the judgement,
counted; or the rendering of all parts, which judges, too.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from mailsluice.mailing.rendering import Defects, Source, Template, merged

WANTED_US = 10.0

DEFAULTS = {"season": "autumn", "shop": {"name": "Example", "url": "https://shop.example.com"}}

TYPICAL = Source(
    subject="{{first_name}}, your {{season}} order",
    text="""\
Dear {{first_name}} {{last_name}},

thank you for ordering at {{shop.name}} on {{ordered_on}}. We send it to {{street}}, {{city}}.

{{#each items}}
- {{count}} x {{title}}: {{price}}
{{/each}}
Total: {{total}}
{{#if coupon}}
Your next coupon: {{coupon}}
{{/if}}

{{shop.name}}, {{shop.url}}
""",
    html="""\
<p>Dear {{first_name}} {{last_name}},</p>
<p>thank you for ordering at {{shop.name}} on {{ordered_on}}.</p>
<p>We send it to {{street}}, {{city}}.</p>
<ul>
  {{#each items}}
  <li>{{count}} x {{title}}: {{price}}</li>
  {{/each}}
</ul>
<p>Total: {{total}}</p>
{{#if coupon}}
<p>Your next coupon: {{coupon}}</p>
{{/if}}
<p>{{shop.name}}, <a href="{{shop.url}}?from={{customer}}">{{shop.url}}</a></p>
""",
)
VARIABLES = Source(
    subject="{{first_name}}, your {{season}} order",
    text="Dear {{first_name}} {{last_name}}, {{ordered_on}}: {{total}}. {{street}}, {{city}}.",
    html="<p>Dear {{first_name}} {{last_name}},</p><p>{{ordered_on}}: {{total}}.</p><p>{{street}},"
    " {{city}}</p><p>{{coupon}} {{customer}}</p>",
)


def row(number: int, defect_every: int) -> bytes:
    """One recipient's data, as JSON."""
    data: dict[str, Any] = {
        "first_name": f"Name{number}",
        "last_name": "Example",
        "ordered_on": "27 November",
        "street": "1 Long Street",
        "city": "Lisbon",
        "customer": number,
        "total": "129.90",
        "coupon": "SAVE10" if number % 2 else "",
        "items": [{"count": 1, "title": f"Thing {n}", "price": "43.30"} for n in range(3)],
    }
    if defect_every and number % defect_every == 0:
        data["frist_name"] = data.pop("first_name")
    return orjson.dumps(data)


def stages(source: Source) -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """Yield the stages by name; each includes the ones before it."""
    template = Template.stored(source)
    defects = Defects()
    yield "read", orjson.loads
    yield "and merged", lambda text: merged(DEFAULTS, orjson.loads(text))

    def judge(text: bytes) -> None:
        defects.add(1, template.judge(merged(DEFAULTS, orjson.loads(text))))

    def render(text: bytes) -> None:
        defects.add(1, template.render(merged(DEFAULTS, orjson.loads(text))).findings)

    yield "and judged, counted", judge
    yield "or rendered, counted", render


def cost_us(call: Callable[[bytes], object], rows: list[bytes], rounds: int) -> float:
    """CPU microseconds of one row: the median of the rounds."""
    took = []
    for _ in range(rounds):
        before = time.process_time()
        for each in rows:
            call(each)
        took.append((time.process_time() - before) / len(rows) * 1e6)
    return statistics.median(took)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, {options.rows:,} rows")
    print("| template | rows with defects | stage | µs per row | of it after merging | wanted |")
    print("|---|---|---|---|---|---|")
    for name, source in (("typical", TYPICAL), ("variables only", VARIABLES)):
        for every, share in ((0, "none"), (10, "10 %")):
            rows = [row(number, every) for number in range(1, options.rows + 1)]
            costs = {stage: cost_us(call, rows, options.rounds) for stage, call in stages(source)}
            merging = costs["and merged"]
            for stage, cost in costs.items():
                own = f"{cost - merging:.1f}" if cost > merging else ""
                wanted = WANTED_US if "judged" in stage else ""
                print(f"| {name} | {share} | {stage} | {cost:.1f} | {own} | {wanted} |")


if __name__ == "__main__":
    main()
