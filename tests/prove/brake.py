"""Proof 12: the brake holds what is bad, early, and what is good next to never.

At the limit itself the promise is a probability, so it is counted over many mailings. Those are
evaluated with all bounces heard of at once: by delay or loss the evidence can only become weaker
(tests/feedback/test_evidence.py holds it to that), and so can the chance of a false stop. All other
figures come from mailings on virtual time whose bounces come late (median 5 s, 95 % within 59 s).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random
from statistics import mean

from mailsluice.feedback import brake, fate
from mailsluice.feedback.evidence import Evidence
from mailsluice.feedback.ramp import BUCKET_SENDS, BUCKET_SHARE, Limits
from mailsluice.model import codes
from tests.feedback.mailings import Lived, World, live
from tests.prove.figures import Figure, Proved, Size, at_most, exactly, told

SENDS = {"short": 30_000, "full": 1_000_000}
AT_THE_LIMIT = {"short": 200, "full": 1_000}
"""Mailings, each of `SENDS`, whose rate is exactly the limit."""
FALSE_STOPS_MAX = {"short": 7, "full": 18}
"""1 % of them, and what chance adds with a probability of a few in a thousand."""
QUIET = {"short": (4, 20_000), "full": (60, 1_000_000)}
"""Mailings and sends of each, at half the limit, with bounces and deliveries that come late."""
BAD = {"short": 40, "full": 400}
RAMPED = {"short": (4, 200_000), "full": (40, 1_000_000)}
PAST = {"short": 50, "full": 1_000}

LIMITS = Limits()
RATES_PER_S = (500.0, 5_000.0)
GOALS = {0.10: 900, 0.20: 150, 0.40: 105}
BAD_END_GOALS = {(0.40, 500.0): 4_000, (0.20, 5_000.0): 25_000}
"""At 5,000/s the median bounce is heard of 25,000 sends later."""
RAMP_S_MAX = 60
BLIND_S_MAX = 130


# --- one mailing ---------------------------------------------------------------------------------


def at_once(rate: float, sends: int, seed: int) -> bool:
    """Whether a mailing of that rate gives an alarm, its bounces heard of at once."""
    random = Random(seed)
    evidence = Evidence(LIMITS.bounces, LIMITS.false_alarm, LIMITS.bounces_least)
    sent = bucket = 0
    next_bounce = _gap(random, rate)
    while sent < sends:
        size = max(BUCKET_SENDS, sent // BUCKET_SHARE // BUCKET_SENDS * BUCKET_SENDS)
        evidence.send(bucket, size)
        sent += size
        while next_bounce < sent:
            evidence.hear(bucket)
            next_bounce += 1 + _gap(random, rate)
        bucket += 1
    return evidence.alarm() is not None


def _gap(random: Random, rate: float) -> int:
    """Sends without a bounce before the next one."""
    return int(math.log(1 - random.random()) / math.log(1 - rate))


def bounced(share: float, rate_per_s: float, seed: int) -> Lived:
    """A list of which that share bounces."""
    world = World(rows=100_000, rate_per_s=rate_per_s, bounces=lambda _: share)
    return live(world, LIMITS, seed)


def quiet(sends: int, seed: int) -> Lived:
    """A list at half the limit; deliveries are heard of, later than bounces."""
    world = World(
        rows=sends,
        rate_per_s=500.0,
        bounces=lambda _: LIMITS.bounces / 2,
        deliveries_heard=True,
    )
    return live(world, LIMITS, seed)


def ramped(sends: int, seed: int) -> float:
    """Seconds that the ramp costs a list of 2 % at 500/s."""
    world = World(rows=sends, rate_per_s=500.0, bounces=lambda _: 0.02)
    lived = live(world, LIMITS, seed)
    return lived.sent_s - (sends - 1) / world.rate_per_s if not lived.code else math.inf


def broken(heard: bool, rate_per_s: float, seed: int) -> Lived:  # noqa: FBT001  # of a pool's map
    """A template that cannot be rendered for anybody, or (not heard) a list without any events."""
    world = World(rows=20_000, rate_per_s=rate_per_s, rendered=not heard, sends_heard=heard)
    return live(world, LIMITS, seed)


def ended_badly(share: float, rate_per_s: float, seed: int) -> int:
    """A list of 1 % whose last part bounces more: sends into that part before it is held."""
    good = 60_000
    world = World(
        rows=good + 100_000,
        rate_per_s=rate_per_s,
        bounces=lambda row: share if row > good else 0.01,
    )
    return live(world, LIMITS, seed).sent - good


def past(rate: float, seed: int) -> bool:
    """Whether the complaints of the last 10,000 mails hold the next mailing."""
    random = Random(seed)
    bits = [fate.COMPLAINED if random.random() < rate else fate.DELIVERED for _ in range(10_000)]
    stop = brake.carried(LIMITS, bits)
    return stop is not None and stop.code == codes.COMPLAINTS_TOO_MANY


# --- the figures ---------------------------------------------------------------------------------


def prove(size: Size) -> Proved:
    """Every figure of the brake."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        figures = [
            *_false_stops(size, pool),
            *_sends_until_stop(size, pool),
            *_templates_and_blindness(size, pool),
            *_ramp(size, pool),
            *_carried(size, pool),
        ]
    return Proved(figures)


