"""Linear probes: what a straight line can read off the features of each level of a backbone.

A probe is a ridge-regularised linear classifier on frozen features. When it beats naming the most
frequent value (``majority``), the features hold the attribute in a form that a line can use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Labels

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""What is tried for the ridge penalty, times the mean squared length of a training row."""


def fit_probe(
    features: np.ndarray, target: np.ndarray, penalties: Sequence[float] = PENALTIES
) -> Pipeline:
    """A ridge classifier on standardised features, fitted: ``predict`` gives classes.

    Of the penalties the one with the smallest leave-one-out squared error is taken.

    Args:
        features: (n, d); ``target``: (n,) classes.
        penalties: tried in turn, each times d, the mean squared length of a standardised row.

    Raises:
        AgmanError: the target has one class alone.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(target)) < 2:
        raise AgmanError("a probe needs training labels of two classes or more")
    ridge = RidgeClassifierCV(alphas=[p * features.shape[1] for p in penalties])
    return make_pipeline(StandardScaler(), ridge).fit(features.astype(np.float64), target)


def probe_table(
    features: Mapping[str, np.ndarray],
    images: np.ndarray,
    train: Labels,
    test: Labels,
    names: Sequence[str],
    n_train: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracy (percent) of a probe for each attribute (rows) on each level (columns).

    Args:
        features: (n, ...) of each level, as `pooled_features` gives them.
        images: (n,) the image indices of their rows, ascending.
        train, test: labels to fit on, and to score on; ``names`` are their attributes'.
        n_train: labels to fit on at most (drawn with the seed), the same for every attribute.

    The first column, ``majority``, is the share of the most frequent test value.
    """
    rows = {}
    for a, name in enumerate(names):
        fit, score = train.where(train.attribute == a), test.where(test.attribute == a)
        fit = fit.where(np.random.default_rng([seed, a]).permutation(len(fit))[:n_train])
        row = {"majority": np.bincount(score.value).max() / len(score)}
        for level, f in features.items():
            flat = f.reshape(len(f), -1)
            probe = fit_probe(flat[np.searchsorted(images, fit.image)], fit.value)
            found = probe.predict(flat[np.searchsorted(images, score.image)])
            row[level] = (found == score.value).mean()
        rows[name] = row
    return 100 * pd.DataFrame.from_dict(rows, orient="index")
