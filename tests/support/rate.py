"""Check a series of sends against a rate."""

from __future__ import annotations


def excess(sent: list[tuple[float, int]], rate: float, batch: int) -> float:
    """Most of any window over what rate and one batch allow; `sent` is in order."""
    most = level = 0.0
    before = sent[0][0]
    for moment, weight in sent:
        level = max(0.0, level - (moment - before) * rate) + weight
        most, before = max(most, level), moment
    return most - batch
