"""A comparison as a chart: every training, and what more trainings could change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agman_lib.evaluation.statistics import seed_interval

AGMAN, OTHERS = "#d1495b", "#30638e"


def comparison_chart(
    of_seeds: Mapping[str, Sequence[float]],
    random: float,
    baseline: str,
    metric: str = "MAP",
    highlight: Sequence[str] = ("agman", "AG-MAN"),
) -> Figure:
    """Two panels with a line for each entry: its scores, and its differences to the baseline.

    Dots are single trainings, a diamond is their mean, and the bar is the 95 % t interval of that
    mean over seeds: what retraining could change. Differences are paired by seed.

    Args:
        of_seeds: the score of each seed of each entry, percent.
        random: the random row, percent.
        baseline: the entry that the others are compared with.
        highlight: entries in a colour of their own.
    """
    figure = Figure(figsize=(9.5, 0.42 * len(of_seeds) + 1.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    reference = np.asarray(of_seeds[baseline])
    for y, (name, seeds) in enumerate(of_seeds.items()):
        colour = AGMAN if name in highlight else OTHERS
        _line(left, y, np.asarray(seeds), colour)
        if name != baseline:
            _line(right, y, np.asarray(seeds) - reference, colour)
    left.axvline(random, color="grey", linestyle="--", lw=1)
    left.annotate(
        "random", (random, 1), (2, 2), xycoords=("data", "axes fraction"),
        textcoords="offset points", color="grey", fontsize=8,
    )  # fmt: skip
    right.axvline(0, color="grey", lw=1)
    left.set(yticks=range(len(of_seeds)), yticklabels=list(of_seeds), xlabel=f"{metric} (%)")
    right.set(xlabel=f"difference to {baseline}, by seed")
    left.invert_yaxis()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#eeeeee")
        axes.set_axisbelow(True)
    left.plot([], [], "D", color=OTHERS, label="mean, 95 % interval over seeds")
    left.plot([], [], "o", color=OTHERS, mfc="white", label="one training")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def _line(axes: Axes, y: int, seeds: np.ndarray, colour: str) -> None:
    mean, half = float(seeds.mean()), seed_interval(seeds)
    if half > 0:
        axes.plot([mean - half, mean + half], [y, y], color=colour, lw=2, alpha=0.45)
        axes.plot(seeds, np.full(len(seeds), y), "o", color=colour, ms=4, mfc="white")
    axes.plot(mean, y, "D", color=colour, ms=6)
