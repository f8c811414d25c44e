"""One state machine, run on every journal."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.journal.backends import BACKENDS
from tests.journal.machine import machine


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_legal_life_of_a_journal_is_remembered_as_it_was(backend: str) -> None:
    run_state_machine_as_test(
        machine(backend), settings=settings(max_examples=25, stateful_step_count=30, deadline=None)
    )
