"""The proofs in their short version (`make prove-short`), and that every mutant can be planted."""

import subprocess
import sys

import pytest

from tests.prove import mutants, trace
from tests.prove.programme import PROOFS, Proof

TRACED = {"powercut", "storage"}
"""Proofs that trace system calls."""


def needs_strace(proof: Proof) -> None:
    if proof.module in TRACED and not trace.available():
        pytest.skip("strace is not installed, or may not trace here")


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.module)
def test_every_figure_is_reached(proof: Proof) -> None:
    needs_strace(proof)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.prove.one", proof.module, "short"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_can_still_be_planted(mutant: mutants.Mutant) -> None:
    text = (mutants.ENGINE / "mailsluice" / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.was) == 1
