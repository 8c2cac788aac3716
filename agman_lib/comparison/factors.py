"""The effects of a factorial experiment: what each factor does, and what they do together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.evaluation.statistics import seed_interval


def factor_effects(
    of_seeds: Mapping[str, Sequence[float]], levels: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """Main effects and interactions of factors with two levels each, seed by seed.

    The effect of a factor is the mean score of the cells at its second level minus the mean of
    those at its first. The interaction of two factors is half of what the effect of one grows by
    when the other goes to its second level; of three, accordingly. Levels are first and second in
    the order in which the cells name them. With all cells run with the same seeds, each seed gives
    every effect once, so that what a seed does to all cells alike is not counted.

    Args:
        of_seeds: the score of each seed (S,) of each cell, percent.
        levels: each cell's level of each factor.

    Returns:
        One row an effect (``start``, ``start x branch``, …): ``effect`` (mean over seeds), ``±``
        (half of its 95 % t interval over seeds), ``of seeds`` (S,).

    Raises:
        AgmanError: a factor has not two levels, or the cells are not all combinations, each once.
    """
    names = list(next(iter(levels.values())))
    of_factor = {f: list(dict.fromkeys(cell[f] for cell in levels.values())) for f in names}
    for factor, known in of_factor.items():
        if len(known) != 2:
            raise AgmanError(f"factor {factor!r} has {len(known)} levels, and needs two: {known}")
    there = sorted(tuple(cell[f] for f in names) for cell in levels.values())
    if there != sorted(itertools.product(*of_factor.values())):
        raise AgmanError(
            f"{len(there)} cells are not a factorial design of {', '.join(names)}: each "
            "combination of their levels is needed exactly once"
        )
    scores = np.array([of_seeds[cell] for cell in levels])  # (cells, S)
    signs = {
        f: np.array([1 if cell[f] == known[1] else -1 for cell in levels.values()])
        for f, known in of_factor.items()
    }
    rows = {}
    for size in range(1, len(names) + 1):
        for together in itertools.combinations(names, size):
            contrast = np.prod([signs[f] for f in together], axis=0) / (len(scores) / 2)
            each = contrast @ scores
            rows[" x ".join(together)] = {
                "effect": each.mean(),
                "±": seed_interval(each),
                "of seeds": each.tolist(),
            }
    return pd.DataFrame.from_dict(rows, orient="index")
