"""Notebook 09: proxies, the finer level, what is compared, the mean of weights, the second look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agman_lib.course.answers import compared


def proxy_loss(
    cosine: Tensor, owner: Tensor, attribute: Tensor, target: Tensor, temperature: float
) -> Tensor:
    """The mean cross-entropy of cosines (B, V) with the proxies of all attributes' values.

    Args:
        owner: (V,), the attribute that each proxy belongs to.
        attribute: (B,), what each image is labelled for.
        target: (B,), the proxy of its value.
        temperature: what the cosines are divided by.
    """
    others = owner != attribute[:, None]
    return functional.cross_entropy((cosine / temperature).masked_fill(others, -torch.inf), target)


def fine(f2: Tensor) -> Tensor:
    """The map F2 (B, C, 2h, 2w) as (B, 4C, h, w), with nothing lost."""
    return functional.pixel_unshuffle(f2, 2)


def both(p: Tensor, e: Tensor, length: float) -> Tensor:
    """Unit rows of the probabilities (B, V), made unit, and unit embeddings (B, D), shortened."""
    return functional.normalize(torch.cat([functional.normalize(p), length * e], 1))


def running_mean(mean: Tensor, weights: Tensor, share: float) -> Tensor:
    """The new running mean of the weights, in which the former mean has this share."""
    return share * mean + (1 - share) * weights


def corner(S: Tensor, place: Tensor, size: int, zoom: int) -> Tensor:
    """Left and top (B, 2) of windows of this size in photos enlarged by a zoom, where S looks.

    S (B, h, h) sums to one in each photo, and its positions look at pixels ``place`` (h,) of the
    photo; a window stays inside its photo.
    """
    return (zoom * _mass(S, place) - size / 2).round().clamp(0, (zoom - 1) * size)


def _mass(S: Tensor, place: Tensor) -> Tensor:
    return torch.stack([S.sum(1) @ place, S.sum(2) @ place], dim=1)


def _batches(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Attributes with different numbers of values; some images of each."""
    cases = []
    for values, n, temperature in (([2, 3, 4], 12, 0.2), ([5, 2], 9, 0.1)):
        owner = np.repeat(np.arange(len(values)), values)
        target = rng.permutation(np.arange(n) % len(owner))
        cosine = torch.tensor(rng.uniform(-1, 1, (n, len(owner))), dtype=torch.float32)
        rest = torch.tensor(owner), torch.tensor(owner[target]), torch.tensor(target)
        cases.append((cosine, *rest, temperature))
    return cases


def _of_all(c: Tensor, o: Tensor, a: Tensor, target: Tensor, t: float) -> Tensor:
    return functional.cross_entropy(c / t, target)


def _cold(c: Tensor, o: Tensor, a: Tensor, target: Tensor, t: float) -> Tensor:
    return proxy_loss(c, o, a, target, 1.0)


def _added(c: Tensor, o: Tensor, a: Tensor, target: Tensor, t: float) -> Tensor:
    return len(c) * proxy_loss(c, o, a, target, t)


def _with_zeros(c: Tensor, o: Tensor, a: Tensor, target: Tensor, t: float) -> Tensor:
    return functional.cross_entropy(c / t * (o == a[:, None]), target)