def _false_stops(size: Size, pool: ProcessPoolExecutor) -> list[Figure]:
    seeds = range(AT_THE_LIMIT[size])
    at, half = (
        sum(pool.map(partial(at_once, rate, SENDS[size]), seeds, chunksize=10))
        for rate in (LIMITS.bounces, LIMITS.bounces / 2)
    )
    mailings, sends = QUIET[size]
    late = [each.code for each in pool.map(partial(quiet, sends), range(mailings))]
    return [
        told("mailings, sends of each", f"{len(seeds):,}, {SENDS[size]:,}"),
        at_most("  stopped by mistake at exactly the limit", FALSE_STOPS_MAX[size], at),
        exactly("  stopped at half the limit", 0, half),
        told("mailings, sends of each, bounces and deliveries late", f"{mailings}, {sends:,}"),
        exactly("  stopped by mistake at half the limit", 0, mailings - late.count("")),
    ]


def _sends_until_stop(size: Size, pool: ProcessPoolExecutor) -> list[Figure]:
    figures = []
    for rate_per_s in RATES_PER_S:
        for share, goal in GOALS.items():
            lives = list(pool.map(partial(bounced, share, rate_per_s), range(BAD[size])))
            of = f"{share:.0%} bounce, {rate_per_s:,.0f}/s"
            found = math.ceil(mean(each.sent for each in lives))
            missed = _others(lives, codes.BOUNCES_TOO_MANY)
            figures += [
                at_most(f"sends until stop, {of}, mean", goal, found),
                exactly(f"  never stopped, {of}", 0, missed),
            ]
    for (share, rate_per_s), goal in BAD_END_GOALS.items():
        into = list(pool.map(partial(ended_badly, share, rate_per_s), range(BAD[size] // 10)))
        name = f"sends into a bad end of a good list, {share:.0%} bounce, {rate_per_s:,.0f}/s, mean"
        figures.append(at_most(name, goal, math.ceil(mean(into))))
    return figures


def _templates_and_blindness(size: Size, pool: ProcessPoolExecutor) -> list[Figure]:
    seeds = range(max(4, BAD[size] // 4))
    figures = []
    for rate_per_s in RATES_PER_S:
        at = f"{rate_per_s:,.0f}/s"
        fails = list(pool.map(partial(broken, True, rate_per_s), seeds))  # noqa: FBT003
        blind = list(pool.map(partial(broken, False, rate_per_s), seeds))  # noqa: FBT003
        figures += [
            at_most(
                f"sends until stop, template broken for everybody, {at}, most",
                105,
                max(each.sent for each in fails),
            ),
            exactly(f"  never stopped, {at}", 0, _others(fails, codes.RENDERING_FAILS)),
            at_most(
                f"no event stream, {at}: seconds until the hold, most",
                BLIND_S_MAX,
                math.ceil(max(each.stopped_s for each in blind)),
            ),
            at_most(f"  sends until then, {at}, most", 100, max(each.sent for each in blind)),
            exactly(f"  never held, {at}", 0, _others(blind, codes.FEEDBACK_BLIND)),
        ]
    return figures


def _others(lives: Sequence[Lived], code: str) -> int:
    return sum(each.code != code for each in lives)


def _ramp(size: Size, pool: ProcessPoolExecutor) -> list[Figure]:
    mailings, sends = RAMPED[size]
    costs = list(pool.map(partial(ramped, sends), range(mailings)))
    worst = max(costs)
    name = "seconds that the ramp costs a list at 500/s of which 2 % bounce, mean"
    found = mean(costs)
    return [
        Figure(name, f"≤ {RAMP_S_MAX}", f"{found:.0f}", found <= RAMP_S_MAX),
        told("  most; mailings, sends of each", f"{worst:.0f}; {mailings}, {sends:,}"),
    ]


def _carried(size: Size, pool: ProcessPoolExecutor) -> list[Figure]:
    seeds = range(PAST[size])
    bad, good = (
        sum(pool.map(partial(past, rate), seeds, chunksize=10)) for rate in (0.005, 0.0005)
    )
    return [
        exactly("held at the start, the last 10,000 had 0.5 % complaints", len(seeds), bad),
        exactly("  had 0.05 %, half the limit", 0, good),
    ]
