"""Baselines that train no network: what the frozen trunk knows before anyone has trained it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from agman_lib.base.devices import make_accelerator
from agman_lib.data.dataset import Labels, PreparedDataset
from agman_lib.data.pixels import Pixels, cached_array
from agman_lib.evaluation.levels import pooled_features
from agman_lib.evaluation.protocol import pairs_to_embed, per_query_scores
from agman_lib.networks.build import build_model
from agman_lib.networks.model import Parts
from agman_lib.training.config import TrainConfig

UNTRAINED = {
    "pooled": "the frozen trunk's levels, averaged over the photo; nothing is trained",
    "logistic": "a logistic regression of each attribute on these levels",
}
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""What is tried for the logistic regression's C; validation chooses."""


def untrained_scores(
    how: str, config: TrainConfig, dataset: PreparedDataset, split: str
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Score a baseline of `UNTRAINED` on a split.

    The photo is described by three levels of the trunk (stride 8, stride 16 and the last), each
    averaged over the photo and standardised by the training images. "pooled" compares these
    descriptions by cosine, whatever the attribute. "logistic" fits a logistic regression of each
    attribute on the training labels, and takes the probabilities of its values as the embedding;
    the strength of the penalty, one for all attributes, is chosen on the split valid.

    Args:
        how: "pooled" or "logistic".
        config: backbone, weights, image size and fit are taken from it.

    Returns:
        Attribute (Q,) and score (Q,), as `per_query_scores` gives them, and what a run's report
        says of its cost: ``parameters``, ``images_seen``, ``seconds``, ``strength``.
    """
    began = time.perf_counter()
    train = dataset.split_labels("train")
    features = _features(config, dataset)
    x = features[np.unique(train.image)]
    features = (features - x.mean(0)) / (x.std(0) + 1e-6)
    report: dict[str, Any] = {"parameters": 0, "images_seen": 0, "strength": None}
    if how == "pooled":
        attribute, values = per_query_scores(
            dataset, split, _unit(features[pairs_to_embed(dataset, split)[0]])
        )
    else:
        images = np.unique(
            np.concatenate([pairs_to_embed(dataset, s)[0] for s in ("valid", split)])
        )
        tried = {}
        for strength in STRENGTHS:
            p = _probabilities(features, train, dataset, images, strength)
            valid = per_query_scores(dataset, "valid", _rows(p, images, dataset, "valid"))[1].mean()
            tried[strength] = (valid, p)
        best = max(tried, key=lambda strength: tried[strength][0])
        p = tried[best][1]
        attribute, values = per_query_scores(dataset, split, _rows(p, images, dataset, split))
        n_values = sum(len(a.values) for a in dataset.attributes)
        report |= {"parameters": n_values * (features.shape[1] + 1), "strength": best}
        report["images_seen"] = len(np.unique(train.image))
    return attribute, values, report | {"seconds": round(time.perf_counter() - began, 1)}


def _features(config: TrainConfig, dataset: PreparedDataset) -> np.ndarray:
    """The three levels of every photo, pooled, float32 (N, C2 + C3 + C4); kept in the cache."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        parts, weights = Parts(multi_level=False), config.weights
        backbone = build_model("agman", 1, config.backbone, weights, parts).backbone
    pixels = Pixels(dataset, config.image_size, config.fit, config.cache)
    levels = backbone.to_stride_8[-1], backbone.to_stride_16[-1], backbone.rest[-1]
    images = np.arange(len(dataset.images))

    def pooled(part: slice) -> np.ndarray:
        found = pooled_features(backbone, pixels, images[part])
        return np.concatenate([found[level][:, :, 0, 0] for level in levels], axis=1)

    every = (*backbone.to_stride_8, *backbone.to_stride_16, *backbone.rest)
    what = f"pooled-{backbone.digest(every)}-{config.image_size}-{config.fit}"
    backbone.to(make_accelerator(config.device).device)
    shape = (len(images), pooled(slice(1)).shape[1])
    file = cached_array(dataset, what, shape, np.float32, pooled, "levels, pooled")
    return np.load(file)


def _probabilities(
    features: np.ndarray, train: Labels, dataset: PreparedDataset, images: np.ndarray, c: float
) -> np.ndarray:
    """Of every value of every attribute (len(images), A, V); 0 for the values of others."""
    from sklearn.linear_model import LogisticRegression

    n_values = [len(a.values) for a in dataset.attributes]
    out = np.zeros((len(images), len(n_values), sum(n_values)), np.float32)
    for a, first in enumerate(np.cumsum(n_values) - n_values):
        of = train.where(train.attribute == a)
        known = np.unique(of.value)
        if len(known) == 1:
            out[:, a, first + known] = 1
            continue
        model = LogisticRegression(C=c, max_iter=300).fit(features[of.image], of.value)
        out[:, a, first + model.classes_] = model.predict_proba(features[images])
    return out


def _rows(p: np.ndarray, images: np.ndarray, dataset: PreparedDataset, split: str) -> np.ndarray:
    """Unit rows of the pairs that score a split."""
    image, attribute = pairs_to_embed(dataset, split)
    return _unit(p[np.searchsorted(images, image), attribute])


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
