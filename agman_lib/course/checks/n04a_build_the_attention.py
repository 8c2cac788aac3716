"""Notebook 04a: AG-MAN's attention in pieces, each for all attributes of one image at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from agman_lib.course.answers import compared

TOLERANCE = 1e-4  # of sums in single precision, in whatever order they are taken


def spatial_attention(query: Tensor, keys: Tensor) -> Tensor:
    """S (A, h, w), each attribute's sum is 1, from queries (A, D) and keys (D, h, w)."""
    scores = query @ keys.flatten(1) / len(keys) ** 0.5
    return scores.softmax(1).unflatten(1, keys.shape[1:])


def spatial_gate(x: Tensor, weights: Tensor, conv: nn.Module) -> Tensor:
    """The gate (A, h, w) of features x (D, h, w), weighted by (A, h, w)."""
    weighted = weights[:, None] * x
    maps = torch.stack([weighted.mean(1), weighted.amax(1)], 1)
    return torch.sigmoid(conv(maps))[:, 0]


def pool(x: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums over positions (A, D) of x (D, h, w)."""
    return weights.flatten(1) @ x.flatten(1).T


def channel_attention(v: Tensor, keep: Tensor, fc1: nn.Module, fc2: nn.Module) -> Tensor:
    """m (A, D) from pooled features (A, D) and the attributes' vectors (A, D)."""
    return torch.sigmoid(fc2(torch.relu(fc1(torch.cat([v, keep], 1)))))


def finish(v: Tensor, M: Tensor) -> Tensor:
    """Embeddings (A, D) of length 1 from v and the masks before their ReLU, both (A, D)."""
    return functional.normalize(v * torch.relu(M), dim=1)


def gate_maps(low: Tensor, mean: Tensor, high: Tensor, weights: Tensor) -> Tensor:
    """The two maps that the gate reads (A, 2, h, w), from x's three (h, w) over its channels."""
    largest = torch.where(weights >= 0, weights * high, weights * low)
    return torch.stack([weights * mean, largest], 1)


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape)).float()


def _filled(layer: nn.Module, rng: np.random.Generator, deviation: float = 1.0) -> nn.Module:
    """A layer with weights from a normal distribution."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(deviation * _normal(rng, *parameter.shape))
    return layer


SIZES = ((3, 8, 4, 5), (7, 6, 6, 6), (2, 16, 3, 2))
"""A, D, h, w of the cases."""


def _scored(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [(_normal(rng, a, k), torch.tanh(_normal(rng, k, h, w))) for a, k, h, w in SIZES]


def _weights(rng: np.random.Generator, a: int, h: int, w: int) -> Tensor:
    """Of both signs in each map, not too near to 0, and with sums that are not 1."""
    sign = rng.permuted(np.resize([1.0, 1.0, -1.0], (a, h * w)), axis=1).reshape(a, h, w)
    return torch.from_numpy(sign * rng.uniform(0.5, 1.5, size=(a, h, w))).float()


def _gated(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    cases = []
    for a, k, h, w in SIZES:
        # A deviation for which the sigmoid is far from 0 and 1.
        conv = _filled(nn.Conv2d(2, 1, 7, padding=3, bias=False), rng, 0.2)
        cases.append((_normal(rng, k, h, w), _weights(rng, a, h, w), conv))
    return cases


def _pooled(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [(_normal(rng, k, h, w), _weights(rng, a, h, w)) for a, k, h, w in SIZES]


def _described(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    cases = []
    for a, k, *_ in SIZES:
        fc1, fc2 = nn.Linear(2 * k, k + 1), nn.Linear(k + 1, k)
        layers = (_filled(layer, rng) for layer in (fc1, fc2))
        cases.append((_normal(rng, a, k) / 2, _normal(rng, a, k) / 2, *layers))
    return cases


def _masked(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Masks of both signs; in each row at least one of each, where v is not near 0."""
    cases = []
    for a, k, *_ in SIZES:
        v, M = _normal(rng, a, k), _normal(rng, a, k)
        v[:, :2] = 1 + v[:, :2].abs()
        M[:, 0], M[:, 1] = 0.5 + M[:, 0].abs(), -0.5 - M[:, 1].abs()
        cases.append((v, M))
    return cases


