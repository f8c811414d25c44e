"""Proof 11: a template's judgement beside Handlebars.js."""

from __future__ import annotations

from random import Random, SystemRandom
from typing import NamedTuple

from tests.prove.figures import Proved, Size, at_least, exactly, told
from tests.rendering import generated, golden, handlebars
from tests.rendering.generated import Draw
from tests.rendering.handlebars import Answer

GENERATED = 10_000
"""Templates of the documented subset; as many again from beyond it."""

SHOWN_MAX = 5


class _Compared(NamedTuple):
    cases: int
    disagreements: list[str]
    unjudged: int


def _compared(cases: list[tuple[generated.Case, Answer]]) -> _Compared:
    said = [handlebars.disagreement(*case, answer) for case, answer in cases]
    return _Compared(len(cases), [each for each in said if each], said.count(""))


def _drawn(draw: Draw, seed: int) -> list[tuple[generated.Case, Answer]]:
    cases = [draw(Random(f"{seed} {number}")) for number in range(GENERATED)]
    return list(zip(cases, handlebars.answers(cases), strict=True))


def _kept(kind: str) -> list[tuple[generated.Case, Answer]]:
    return [
        (generated.Case(case.template, case.data), case.answer)
        for case in golden.read()
        if case.name.startswith("beyond") == (kind == "beyond") and case.name not in golden.UNJUDGED
    ]


def prove(size: Size) -> Proved:
    """In full with new templates and Handlebars.js; in short with its answers that are kept."""
    seed = SystemRandom().randrange(2**32)
    if size == "full":
        if missing := handlebars.installed():
            return Proved([exactly(f"Handlebars.js runs ({missing})", 1, 0)])
        documented = _compared(_drawn(generated.documented, seed))
        beyond = _compared(_drawn(generated.beyond, seed))
    else:
        documented, beyond = _compared(_kept("documented")), _compared(_kept("beyond"))
    wrong = documented.disagreements + beyond.disagreements
    return Proved(
        [
            at_least("templates of the documented subset", 84, documented.cases),
            at_least("templates from beyond it", 84, beyond.cases),
            exactly("  disagreements with Handlebars.js", 0, len(wrong)),
            exactly("  documented, but cannot judge", 0, documented.unjudged),
            told("  beyond it, cannot judge", f"{beyond.unjudged / beyond.cases:.1%}"),
        ],
        [f"{seed=}", *wrong[:SHOWN_MAX]],
    )
