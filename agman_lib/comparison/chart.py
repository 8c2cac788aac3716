"""A comparison as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure


def comparison_chart(
    table: pd.DataFrame,
    of_seeds: Mapping[str, Sequence[float]],
    random: float,
    metric: str = "MAP",
) -> Figure:
    """A line for each network: every seed, their mean, and its 95 % interval over queries.

    Args:
        table: `result.Comparison.table`.
        of_seeds: the score of each seed of each network, percent.
        random: the random row, percent.
    """
    figure = Figure(figsize=(7.5, 0.5 * len(table) + 1.2), layout="constrained")
    axes = figure.subplots()
    for y, (name, row) in enumerate(table.iterrows()):
        axes.plot([row["low"], row["high"]], [y, y], color="C0", lw=2, alpha=0.5)
        seeds = of_seeds[str(name)]
        axes.plot(seeds, np.full(len(seeds), y), "o", color="C0", ms=4, mfc="white")
        axes.plot(row["MAP"], y, "D", color="C0", ms=7)
    axes.axvline(random, color="grey", linestyle="--", label="random ranking")
    axes.plot([], [], "D", color="C0", label="mean over seeds, 95 % interval over queries")
    axes.plot([], [], "o", color="C0", mfc="white", label="a seed")
    axes.set(yticks=range(len(table)), yticklabels=table.index, xlabel=f"{metric} (%)")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure
