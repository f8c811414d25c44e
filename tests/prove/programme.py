"""The proofs, in order, each with what must make it fail."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction

from mailsluice.cli import runtime
from tests.prove.figures import Proved, Size


@dataclass(frozen=True, slots=True)
class Proof:
    """A module of this package with a function `prove`."""

    module: str
    title: str
    controls: Sequence[str]
    """Mutants (by name) with which the same programme, in its short version, must report
    violations."""

    def run(self, size: Size) -> Proved:
        """Run it."""
        prove = importlib.import_module(f"tests.prove.{self.module}").prove
        proved: Proved = runtime.run(prove(size)) if iscoroutinefunction(prove) else prove(size)
        return proved


PROOFS = [
    Proof(
        "wire",
        "1 wire truth table",
        ["the SDK retries by itself", "a connection that SES has closed is used"],
    ),
    Proof("kill", "2 SIGKILL", ["what was in flight at a crash is pending again"]),
    Proof("powercut", "3 power cut", ["synchronous=NORMAL"]),
    Proof("simulation", "4 simulation", ["doubts are sent again in hold"]),
    Proof(
        "conformance",
        "5 journal conformance",
        ["the last record of a commit is lost", "a commit in memory is forgotten"],
    ),
    Proof(
        "storage",
        "6 storage faults",
        ["seals are not looked at", "a damaged log is taken for one that a crash cut off"],
    ),
    Proof("hostile", "7 hostile input", ["header values are not looked at"]),
    Proof(
        "queue",
        "9 queue",
        ["a message is deleted before it is sent", "keys of older processes are not looked at"],
    ),
    Proof("soak", "10 soak", ["a mailing's journal stays open"]),
    Proof(
        "rendering",
        "11 rendering",
        ["a null is taken for a value", "what is not documented is fine"],
    ),
    Proof(
        "feedback",
        "11 feedback",
        [
            "tags are trusted to be an object",
            "a commit now and then is not made",
            "an event is deleted before it is stored",
        ],
    ),
    Proof(
        "brake",
        "12 brake",
        [
            "only what was heard of counts as sent",
            "only the last prefix is looked at",
            "restarts weigh more than one",
            "there is no ramp",
            "who hears nothing sends on",
            "a mail that was not rendered is not watched",
            "complaints of the past are forgotten",
        ],
    ),
    Proof("mutants", "8 mutants", []),
]


def named(module: str) -> Proof:
    """The proof of that module."""
    return next(proof for proof in PROOFS if proof.module == module)
