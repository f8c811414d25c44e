"""A picture of `quota.py`'s cases: rate against quota over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from benchmarks.quota_cases import Case, Measured, Sample

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "mailsluice"  # the same figures give the same file

from matplotlib import pyplot as plt  # noqa: E402  # after the backend has been chosen
from matplotlib.axes import Axes  # noqa: E402

COLUMNS = 3
BIN_S = 1.0
BINS_MAX = 240
"""A case that lasts longer is drawn more coarsely."""


def draw(came: Sequence[Measured], path: Path) -> None:
    """One small picture a case, all in one file."""
    rows = -(-len(came) // COLUMNS)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(4.4 * COLUMNS, 2.9 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(came) :]:
        axis.axis("off")
    for axis, measured in zip(axes.flat, came, strict=False):
        _draw(axis, measured)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, metadata={"Date": None})


def _draw(axis: Axes, measured: Measured) -> None:
    case = measured.case
    width = max(BIN_S, case.seconds / BINS_MAX)
    if case.rate_at(0) * width < 1.5:
        width = 5 * width  # at 1/s a second has one recipient or none
    times, allowed = _allowed(case)
    axis.plot(times, allowed, color="0.35", linestyle="--", label="what SES allows")
    _steps(axis, measured.others, case, width, color="tab:orange", label="another tenant")
    _steps(axis, measured.accepted, case, width, color="tab:blue", label="mailsluice, accepted")
    _steps(axis, measured.throttled, case, width, color="tab:red", label="mailsluice, throttled")
    axis.set_title(case.title, fontsize=9)
    axis.set_xlabel("seconds", fontsize=8)
    axis.set_ylabel("recipients/s", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.set_ylim(bottom=0)


def _allowed(case: Case) -> tuple[list[float], list[float]]:
    edges = sorted({0.0, case.seconds, *(at for at, _ in case.changes)})
    times = [at for edge in edges[1:-1] for at in (edge, edge)]
    rates = [rate for edge in edges[:-1] for rate in [case.rate_at(edge)] * 2]
    return [edges[0], *times, edges[-1]], rates


def _steps(  # noqa: PLR0913, PLR0917  # what a line looks like
    axis: Axes, samples: Sequence[Sample], case: Case, width: float, color: str, label: str
) -> None:
    counts = [0.0] * int(case.seconds / width)
    for sample in samples:
        place = int(sample.at / width)
        if place < len(counts):
            counts[place] += sample.recipients / width
    middles = [(place + 0.5) * width for place in range(len(counts))]
    axis.plot(middles, counts, color=color, linewidth=1.2, label=label)
