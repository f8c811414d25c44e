"""Recipients into batches: how many, how heavy, and how a refused batch is halved."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import islice

from mailsluice.model import BATCH_RECIPIENTS_MAX, Entry

BATCH_WEIGHT_MAX = 50
"""Addresses in one call. SES documents 50 destinations; whether it also means 50 addresses is not
established (the older API does), so a batch keeps within both readings."""

BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of entries in one call. SES publishes no limit for the request; one entry always goes."""


BATCH_S = 0.5
"""Seconds of the rate in a batch at most. SES: "The number of destinations you can contact in a
single call can be limited by your account's maximum sending rate". The unused part of the second
allows for calls that arrive irregularly."""

BATCH_FEW_CALLS_S = 0.9
"""The same if the number of calls is limited."""

USUAL_SHARE = 0.6
"""Part of the largest batch that is worth waiting for; the rest allows for late wake-ups."""


def size_for(rate_per_s: float, calls_per_s: float = 0) -> int:
    """Return the largest batch at that rate, one recipient at least. 0 `calls_per_s`: no limit."""
    wanted = rate_per_s * BATCH_S
    if calls_per_s:
        wanted = min(max(wanted, rate_per_s / calls_per_s), rate_per_s * BATCH_FEW_CALLS_S)
    return int(max(1, min(BATCH_RECIPIENTS_MAX, wanted)))


def usual(size_max: int) -> int:
    """Recipients in a batch as a rule, of `size_max` at most."""
    return math.ceil(size_max * USUAL_SHARE)


def take(queue: deque[Entry], size: int) -> list[Entry]:
    """Remove from the left of `queue` what makes one batch: at most `size` entries and addresses.

    Takes at least one entry, if there is one: a recipient with many addresses goes alone.
    """
    taken = list(islice(queue, size))
    if _fits(taken):
        for _ in taken:
            queue.popleft()
        return taken
    taken = []
    weight = total_bytes = 0
    while queue and len(taken) < size:
        entry = queue[0]
        weight += entry.weight
        total_bytes += len(entry.body)
        if taken and (weight > min(size, BATCH_WEIGHT_MAX) or total_bytes > BATCH_BYTES_MAX):
            break
        taken.append(queue.popleft())
    return taken


def _fits(entries: Sequence[Entry]) -> bool:
    """Return True if all entries fit one batch, as nearly all do: each has one address."""
    return (
        sum([entry.weight for entry in entries]) == len(entries) <= BATCH_WEIGHT_MAX
        and sum([len(entry.body) for entry in entries]) <= BATCH_BYTES_MAX
    )


def halves(entries: Sequence[Entry]) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Return the two halves of a batch of two or more."""
    middle = len(entries) // 2
    return tuple(entries[:middle]), tuple(entries[middle:])
