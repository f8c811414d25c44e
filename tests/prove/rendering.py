"""Proof 11: a template's judgement beside Handlebars.js."""

from __future__ import annotations

from random import Random, SystemRandom
from typing import NamedTuple

from mailsluice.emulator.handlebars import Handlebars, RenderingFailure
from mailsluice.emulator.tags import TemplateRefusedError
from tests.mailing.rendering import generated, golden, handlebars
from tests.mailing.rendering.generated import Draw
from tests.mailing.rendering.handlebars import Answer
from tests.prove.figures import Proved, Size, at_least, exactly, told

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
        if case.name.startswith("beyond") == (kind == "beyond")
        and case.name not in golden.UNJUDGED | golden.NOT_EMULATED
    ]


def _emulated_wrongly(cases: list[tuple[generated.Case, Answer]]) -> list[str]:
    """What the emulator's interpreter renders, refuses or fails at otherwise than Handlebars.js.

    Of the white space around `else if` it may keep more or less.
    """
    wrong = []
    for (template, data), said in cases:
        try:
            text = Handlebars(template).render(data)
        except RenderingFailure:
            text = None
        except TemplateRefusedError as error:
            text = f"refused: {error}"
        same = text == said.output
        if "else if" in template and text is not None and said.output is not None:
            same = "".join(text.split()) == "".join(said.output.split())
        if not same:
            wrong.append(f"emulator: {template!r}\n  {data}\n  own  {text!r}\n  node {said}")
    return wrong


def prove(size: Size) -> Proved:
    """In full with new templates and Handlebars.js; in short with its answers that are kept."""
    seed = SystemRandom().randrange(2**32)
    if size == "full":
        if missing := handlebars.installed():
            return Proved([exactly(f"Handlebars.js runs ({missing})", 1, 0)])
        inside, outside = _drawn(generated.documented, seed), _drawn(generated.beyond, seed)
    else:
        inside, outside = _kept("documented"), _kept("beyond")
    documented, beyond = _compared(inside), _compared(outside)
    emulated = _emulated_wrongly([case for case in inside if case[1].syntax is None])
    wrong = documented.disagreements + beyond.disagreements
    return Proved(
        [
            at_least("templates of the documented subset", 84, documented.cases),
            at_least("templates from beyond it", 84, beyond.cases),
            exactly("  disagreements with Handlebars.js", 0, len(wrong)),
            exactly("  documented, but cannot judge", 0, documented.unjudged),
            told("  beyond it, cannot judge", f"{beyond.unjudged / beyond.cases:.1%}"),
            exactly("  documented, disagreements of the emulator", 0, len(emulated)),
        ],
        [f"{seed=}", *wrong[:SHOWN_MAX], *emulated[:SHOWN_MAX]],
    )
