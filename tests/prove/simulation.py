"""Proof 4: ten thousand lives of a mailing on virtual time, and one of a million over days."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.prove.figures import Figure, Proved, Size, at_least, at_most, exactly, told
from tests.sim import days, kept, world

SEEDS = {"short": 10, "full": 10_000}
"""Short: tests/sim lives a hundred."""
SEEDS_AT_ONCE = 50

MILLION = {"short": (2_000, 1_250), "full": (1_000_000, 300_000)}
"""Recipients, and the daily quota that stretches them over three days."""

RATE_PER_S = 200.0


class Lived(NamedTuple):
    """What some seeds came to."""

    seeds: int
    failed: list[tuple[int, str]]
    """Seed, and what was wrong."""
    processes: int
    mails: int
    doubts: int
    commits: int
    """Records that became durable; both ledgers were compared at each."""


def live(seeds: range) -> Lived:
    """Live through these seeds."""
    logging.disable()
    warnings.simplefilter("ignore")  # coroutines of killed processes
    sys.unraisablehook = lambda _: None  # as above
    failed, processes, mails, doubts, commits = [], 0, 0, 0, 0
    for seed in seeds:
        try:
            life = world.live(seed)
        except Exception as error:  # noqa: BLE001  # whatever a broken engine raises
            where = traceback.extract_tb(error.__traceback__)[-1]
            failed.append((seed, f"{type(error).__name__}: {error} ({where.name})"))
            continue
        processes += life.processes
        mails += sum(life.ledgers.deliveries.values())
        doubts += sum(life.ledgers.doubts.values())
        commits += len(life.records)
    return Lived(len(seeds), failed, processes, mails, doubts, commits)


def prove(size: Size) -> Proved:
    """All seeds of this size, the traces of one, and the long mailing."""
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        million = pool.submit(_stretched, *MILLION[size])
        lived = list(pool.map(live, _parts(SEEDS[size])))
        traces = set(pool.map(_trace, [4, 4]))
        stretched, seconds = million.result()
    failed = [each for part in lived for each in part.failed]
    for seed, why in failed:
        print(f"seed {seed} failed: {why}\n  python -m tests.sim {seed}", flush=True)
        if size == "full":
            kept.keep(seed, why)
    recipients, quota = MILLION[size]
    figures: list[Figure] = [
        at_least("seeds", SEEDS[size], sum(each.seeds for each in lived)),
        exactly("  seeds that broke a promise", 0, len(failed)),
        told(
            "  processes, mails, attempts in doubt, records compared",
            ", ".join(
                f"{sum(counts):,}"
                for counts in zip(
                    *[(p.processes, p.mails, p.doubts, p.commits) for p in lived], strict=True
                )
            ),
        ),
        exactly("traces of the same seed in two processes that differ", 0, len(traces) - 1),
        exactly(
            "a mailing that the daily quota stretches: recipients", recipients, stretched.accepted
        ),
        at_least("  whole days that it took", 1 if size == "short" else 3, int(stretched.days)),
        at_most("  accepted in any 24 hours", quota, stretched.accepted_in_a_day),
        told("  real seconds", f"{seconds:.0f}"),
    ]
    return Proved(figures, [f"seed {seed}: {why}" for seed, why in failed])


def _parts(seeds: int) -> Iterator[range]:
    for first in range(0, seeds, SEEDS_AT_ONCE):
        yield range(first, min(first + SEEDS_AT_ONCE, seeds))


def _stretched(recipients: int, daily_max: int) -> tuple[days.Stretched, float]:
    begun = time.monotonic()
    logging.disable()
    stretched = days.send(recipients=recipients, daily_max=daily_max, rate_per_s=RATE_PER_S)
    return stretched, time.monotonic() - begun


def _trace(seed: int) -> str:
    return world.live(seed).trace
