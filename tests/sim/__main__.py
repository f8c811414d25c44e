"""Live through one seed and tell what happened: `python -m tests.sim SEED`."""

from __future__ import annotations

import logging
import sys

from tests.sim import scenarios, world
from tests.sim.ledgers import CheckedJournal


def main() -> None:
    """Print the scenario, every record as it becomes durable, and how it ended."""
    logging.disable()
    seed = int(sys.argv[1])
    scenario = scenarios.draw(seed)
    for name in scenario.__slots__:
        value = getattr(scenario, name)
        print(f"{name}: {len(value) if name == 'recipients' else value}")
    CheckedJournal.told = print
    life = world.live(seed)
    print(life.report)
    print(life.audit)
    print(f"{life.processes} processes, {life.ended_s:.1f} virtual seconds, trace {life.trace}")


if __name__ == "__main__":
    main()