def _three(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    cases = []
    for a, k, h, w in SIZES:
        x = _normal(rng, k, h, w)
        cases.append((x.amin(0), x.mean(0), x.amax(0), _weights(rng, a, h, w)))
    return cases


def _scores(query: Tensor, keys: Tensor) -> Tensor:
    return torch.einsum("ak,khw->ahw", query, keys)


def _of_two_maps(one: Tensor, other: Tensor, conv: nn.Module) -> Tensor:
    return torch.sigmoid(conv(torch.stack([one, other], 1)))[:, 0]


CHECKS = {
    "spatial attention": compared(
        spatial_attention,
        _scored,
        {
            "the attributes share their weights here; each attribute's own weights sum to 1": (
                lambda q, k: (_scores(q, k) / len(k) ** 0.5).softmax(0)
            ),
            "each row of the grid sums to 1; it is all positions together that do": (
                lambda q, k: (_scores(q, k) / len(k) ** 0.5).softmax(2)
            ),
            "the scores are not divided by the root of their number of channels": (
                lambda q, k: _scores(q, k).flatten(1).softmax(1).view(len(q), *k.shape[1:])
            ),
            "the scores are divided by the number of channels, and its root is asked for": (
                lambda q, k: spatial_attention(q / len(k) ** 0.5, k)
            ),
            "these are the scores; they still have to become weights that sum to 1": (
                lambda q, k: _scores(q, k) / len(k) ** 0.5
            ),
            "the positions stand in one line: give them back their rows and columns": (
                lambda q, k: spatial_attention(q, k).flatten(1)
            ),
        },
        TOLERANCE,
    ),
    "spatial gate": compared(
        spatial_gate,
        _gated,
        {
            "it looks at x before the weights have been applied": (
                lambda x, s, conv: spatial_gate(x, torch.ones_like(s), conv)
            ),
            "the two maps stand in the other order: the mean comes first": (
                lambda x, s, conv: _of_two_maps(
                    (x * s[:, None]).amax(1), (x * s[:, None]).mean(1), conv
                )
            ),
            "this is what the filter gives; a number between 0 and 1 is asked for": (
                lambda x, s, conv: conv(
                    torch.stack([(x * s[:, None]).mean(1), (x * s[:, None]).amax(1)], 1)
                )[:, 0]
            ),
            "these sum to 1 over the positions; a gate decides for each position alone": (
                lambda x, s, conv: (
                    torch.logit(spatial_gate(x, s, conv).double()).flatten(1).softmax(1).view_as(s)
                )
            ),
            "one map is a sum over the channels, and a mean is asked for": (
                lambda x, s, conv: _of_two_maps(
                    (x * s[:, None]).sum(1), (x * s[:, None]).amax(1), conv
                )
            ),
            "the largest of the weighted features is wrong where a weight is negative": (
                lambda x, s, conv: _of_two_maps(s * x.mean(0), s * x.amax(0), conv)
            ),
        },
        TOLERANCE,
    ),
    "attention pooling": compared(
        pool,
        _pooled,
        {
            "this is a mean over the positions, and a sum is asked for": (
                lambda x, s: pool(x, s) / s[0].numel()
            ),
            "the weights are used as they are: they need not sum to 1": (
                lambda x, s: pool(x, s) / s.sum((1, 2))[:, None]
            ),
            "this is the largest of the weighted features, and a sum is asked for": (
                lambda x, s: (s[:, None] * x).amax((2, 3))
            ),
            "the weights play no part in it": lambda x, s: pool(x, torch.ones_like(s)),
            "a negative weight counts as 0 here; it should count as it is": (
                lambda x, s: pool(x, s.clamp(min=0))
            ),
            "the weights lose their signs": lambda x, s: pool(x, s.abs()),
            "the attributes come first, then the channels": lambda x, s: pool(x, s).T,
        },
        TOLERANCE,
    ),
    "channel attention": compared(
        channel_attention,
        _described,
        {
            "there is a ReLU between the two layers": (
                lambda v, z, fc1, fc2: torch.sigmoid(fc2(fc1(torch.cat([v, z], 1))))
            ),
            "v comes first, the attribute's vector after it": (
                lambda v, z, fc1, fc2: channel_attention(z, v, fc1, fc2)
            ),
            "the last step is missing: each of m is between 0 and 1": (
                lambda v, z, fc1, fc2: fc2(torch.relu(fc1(torch.cat([v, z], 1))))
            ),
            "the channels share a sum of 1; each of them is open or shut on its own": (
                lambda v, z, fc1, fc2: fc2(torch.relu(fc1(torch.cat([v, z], 1)))).softmax(1)
            ),
            "this is v times m, and m alone is asked for": (
                lambda v, z, fc1, fc2: v * channel_attention(v, z, fc1, fc2)
            ),
        },
        TOLERANCE,
    ),
    "mask and length": compared(
        finish,
        _masked,
        {
            "a negative mask turns a channel round here; it should shut it": (
                lambda v, M: functional.normalize(v * M, dim=1)
            ),
            "a negative mask opens a channel here; it should shut it": (
                lambda v, M: functional.normalize(v * M.abs(), dim=1)
            ),
            "the length is not 1 yet": lambda v, M: v * torch.relu(M),
            "the length is made 1 before the mask is applied, which changes it again": (
                lambda v, M: functional.normalize(v, dim=1) * torch.relu(M)
            ),
            "all attributes together have length 1; each embedding has a length of its own": (
                lambda v, M: v * torch.relu(M) / (v * torch.relu(M)).norm()
            ),
            "it divides by the square of the length": (
                lambda v, M: v * torch.relu(M) / (v * torch.relu(M)).square().sum(1, keepdim=True)
            ),
        },
        TOLERANCE,
    ),
    "gate maps": compared(
        gate_maps,
        _three,
        {
            "where a weight is negative, what is largest?": (
                lambda low, mean, high, s: torch.stack([s * mean, s * high], 1)
            ),
            "one negative weight is taken to make all of them negative": (
                lambda low, mean, high, s: torch.stack(
                    [s * mean, s * (low if (s < 0).any() else high)], 1
                )
            ),
            "a negative weight counts as 0 here; it should count as it is": (
                lambda low, mean, high, s: gate_maps(low, mean, high, s.clamp(min=0))
            ),
            "where a weight is negative, the sign is lost": (
                lambda low, mean, high, s: torch.stack([s * mean, s.abs() * high], 1)
            ),
            "the two maps stand in the other order: the mean comes first": (
                lambda low, mean, high, s: gate_maps(low, mean, high, s).flip(1)
            ),
            "this takes the smallest product, and the largest is asked for": (
                lambda low, mean, high, s: torch.stack(
                    [s * mean, torch.minimum(s * low, s * high)], 1
                )
            ),
            "the mean is weighted as well": (
                lambda low, mean, high, s: torch.stack(
                    [mean.expand_as(s), torch.maximum(s * low, s * high)], 1
                )
            ),
            "the attributes come first, then the two maps": (
                lambda low, mean, high, s: gate_maps(low, mean, high, s).transpose(0, 1)
            ),
        },
        TOLERANCE,
    ),
}
