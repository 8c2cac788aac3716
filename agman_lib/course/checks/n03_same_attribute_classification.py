"""Notebook 03: the class targets, the branch's loss, and how low it can get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agman_lib.course.answers import compared


def targets(labels: list[tuple[str, str]], names: list[str]) -> np.ndarray:
    """The targets (B, A), 0 or 1, of images labelled (attribute, value); names of A attributes."""
    return np.array([[float(attribute == name) for name in names] for attribute, _ in labels])


def branch_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The mean binary cross-entropy of logits (B, A) against targets (B, A)."""
    return functional.binary_cross_entropy_with_logits(logits, target)


def floor(shares: np.ndarray) -> float:
    """The lowest mean loss of constant answers, for classes with these shares (A,)."""
    p = np.clip(shares, 1e-12, 1 - 1e-12)
    return float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).mean())


def floor_given(attribute: np.ndarray, group: np.ndarray, n: int) -> float:
    """The lowest mean loss of answers that depend on the group of an image alone."""
    onehot = np.eye(n)[attribute]
    return float(
        sum((group == g).mean() * floor(onehot[group == g].mean(0)) for g in np.unique(group))
    )


def _labels(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Labels of attributes that share the names of their values."""
    names = ["sleeve", "collar", "skirt", "pattern"]
    cases = []
    for n in (5, 8):
        some = [
            (str(rng.choice(names)), str(rng.choice(["short", "long", "none"]))) for _ in range(n)
        ]
        some[:2] = [("skirt", "long"), ("sleeve", "long")]
        cases.append((some, [str(x) for x in rng.permutation(names)]))
    return cases


def _logits(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Ordinary logits, and large ones, right and wrong."""
    cases = []
    for n, a, scale in ((4, 3, 1.0), (6, 7, 2.0), (5, 4, 200.0)):
        logits = torch.tensor(rng.normal(size=(n, a)) * scale, dtype=torch.float32)
        target = torch.eye(a)[torch.tensor(rng.integers(0, a, n))]
        cases.append((logits, target))
    return cases


def _shares(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [
        (np.full(7, 1 / 7),),
        (np.array([0.5, 0.5]),),
        *[(rng.dirichlet([1] * 5),) for _ in "ab"],
    ]


def _groups(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Groups of unequal sizes; one of them always has the same attribute."""
    cases = []
    for n in (200, 300):
        group = rng.choice([3, 5, 8], n, p=[0.6, 0.3, 0.1])
        attribute = np.where(group == 8, 2, rng.integers(0, np.where(group == 3, 4, 2)))
        cases.append((attribute, group, 4))
    return cases


def _unclipped(attribute: np.ndarray, group: np.ndarray, n: int) -> float:
    total = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        for g in np.unique(group):
            p = np.eye(n)[attribute[group == g]].mean(0)
            total += (group == g).mean() * -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    return float(total)


def _present(attribute: np.ndarray, group: np.ndarray, n: int) -> float:
    total = 0.0
    for g in np.unique(group):
        p = np.unique(attribute[group == g], return_counts=True)[1] / (group == g).sum()
        total += (group == g).mean() * floor(p)
    return float(total)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -(shares * np.log(np.clip(shares, 1e-12, 1)))


def _of_groups(attribute: np.ndarray, group: np.ndarray, n: int) -> list[float]:
    onehot = np.eye(n)[attribute]
    return [floor(onehot[group == g].mean(0)) for g in np.unique(group)]


CHECKS = {
    "class targets": compared(
        targets,
        _labels,
        {
            "the values do not count: all images labelled for one attribute are one class": (
                lambda labels, names: np.array(
                    [[float(a == n and v == "long") for n in names] for a, v in labels]
                )
            ),
            "the columns are in the order of the names": lambda labels, names: targets(
                labels, sorted(names)
            ),
            "the number of a class is not its target: 1 for the class, 0 for the others": (
                lambda labels, names: np.array([names.index(a) for a, _ in labels])
            ),
            "an image is labelled for one attribute, and the others are 0": (
                lambda labels, names: 1 - targets(labels, names)
            ),
        },
    ),
    "branch loss": compared(
        branch_loss,
        _logits,
        {
            "each class is a yes-or-no question of its own; this makes them compete": (
                lambda z, t: functional.cross_entropy(z, t)
            ),
            "the sigmoid is taken twice": lambda z, t: functional.binary_cross_entropy_with_logits(
                torch.sigmoid(z), t
            ),
            "a large logit gives the logarithm of 0": lambda z, t: (
                -(
                    t * torch.log(torch.sigmoid(z)) + (1 - t) * torch.log(1 - torch.sigmoid(z))
                ).mean()
            ),
            "the answers to the other questions count, too": lambda z, t: (
                t * functional.softplus(-z)
            ).mean(),
            "this is a sum over the classes, and a mean is asked for": lambda z, t: (
                branch_loss(z, t) * z.shape[1]
            ),
        },
        tolerance=1e-4,
    ),
    "floor": compared(
        floor,
        _shares,
        {
            "each class is a question of its own, and 'no' is an answer, too": (
                lambda p: float(_entropy(p).mean())
            ),
            "this is in bits; the loss uses the natural logarithm": (
                lambda p: floor(p) / float(np.log(2))
            ),
            "this is the entropy of one question with A answers": lambda p: float(
                _entropy(p).sum()
            ),
            "this is a sum over the classes, and a mean is asked for": lambda p: floor(p) * len(p),
            "this is what answering one half costs": lambda p: float(np.log(2)),
        },
    ),
    "floor, given the group": compared(
        floor_given,
        _groups,
        {
            "a large group has more images than a small one": lambda a, g, n: float(
                np.mean(_of_groups(a, g, n))
            ),
            "a class that a group never has, or always, costs nothing, but 0 times ln 0 is NaN": (
                _unclipped
            ),
            "the mean goes over all n classes, those that a group lacks included": _present,
            "this does not use the group": lambda a, g, n: floor(np.eye(n)[a].mean(0)),
            "this is a sum over the groups": lambda a, g, n: float(np.sum(_of_groups(a, g, n))),
            "this is the best group; all images count": lambda a, g, n: float(
                np.min(_of_groups(a, g, n))
            ),
        },
        tolerance=1e-4,
    ),
}
