"""Notebook 02: positions and receptive fields, a nearest-mean probe, L, and X and F."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agman_lib.course.answers import compared

Layers = list[tuple[int, int]]
RESNET18: Layers = [(7, 2), (3, 2), *[(3, 1)] * 4, (3, 2), *[(3, 1)] * 3, (3, 2), *[(3, 1)] * 3]


def positions(size: int, layers: Layers) -> int:
    """The positions that layers (kernel, stride), padded by kernel // 2, leave of `size` pixels."""
    for kernel, stride in layers:
        size = (size + 2 * (kernel // 2) - kernel) // stride + 1
    return size


def receptive_field(layers: Layers) -> tuple[int, int]:
    """The receptive field and the stride, in pixels, after layers (kernel, stride)."""
    field, jump = 1, 1
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    return field, jump


def nearest_mean(train: np.ndarray, values: np.ndarray, test: np.ndarray) -> np.ndarray:
    """For test (M, D), the value (M,) whose mean of train (N, D) is nearest; values (N,)."""
    known = np.unique(values)
    means = np.stack([train[values == v].mean(0) for v in known])
    distance = ((test[:, None] - means) ** 2).sum(2)
    return known[distance.argmin(1)]


def low_level(F2: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """L: F2 (B, C2, H, W) pooled to half, then a linear layer (C3, C2), (C3,) at each position."""
    pooled = functional.max_pool2d(F2, 3, stride=2, padding=1)
    return torch.einsum("oc,bchw->bohw", weight, pooled) + bias[:, None, None]


def multi_level(F3: Tensor, L: Tensor) -> tuple[Tensor, Tensor]:
    """X and F of F3 and L, both (B, C3, h, w)."""
    X = F3 + L
    return X, torch.cat([F3, X], dim=1)


def _stacks(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Parts of a ResNet-18, and stacks of other kernels and strides."""
    cases: list[tuple[Any, ...]] = [(RESNET18[:2],), (RESNET18[:6],), (RESNET18,)]
    for _ in range(3):
        kernels, strides = rng.choice([1, 3, 5, 7], 5), rng.choice([1, 2], 5)
        cases.append(([(int(k), int(s)) for k, s in zip(kernels, strides, strict=True)],))
    return cases


def _sizes(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [(size, *of) for size, of in zip((96, 224, 97, 50, 101, 63), _stacks(rng), strict=True)]


def _clusters(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Overlapping clusters of unequal sizes, whose values are not 0, 1, 2."""
    cases = []
    for n in (60, 90):
        values = rng.choice([2, 5, 7, 9], n, p=[0.6, 0.2, 0.1, 0.1])
        values[:4] = 2, 5, 7, 9
        means = rng.normal(size=(10, 6))
        train = means[values] + rng.normal(size=(n, 6)) * (1 + values[:, None] / 5)
        cases.append((train, values, rng.normal(size=(40, 6)) * 1.5))
    return cases


def _levels(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Maps that are not square, and weights of both signs."""
    cases = []
    for c2, c3, h, w in ((3, 5, 8, 8), (4, 6, 6, 12)):
        shapes = ((2, c2, h, w), (c3, c2), (c3,))
        cases.append(tuple(torch.tensor(rng.normal(size=s), dtype=torch.float32) for s in shapes))
    return cases


def _sums(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    cases = []
    for shape in ((2, 3, 4, 4), (1, 5, 3, 6)):
        F3, L = (torch.tensor(rng.normal(size=shape), dtype=torch.float32) for _ in range(2))
        cases.append((F3.relu(), L))
    return cases


def _field(layers: Layers, slip: str) -> tuple[int, int]:
    field, jump = 1, 1
    for kernel, stride in layers:
        if slip == "late":
            jump *= stride
        field += (kernel if slip == "kernel" else kernel - 1) * (1 if slip == "jump" else jump)
        if slip != "late":
            jump *= stride
    return field, jump


def _positions(size: int, layers: Layers, slip: str) -> int:
    for kernel, stride in layers:
        pad = {"none": 0, "once": kernel // 2}.get(slip, 2 * (kernel // 2))
        if slip == "stride":
            size //= stride
        elif slip == "one":
            size = (size + pad - kernel) // stride
        else:
            size = max(size + pad - kernel, 0) // stride + 1
    return size


def _nearest_image(train: np.ndarray, values: np.ndarray, test: np.ndarray) -> np.ndarray:
    return values[((test[:, None] - train) ** 2).sum(2).argmin(1)]


def _pooled(pool: Any) -> Any:
    def answer(F2: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.einsum("oc,bchw->bohw", weight, pool(F2)) + bias[:, None, None]

    return answer


CHECKS = {
    "number of positions": compared(
        positions,
        _sizes,
        {
            "the picture is padded, and that makes room": lambda n, ls: _positions(n, ls, "none"),
            "it is padded on both sides": lambda n, ls: _positions(n, ls, "once"),
            "with an odd size the last position is still there": (
                lambda n, ls: _positions(n, ls, "stride")
            ),
            "the first position counts, too": lambda n, ls: _positions(n, ls, "one"),
        },
        tolerance=0,
    ),
    "receptive field": compared(
        receptive_field,
        _stacks,
        {
            "one step of a kernel is as wide as the strides before it": (
                lambda ls: _field(ls, "jump")
            ),
            "a kernel of width k reaches k - 1 steps further": lambda ls: _field(ls, "kernel"),
            "a layer's own stride counts from the next layer on": lambda ls: _field(ls, "late"),
            "strides multiply": lambda ls: (
                receptive_field(ls)[0],
                1 + sum(stride - 1 for _, stride in ls),
            ),
            "field first, then stride": lambda ls: receptive_field(ls)[::-1],
        },
        tolerance=0,
    ),
    "nearest mean": compared(
        nearest_mean,
        _clusters,
        {
            "this is the value of the nearest image; ask for the nearest mean": _nearest_image,
            "these are places in a list of values, and values are asked for": (
                lambda a, v, t: np.searchsorted(np.unique(v), nearest_mean(a, v, t))
            ),
            "the mean that is farthest away": lambda a, v, t: np.unique(v)[
                ((t[:, None] - np.stack([a[v == k].mean(0) for k in np.unique(v)])) ** 2)
                .sum(2)
                .argmax(1)
            ],
            "this is the most frequent value, whatever the features say": lambda a, v, t: np.full(
                len(t), np.bincount(v).argmax()
            ),
        },
        tolerance=0,
    ),
    "low-level projection": compared(
        low_level,
        _levels,
        {
            "the pooling keeps the largest value, not the mean": _pooled(
                lambda x: functional.avg_pool2d(x, 3, stride=2, padding=1)
            ),
            "the pooling's window is 3 x 3": _pooled(lambda x: functional.max_pool2d(x, 2)),
            "first the pooling, then the convolution": lambda x, w, b: functional.max_pool2d(
                torch.einsum("oc,bchw->bohw", w, x) + b[:, None, None], 3, stride=2, padding=1
            ),
            "the bias is missing": lambda x, w, b: low_level(x, w, torch.zeros_like(b)),
            "there is no ReLU behind the convolution": lambda x, w, b: low_level(x, w, b).relu(),
        },
    ),
    "X and F": compared(
        multi_level,
        _sums,
        {
            "the second half of F is X, not L": lambda f, low: (
                f + low,
                torch.cat([f, low], dim=1),
            ),
            "F begins with F3 as it was: has the sum been written into it?": lambda f, low: (
                f + low,
                torch.cat([f + low, f + low], dim=1),
            ),
            "F3 comes first": lambda f, low: (f + low, torch.cat([f + low, f], dim=1)),
            "channels are joined, not positions": lambda f, low: (
                f + low,
                torch.cat([f, f + low], dim=2),
            ),
            "there is no ReLU behind the sum": lambda f, low: multi_level(f, low.clamp(min=-f)),
            "X is a sum, not a mean": lambda f, low: multi_level(f, (low - f) / 2),
        },
    ),
}
