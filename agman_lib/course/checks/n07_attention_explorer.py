"""Notebook 07: Grad-CAM of a similarity in two steps, the pointing game, and IoU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agman_lib.course.answers import compared
from agman_lib.explain.localisation_scores import THRESHOLD, localisation


def channel_weights(gradient: Tensor) -> Tensor:
    """One weight a channel, (C,), from the gradient of the score by F, (C, h, w)."""
    return gradient.mean((1, 2))


def activation_map(F: Tensor, weights: Tensor) -> Tensor:
    """The map (h, w) of F (C, h, w) and a weight for each channel (C,)."""
    return torch.relu(torch.einsum("c,chw->hw", weights, F))


def points_inside(heat: np.ndarray, region: np.ndarray) -> bool:
    """Whether the largest value of a map (H, W) lies in the region (H, W)."""
    return bool(localisation(heat, region)["pointing"])


def iou(heat: np.ndarray, region: np.ndarray, threshold: float) -> float:
    """Intersection over union of a region and of where a map has a share of its largest value."""
    marked = heat >= threshold * heat.max()
    if threshold == THRESHOLD:
        return float(localisation(heat, region)["IoU"])
    return float((marked & region).sum() / (marked | region).sum())


def _gradients(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    sizes = ((4, 3, 3), (8, 6, 6), (5, 4, 7))
    return [(torch.tensor(rng.normal(size=size), dtype=torch.float32),) for size in sizes]


def _features(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Features that are not negative, as after a ReLU, and weights of both signs."""
    cases = []
    for c, h, w in ((4, 3, 3), (16, 6, 6), (7, 4, 5)):
        F = torch.tensor(rng.random((c, h, w)), dtype=torch.float32)
        cases.append((F, torch.tensor(rng.normal(size=c), dtype=torch.float32)))
    return cases


def _maps(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """A peak inside the region or outside, and the least value on the other side.

    In some the peak is outside, but most of the map is inside, and a value nearly as large; in
    others the peak is inside, and most of the map outside.
    """
    cases = []
    for n in range(8):
        region = np.zeros((12, 16), bool)
        y, x = rng.integers(0, 8), rng.integers(0, 10)
        region[y : y + 4, x : x + 6] = True
        inside, outside = ((1, 0.05), (0.05, 1), (1, 1), (1, 0.5))[n % 4]
        heat = rng.random((12, 16)) * np.where(region, inside, outside)
        here = region if n % 2 else ~region
        _put(0.0, heat, ~here, rng)
        _put(2.0, heat, here, rng)
        if n % 4 == 0:
            _put(1.9, heat, region, rng)
        cases.append((heat, region))
    return cases


def _put(value: float, heat: np.ndarray, where: np.ndarray, rng: np.random.Generator) -> None:
    """Write a value into a map (H, W) at one of the places that where (H, W) marks."""
    heat[tuple(rng.choice(np.argwhere(where)))] = value


def _with_thresholds(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Maps that are exactly at the threshold somewhere in the region; one is nowhere near 0."""
    cases = []
    thresholds = (0.5, 0.5, 0.3, 0.8, 0.1, 0.5)
    for n, ((heat, region), t) in enumerate(zip(_maps(rng)[:6], thresholds, strict=True)):
        if n == 1:
            heat = 0.8 + 0.6 * heat
        _put(t * heat.max(), heat, region & (heat < heat.max()), rng)
        cases.append((heat, region, t))
    return cases


def _marked(heat: np.ndarray, t: float) -> np.ndarray:
    return heat >= t * heat.max()


CHECKS = {
    "Grad-CAM's weights": compared(
        channel_weights,
        _gradients,
        {
            "this is a sum over the positions, and a mean is asked for": (
                lambda gradient: gradient.sum((1, 2))
            ),
            "one weight for each channel: the mean goes over the positions": (
                lambda gradient: gradient.mean(0)
            ),
            "a channel may push the score down: its weight is negative then": (
                lambda gradient: gradient.abs().mean((1, 2))
            ),
            "the mean goes over all positions, also those that push down": (
                lambda gradient: torch.relu(gradient).mean((1, 2))
            ),
            "this is one position; the mean goes over all": lambda gradient: gradient[:, 0, 0],
        },
    ),
    "Grad-CAM's map": compared(
        activation_map,
        _features,
        {
            "what pushes the score down should be 0": (
                lambda F, w: torch.einsum("c,chw->hw", w, F)
            ),
            "this drops channels with a negative weight; the sum should have them": (
                lambda F, w: torch.einsum("c,chw->hw", torch.relu(w), F)
            ),
            "this is one map for each channel; their sum is asked for": (
                lambda F, w: torch.relu(w[:, None, None] * F)
            ),
            "this is a mean over the channels, and a sum is asked for": (
                lambda F, w: torch.relu((w[:, None, None] * F).mean(0))
            ),
            "this shows what pushes the score down, too": (
                lambda F, w: torch.einsum("c,chw->hw", w, F).abs()
            ),
        },
    ),
    "pointing game": compared(
        points_inside,
        _maps,
        {
            "this asks whether the region has more than half of the map": (
                lambda heat, region: bool(heat[region].sum() > heat.sum() / 2)
            ),
            "this asks whether the mean is larger inside": (
                lambda heat, region: bool(heat[region].mean() > heat[~region].mean())
            ),
            "this asks for the least value": (
                lambda heat, region: bool(region.ravel()[heat.argmin()])
            ),
            "it says True for every map": lambda heat, region: True,
            "a value that is nearly the largest is not the largest": (
                lambda heat, region: bool(heat[region].max() >= 0.9 * heat.max())
            ),
        },
    ),
    "IoU": compared(
        iou,
        _with_thresholds,
        {
            "this is the share of what is marked that is in the region": lambda heat, region, t: (
                (_marked(heat, t) & region).sum() / _marked(heat, t).sum()
            ),
            "this is the share of the region that is marked": lambda heat, region, t: (
                (_marked(heat, t) & region).sum() / region.sum()
            ),
            "the union counts what is in both only once": lambda heat, region, t: (
                (_marked(heat, t) & region).sum() / (_marked(heat, t).sum() + region.sum())
            ),
            "the threshold is a share of the largest value": lambda heat, region, t: (
                ((heat >= t) & region).sum() / ((heat >= t) | region).sum()
            ),
            "a place with exactly this share of the largest value is marked, too": (
                lambda heat, region, t: iou(heat, region, t * (1 + 1e-9))
            ),
            "the threshold is a share of the largest value, whatever the least one is": (
                lambda heat, region, t: iou(heat - heat.min(), region, t)
            ),
            "the places of a region count, not the values of the map": lambda heat, region, t: (
                (_marked(heat, t) * heat)[region].sum() / ((_marked(heat, t) | region) * heat).sum()
            ),
        },
    ),
}
