"""Every hold has a remedy, here and in the runbook."""

from pathlib import Path

import pytest

from mailsluice.model import Counts, State
from mailsluice.model.codes import NOT_SENT, SOURCE_BROKEN, SOURCE_SHORTER
from mailsluice.model.hold import Hold
from mailsluice.reports.remedies import next_steps, remedy
from mailsluice.reports.report import ExitCode
from mailsluice.ses.statuses import CALL_RULES, ENTRY_RULES, Action

RUNBOOK = Path("docs/runbook.md").read_text(encoding="utf-8")

HOLDS = [
    *(
        code
        for code, rule in (*ENTRY_RULES.items(), *CALL_RULES.items())
        if rule.action in (Action.HOLD, Action.BISECT)
    ),
    *(NOT_SENT, SOURCE_BROKEN, SOURCE_SHORTER),
]


@pytest.mark.parametrize("code", HOLDS)
def test_a_hold_has_a_remedy_of_its_own_and_a_line_in_the_runbook(code: str) -> None:
    assert remedy(code) != remedy("SOMETHING_ELSE")
    assert f"`{code}`" in RUNBOOK


def test_every_exit_code_is_in_the_runbook() -> None:
    for code in ExitCode:
        assert f"\n| {code.value} | " in RUNBOOK


RESOLVE = "3 in doubt, which SES may have: mailsluice resolve j --in-doubt sent|resend|drop"
AGAIN = "failed: mailsluice send ... --only failed, or leave them"
NO_LIST = (
    "the list has no recipients: fill it, or correct [recipients] path, and run the same "
    "`mailsluice send` again"
)
CARRIES_ON = "run the same `mailsluice send` again: it carries on"


@pytest.mark.parametrize(
    ("state", "counts", "again", "steps"),
    [
        ("running", Counts(in_doubt=3), (), []),
        ("finished", Counts(read=3, sent=3), (), []),
        ("finished", Counts(), (), [NO_LIST]),
        ("finished", Counts(read=4, in_doubt=3, failed=1), (State.FAILED,), [RESOLVE, AGAIN]),
        ("finished", Counts(read=1, failed=1), (), []),
        *((state, Counts(in_doubt=3), (), [CARRIES_ON]) for state in ("stopped", "interrupted")),
    ],
)
def test_an_operator_is_told_what_to_do_next(
    state: str, counts: Counts, again: tuple[State, ...], steps: list[str]
) -> None:
    assert next_steps(state, None, counts, "j", again) == steps


def test_a_hold_says_its_remedy_and_to_run_again() -> None:
    [step] = next_steps("held", Hold("TEMPLATE_NOT_FOUND", "hello"), Counts(), "j", ())
    assert step.startswith("create the template")
    assert step.endswith("; then run the same `mailsluice send` again")
