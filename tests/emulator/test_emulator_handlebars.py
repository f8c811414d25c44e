"""The emulator's interpreter of templates, beside Handlebars.js and beside the engine's judge."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from mailsluice.emulator.handlebars import Handlebars, RenderingFailure
from mailsluice.emulator.tags import TemplateRefusedError
from mailsluice.mailing.rendering import Source, Template, Verdict
from tests.mailing.rendering import generated, golden
from tests.mailing.rendering.golden import Golden
from tests.support.chance import a_seed

REFUSED = golden.NOT_EMULATED | golden.UNJUDGED - {"a condition that asks too deep"}
GOLDEN = [case for case in golden.read() if not case.name.startswith("beyond")]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_it_renders_or_fails_as_handlebars_does(case: Golden) -> None:
    if case.name in REFUSED or case.answer.syntax is not None:
        with pytest.raises(TemplateRefusedError):
            Handlebars(case.template)
        return
    template = Handlebars(case.template)
    if case.answer.output is None:
        with pytest.raises(RenderingFailure):
            template.render(case.data)
    elif "else if" in case.template:
        assert template.render(case.data).split() == case.answer.output.split()
    else:
        assert template.render(case.data) == case.answer.output


@pytest.mark.parametrize("draw", [generated.documented, generated.beyond])
def test_it_and_the_judge_never_contradict_each_other(draw: generated.Draw) -> None:
    seed = a_seed()
    agreed: Counter[Verdict] = Counter()
    for number in range(600):
        html, data = draw(Random(f"{seed} {number}"))
        try:
            template = Handlebars(html)
        except TemplateRefusedError:
            assert draw is generated.beyond
            continue
        judged = Template.stored(Source(html=html)).render(data)
        if judged.verdict is not Verdict.UNKNOWN:
            assert (_rendered(template, data) is None) == (judged.verdict is Verdict.FAILS)
        agreed[judged.verdict] += 1
    assert min(agreed[Verdict.FINE], agreed[Verdict.FAILS]) > 60, agreed


def _rendered(template: Handlebars, data: dict[str, Any]) -> str | None:
    try:
        return template.render(data)
    except RenderingFailure:
        return None


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("{{name}}", "Attribute 'name' is not present in the rendering data."),
        ("{{order.total}}", "Attribute 'order.total' is not present in the rendering data."),
        ("{{none}}", "Attribute 'none' is not present in the rendering data."),
        ("{{#IF a}}x{{/IF}}", "Attribute 'IF' is not present in the rendering data."),
    ],
)
def test_a_failure_says_what_ses_says(html: str, said: str) -> None:
    with pytest.raises(RenderingFailure) as failed:
        Handlebars(html).render({"none": None, "order": {}})
    assert str(failed.value) == said


def test_partials_that_call_each_other_come_to_an_end() -> None:
    with pytest.raises(RenderingFailure):
        Handlebars('{{#*inline "p"}}{{> p}}{{/inline}}{{> p}}').render({})


def test_blocks_that_are_nested_too_deeply_are_refused() -> None:
    with pytest.raises(TemplateRefusedError):
        Handlebars("{{#if a}}" * 5_000 + "{{/if}}" * 5_000)
