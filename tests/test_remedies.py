"""Every hold has a remedy, here and in the runbook."""

from pathlib import Path

import pytest

from mailsluice.remedies import SOURCE_BROKEN, SOURCE_SHORTER, remedy
from mailsluice.report import ExitCode
from mailsluice.statuses import CALL_RULES, ENTRY_RULES, NOT_SENT, Action

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
    assert remedy(f"{code}: because") != remedy("SOMETHING_ELSE: because")
    assert f"`{code}`" in RUNBOOK


def test_every_exit_code_is_in_the_runbook() -> None:
    for code in ExitCode:
        assert f"\n| {code.value} | " in RUNBOOK
