"""Linear probes: what a straight line can read off the features of each level of a backbone.

A probe is a ridge-regularised linear classifier on frozen features. When it beats naming the most
frequent value (``majority``), the features hold the attribute in a form that a line can use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Labels
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.embedding import each_batch
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""What is tried for the ridge penalty, times the mean squared length of a training row."""


def level_maps(backbone: MultiLevelBackbone, images: Tensor) -> dict[str, Tensor]:
    """The feature maps (B, C, h, w) of every level of images (B, 3, H, W), low to high.

    Each level is a stage of the backbone, by its name. Of a ResNet ``layer3+low`` is ``concat(F3,
    MaxPool(F2))``: what F is made of, before L's 1x1 convolution. ``F`` is there in multi-level
    backbones, the stages after stride 16 (of X) where there is a class branch.
    """
    maps, x = {}, images
    for level in (*backbone.to_stride_8, *backbone.to_stride_16):
        maps[level] = x = backbone.run((level,), x)
    f2, f3 = maps[backbone.to_stride_8[-1]], x
    maps[f"{level}+low"] = torch.cat([f3, backbone.low_level_pool(f2)], dim=1)
    if backbone.low_level is not None:
        maps["F"], x = backbone.combine(f2, f3)
    if backbone.attribute_classifier is not None:
        for level in backbone.rest:
            maps[level] = x = backbone.run((level,), x)
    return maps


def pooled_features(
    backbone: MultiLevelBackbone, pixels: Pixels, images: np.ndarray, grid: int = 1
) -> dict[str, np.ndarray]:
    """The maps of images (n,), averaged over a grid x grid of cells: float32 (n, C, grid, grid).

    A grid of 1 is global average pooling; a map smaller than the grid stays as it is.
    """
    parts: dict[str, list[np.ndarray]] = {}

    def work(_: slice, batch: Tensor) -> None:
        for level, f in level_maps(backbone, batch).items():
            cells = min(grid, f.shape[2]), min(grid, f.shape[3])
            pooled = functional.adaptive_avg_pool2d(f, cells).float().cpu().contiguous()
            parts.setdefault(level, []).append(pooled.numpy())

    each_batch(backbone, len(images), lambda part: pixels.take(images[part]), work)
    return {level: np.concatenate(p) for level, p in parts.items()}


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
