"""Proof 5: one suite and one state machine, on every journal that there is."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.journal.backends import BACKENDS
from tests.journal.machine import machine
from tests.prove.figures import Proved, Size, at_least, exactly, told

EXAMPLES = {"short": 20, "full": 2_000}
STEPS = 50

SUITE = "tests/journal/test_conformance.py"


def live(backend: str, examples: int) -> str | None:
    """Lives of the machine on this journal; what broke, if anything."""
    try:
        run_state_machine_as_test(
            machine(backend),
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                derandomize=True,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as error:  # noqa: BLE001  # whatever a broken journal raises
        return f"{backend}: {error!r}"
    return None


def prove(size: Size) -> Proved:
    """The suite, and so many lives of the machine, for each journal."""
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", SUITE],
        capture_output=True,
        text=True,
        check=False,
    )
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        broke = list(pool.map(live, BACKENDS, [EXAMPLES[size]] * len(BACKENDS)))
    broken = [each for each in broke if each is not None]
    return Proved(
        [
            at_least("journals", 2, len(BACKENDS)),
            exactly("  behavioural suite: exit code of pytest", 0, suite.returncode),
            told(
                "  lives of the state machine on each, and steps", f"{EXAMPLES[size]:,} x {STEPS}"
            ),
            exactly("  journals on which it broke", 0, len(broken)),
        ],
        [*broken, *([suite.stdout[-1500:]] if suite.returncode else [])],
    )