def _maps(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [
        (torch.tensor(rng.normal(size=shape), dtype=torch.float32),)
        for shape in ((2, 3, 4, 6), (1, 5, 8, 8))
    ]


def _blocks(f2: Tensor) -> Tensor:
    """The four positions, but one behind the other rather than beside the channel they are of."""
    return torch.cat([f2[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)


def _quarters(f2: Tensor) -> Tensor:
    return torch.cat([q for half in f2.chunk(2, 2) for q in half.chunk(2, 3)], 1)


def _pairs(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    cases = []
    for n, v, d, length in ((3, 4, 6, 0.5), (2, 7, 5, 0.25)):
        p = torch.tensor(rng.dirichlet([0.3] * v, n), dtype=torch.float32)
        e = torch.tensor(rng.normal(size=(n, d)), dtype=torch.float32)
        cases.append((p, functional.normalize(e), length))
    return cases


def _means(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [
        (*(torch.tensor(rng.normal(size=6), dtype=torch.float32) for _ in "ab"), share)
        for share in (0.98, 0.75)
    ]


def _looks(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Maps that look at a place each, at the border, too."""
    cases = []
    for n, h, size, zoom in ((5, 6, 96, 2), (4, 4, 64, 3)):
        scores = rng.normal(size=(n, h * h))
        scores[0, 0] = scores[1, -1] = scores[2, h - 1] = 9
        S = torch.tensor(scores, dtype=torch.float32).softmax(1).reshape(n, h, h)
        place = size / h * torch.arange(h) + 11
        cases.append((S, place, size, zoom))
    return cases


def _unscaled(S: Tensor, place: Tensor, size: int, zoom: int) -> Tensor:
    return (_mass(S, place) - size / 2).round().clamp(0, (zoom - 1) * size)


def _centre(S: Tensor, place: Tensor, size: int, zoom: int) -> Tensor:
    return (zoom * _mass(S, place)).round().clamp(0, (zoom - 1) * size)


def _outside(S: Tensor, place: Tensor, size: int, zoom: int) -> Tensor:
    return (zoom * _mass(S, place) - size / 2).round()


CHECKS = {
    "proxy loss": compared(
        proxy_loss,
        _batches,
        {
            "an image is labelled for one attribute, and its value is one of that attribute's: "
            "leave the other proxies out": _of_all,
            "divide the cosines by the temperature": _cold,
            "the mean over the images, not their sum": _added,
            "a cosine of 0 is an answer too: what is left out needs minus infinity": _with_zeros,
        },
    ),
    "finer level": compared(
        fine,
        _maps,
        {
            "the four positions of a channel stand beside each other: "
            "channel 0 at all four, then channel 1": _blocks,
            "the four positions that lie in one of the coarser map, not the four quarters of the "
            "map": _quarters,
            "averaging loses what the finer level is there for": (
                lambda f2: functional.avg_pool2d(f2, 2)
            ),
            "three of four positions are dropped": lambda f2: f2[:, :, ::2, ::2],
        },
    ),
    "what the search compares": compared(
        both,
        _pairs,
        {
            "make the probabilities a unit vector first": lambda p, e, length: functional.normalize(
                torch.cat([p, length * e], 1)
            ),
            "the rows are compared by cosine, so make them unit vectors at the end": (
                lambda p, e, length: torch.cat([functional.normalize(p), length * e], 1)
            ),
            "the place counts less than the probabilities: it is shortened": lambda p, e, length: (
                functional.normalize(torch.cat([functional.normalize(p), e], 1))
            ),
            "the place is missing": lambda p, e, length: functional.normalize(p),
        },
    ),
    "running mean": compared(
        running_mean,
        _means,
        {
            "the share is the former mean's, not the new weights'": lambda mean, weights, share: (
                (1 - share) * mean + share * weights
            ),
            "the two shares add up to 1": lambda mean, weights, share: share * mean + weights,
            "the former mean's part is the share, not one half": lambda mean, weights, share: (
                (mean + weights) / 2
            ),
            "these are the new weights; the former mean is forgotten": (
                lambda mean, weights, share: weights
            ),
        },
    ),
    "where to look": compared(
        corner,
        _looks,
        {
            "x runs along the width: add up S over the rows for it": lambda S, place, size, zoom: (
                corner(S.transpose(1, 2), place, size, zoom)
            ),
            "the window lies in the enlarged photo, where every distance is zoom times as long": (
                _unscaled
            ),
            "this is where the window's centre belongs; its corner is half a window before that": (
                _centre
            ),
            "a window must not leave the photo: clamp it": _outside,
        },
    ),
}
