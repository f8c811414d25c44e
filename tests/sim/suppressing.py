"""Lives in which other processes suppress addresses at any moment: no later intent names them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mailsluice.engine.screening import Screening
from mailsluice.journal import Intent
from mailsluice.suppression.scopes import ALL, Reason, Suppression
from mailsluice.suppression.store import Suppressions
from tests.sim import scenarios, world
from tests.sim.ses import EPOCH_S
from tests.sim.virtual import VirtualLoop

WITHIN_S = 60.0
"""Addresses are suppressed in this part of a life, most of them in its first seconds."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What one seed came to."""

    suppressed: int
    """Addresses that were suppressed while the mailing was sent."""
    kept_back: int
    """Recipients that were not mailed for that."""
    violations: tuple[str, ...]
    """Intents that name an address which had been suppressed by then."""


class _Elsewhere:
    """A store on disk: another process adds to it, each process of the engine opens it anew."""

    def __init__(self, folder: Path, scenario: scenarios.Scenario, stack: ExitStack) -> None:
        self.since: dict[str, float] = {}
        """By address: when adding it had returned, on the wall clock."""
        self._path = folder / "suppressions.db"
        self._stack = stack
        self._random = Random(scenario.seed + 2)
        first = [str(each.to[0]) for each in scenario.recipients]
        self._addresses = [address for address in first if "@" in address]
        self._store = stack.enter_context(closing(Suppressions.open(self._path)))

    def begin(self, loop: VirtualLoop) -> None:
        random = self._random
        for _ in range(min(len(self._addresses), random.choice([1, 5, 40]))):
            at = random.choice([0.0, random.uniform(0, 3), random.uniform(0, WITHIN_S)])
            loop.call_at(at, self._add, random.choice(self._addresses).lower(), loop)

    def _add(self, address: str, loop: VirtualLoop) -> None:
        at = EPOCH_S + loop.time()
        self._store.add([Suppression(address, Reason.MANUAL, ALL, at)])
        self.since.setdefault(address, at)

    def screening(self, wall: Callable[[], float]) -> Screening:
        opened = self._stack.enter_context(closing(Suppressions.open(self._path)))
        return Screening(opened, wall, blocks=False)


def live(seed: int) -> Proof:
    """One life; what must hold of every life is checked as well. AssertionError: it does not."""
    scenario = scenarios.draw(seed)
    with tempfile.TemporaryDirectory(prefix="mailsluice-sim-") as folder, ExitStack() as stack:
        elsewhere = _Elsewhere(Path(folder), scenario, stack)
        life = world.run(scenario, elsewhere)
    world.check(life)
    violations = tuple(_violations(life, elsewhere.since))
    return Proof(len(elsewhere.since), life.report.counts.suppressed, violations)


def _violations(life: world.Life, since: dict[str, float]) -> list[str]:
    found: list[str] = []
    for record in life.records:
        if not isinstance(record, Intent):
            continue
        for place, seq in enumerate(record.seqs):
            to = record.addresses.at(place)
            known = [at for text in (*to.to, *to.cc, *to.bcc) if (at := since.get(text.lower()))]
            if known and record.at > min(known):
                late_s = record.at - min(known)
                found.append(f"row {seq}: in an intent {late_s:.6f} s after it was suppressed")
    return found
