"""The whole programme: `python -m tests.prove [NAME ...]`. Prints one table; 1 if a figure misses.

Each proof runs once on the engine as it is, in full, and once with each of its controls: the same
programme, in its short version, on a copy of the engine in which a guarantee is broken on purpose.
A control that reports no violation is a miss as well.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from tests.prove import mutants, one
from tests.prove.figures import Figure, Proved, Size
from tests.prove.programme import PROOFS, Proof, named

KEPT = Path("docs/proofs.md")

HEAD = """\
# Proofs

The last output of `make prove`. What each proof stands for: [guarantees.md](guarantees.md); how
they are made: [adr/0011-proofs.md](adr/0011-proofs.md) and `tests/prove/`.

Each proof runs in full on the engine as it is, and in its short version on copies of the engine in
which one thing is broken on purpose. What a figure was then stands in the last column, with what
was broken; "control" says whether the proof noticed at all.

"""


class Line(NamedTuple):
    """One line of the table."""

    proof: str
    figure: Figure
    controls: str
    """What the same figure was with the guarantee broken."""


def run(proof: Proof, size: Size, mutant: mutants.Mutant | None) -> Proved:
    """Run a proof in a process of its own, on the engine as it is or on a broken copy."""
    with mutants.planted(mutant) if mutant else nullcontext(os.environ) as environment:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.prove.one", proof.module, size],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if mutant else None,
            text=True,
        )
        assert process.stdout is not None
        line = ""
        for line in process.stdout:
            if mutant is None and not line.startswith(one.RESULT):
                print(line, end="", flush=True)
        code = process.wait()
    if not line.startswith(one.RESULT):
        crashed = Figure("the programme did not come to its end", "", str(code), good=False)
        return Proved([crashed], [line])
    figures, details = orjson.loads(line.removeprefix(one.RESULT))
    return Proved([Figure(*each) for each in figures], details)


def table(proof: Proof) -> tuple[list[Line], list[str], bool]:
    """A proof's lines, its details, and whether all is as it must be."""
    proved = run(proof, "full", None)
    good = all(figure.good for figure in proved.figures)
    found: dict[str, list[str]] = {figure.name: [] for figure in proved.figures}
    controls = []
    for name in proof.controls:
        broken = run(proof, "short", mutants.named(name))
        violations = [figure for figure in broken.figures if not figure.good]
        for figure in violations:
            found.get(figure.name, []).append(f"{figure.found} ({name})")
        noticed = any(figure.name in found for figure in violations)
        controls.append(
            Figure(f"control: {name}", "noticed", "noticed" if noticed else "NOT", noticed)
        )
        good = good and noticed
    lines = [Line(proof.title, each, "; ".join(found[each.name])) for each in proved.figures]
    return [*lines, *(Line(proof.title, each, "") for each in controls)], proved.details, good


def write(lines: list[Line], seconds: float) -> str:
    """The table, in Markdown."""
    head = (
        f"`make prove`, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{seconds / 60:.0f} minutes\n\n"
        "| proof | figure | goal | reached | | broken on purpose |\n"
        "|---|---|---:|---:|---|---|\n"
    )
    rows, before = [], ""
    for proof, (name, goal, found, good), controls in lines:
        title = proof if proof != before else ""
        before = proof
        indent = "&nbsp;&nbsp;" if name.startswith(" ") else ""
        verdict = "ok" if good else "**MISSED**"
        rows.append(
            f"| {title} | {indent}{name.strip()} | {goal} | {found} | {verdict} | {controls} |"
        )
    return head + "\n".join(rows) + "\n"


def renewed(kept: str, text: str) -> str:
    """The table that is kept, with the rows of some proofs from a later run; it says so."""
    _, _, fresh = text.partition("|---|---|---:|---:|---|---|\n")
    head, line, old = kept.partition("|---|---|---:|---:|---|---|\n")
    blocks = {block.split(" | ")[0]: block for block in _blocks(old)}
    blocks |= {block.split(" | ")[0]: block for block in _blocks(fresh)}
    names = ", ".join(block.split(" | ")[0].removeprefix("| ") for block in _blocks(fresh))
    again = f"Run again since ({names})"
    note = text.partition("\n")[0].replace("`make prove`", again)
    before, table_head = head.rsplit("\n\n", 1)
    kept_notes = [each for each in before.split("\n\n") if not each.startswith(again)]
    return "\n\n".join([*kept_notes, note, table_head]) + f"{line}{''.join(blocks.values())}"


def _blocks(rows: str) -> list[str]:
    """The rows of each proof."""
    return [f"| {block}" for block in re.split(r"^\| (?=\d)", rows, flags=re.MULTILINE) if block]


def main() -> int:
    """Run what is asked for, or everything."""
    begun = time.monotonic()
    proofs = [named(each) for each in sys.argv[1:]] or PROOFS
    lines: list[Line] = []
    details: list[str] = []
    good = True
    for proof in proofs:
        print(f"--- {proof.title}", flush=True)
        some, told, right = table(proof)
        lines += some
        details += [f"{proof.title}: {each}" for each in told]
        good = good and right
        for line in some:
            print(f"{line.figure.name:<70} {line.figure.found:>14}  {line.controls}", flush=True)
    text = write(lines, time.monotonic() - begun)
    print("\n".join(("", *details, "", text)))
    if proofs is PROOFS:
        KEPT.write_text(HEAD + text, encoding="utf-8")
    else:
        KEPT.write_text(renewed(KEPT.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
