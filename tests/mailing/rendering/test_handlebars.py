"""The engine's judgement beside Handlebars.js, whose answers are kept in golden.json."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from mailsluice.mailing.rendering import (
    Fault,
    Finding,
    Source,
    Template,
    TemplateError,
    Verdict,
    verdict_of,
)
from tests.mailing.rendering import generated, golden, handlebars
from tests.mailing.rendering.corpus import CORPUS
from tests.mailing.rendering.golden import Golden
from tests.support.chance import a_seed

GOLDEN = golden.read()


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_it_says_what_handlebars_says_or_that_it_cannot_judge(case: Golden) -> None:
    found = handlebars.disagreement(case.template, case.data, case.answer)
    if found == "":
        assert case.name in golden.UNJUDGED or case.name.startswith("beyond")
    else:
        assert found is None, found


def test_the_file_is_of_the_corpus_as_it_stands() -> None:
    kept = [(case.name, case.template, case.data) for case in GOLDEN[: len(CORPUS)]]
    assert kept == [tuple(case) for case in CORPUS]
    assert len({case.name for case in CORPUS}) == len(CORPUS) == 84


def test_the_file_has_cases_of_every_kind() -> None:
    kinds = Counter(
        kind for case in GOLDEN for kind, text in case.answer._asdict().items() if text is not None
    )
    assert min(kinds["output"], kinds["error"], kinds["syntax"]) > 20, kinds


def faults(findings: Sequence[Finding]) -> set[tuple[Fault, str]]:
    return {(finding.fault, finding.place.block) for finding in findings}


@pytest.mark.parametrize("draw", [generated.documented, generated.beyond])
def test_judging_finds_what_rendering_finds(draw: generated.Draw) -> None:
    seed = a_seed()
    verdicts: Counter[Verdict] = Counter()
    for number in range(600):
        template, data = draw(Random(f"{seed} {number}"))
        try:
            compiled = Template.stored(Source(html=template))
        except TemplateError:
            continue
        rendering = compiled.render(data)
        verdicts[rendering.verdict] += 1
        judged = compiled.judge(data)
        assert verdict_of(judged) is rendering.verdict
        assert faults(judged) == faults(rendering.findings)
    assert min(verdicts[Verdict.FINE], verdicts[Verdict.FAILS]) > 60, verdicts
