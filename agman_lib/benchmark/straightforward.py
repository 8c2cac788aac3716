"""What the library is measured beside: each thing as one would write it first, or as published.

The published files are those of `Dr-LingXiao/AG-MAN` and, where that lacks them, of `Maryeon/asen`.
What is here does the same steps in the same order; it is written anew. The tests compare the
library with it, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agman_lib.data.dataset import Labels
from agman_lib.data.pixels import IMAGENET_MEAN, IMAGENET_STD
from agman_lib.networks.model import RetrievalModel


def one_pass_an_attribute(model: RetrievalModel, images: Tensor) -> Tensor:
    """Unit embeddings (B, A, D) of images (B, 3, H, W), the whole network once an attribute.

    As the published ``test`` does (mainFashionAI.py), but without layer4, which that computes too.
    """
    asked = torch.arange(model.n_attributes, device=images.device)
    return torch.stack([model(images, a.expand(len(images))) for a in asked], dim=1)


def listed_triplets_loss(embedding: Tensor, relation: Tensor, margin: float = 0.2) -> Tensor:
    """The hinge averaged over every valid triplet, all N³ of them listed.

    Args:
        embedding: (N, D), unit length.
        relation: (N, N), 1 for positive pairs, -1 for negative ones.
    """
    s = embedding @ embedding.T
    hinge = functional.relu(s[:, None, :] - s[:, :, None] + margin)  # [anchor, positive, negative]
    valid = (relation == 1)[:, :, None] & (relation == -1)[:, None, :]
    return (hinge * valid).sum() / valid.sum().clamp(min=1)


class PublishedSampler:
    """Triplets guessed until they fit, as asen's image_loader.py (``TripletGenerator``) does."""

    def __init__(self, labels: Labels) -> None:
        self.rows: dict[int, list[tuple[int, int]]] = {}
        for image, attribute, value in zip(
            labels.image.tolist(), labels.attribute.tolist(), labels.value.tolist(), strict=True
        ):
            self.rows.setdefault(attribute, []).append((image, value))
        self.n_values = {a: 1 + max(value for _, value in of) for a, of in self.rows.items()}

    def sample(self, n: int) -> list[tuple[int, int, int, int]]:
        """n triplets: images of anchor, negative and positive, and the attribute.

        The attribute and the value are drawn, then rows of the attribute, until one has the value
        (or, for the negative, another).
        """
        triplets = []
        for _ in range(n):
            attribute = random.randint(0, len(self.rows) - 1)
            of = self.rows[attribute]
            value = random.randint(0, self.n_values[attribute] - 1)
            while of[a := random.randint(0, len(of) - 1)][1] != value:
                pass
            while of[b := random.randint(0, len(of) - 1)][1] == value:
                pass
            while of[c := random.randint(0, len(of) - 1)][1] != value or c == a:
                pass
            triplets.append((of[a][0], of[b][0], of[c][0], attribute))
        return triplets


def published_average_precision(
    similarity: np.ndarray,
    query: np.ndarray,
    candidate: np.ndarray,
    kind: Literal["stable"] | None = None,
) -> np.ndarray:
    """Average precision (Q,), one candidate after the other.

    As ``mean_average_precision`` (mainFashionAI.py) and ``APScorer`` (asen's metric.py) do.

    Args:
        similarity: (Q, N).
        query: values (Q,).
        candidate: values (N,); those that are the query's are relevant.
        kind: of sort; "stable" ranks the lower index first where similarities tie.
    """
    found = []
    for q in range(len(similarity)):
        order = np.argsort(-similarity[q], kind=kind)
        ranked = []
        for i in range(order.shape[0]):
            ranked.append(1 if candidate[order[i]] == query[q] else 0)
        relevant, total = 0, 0.0
        for i in range(len(ranked)):
            if ranked[i] >= 1:
                relevant += 1
                total += float(relevant) / (i + 1.0)
        found.append(total / relevant if relevant else 0.0)
    return np.array(found)


def average_precision_by_query(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Average precision (Q,) of (Q, N), a plain loop over queries in NumPy."""
    found = np.zeros(len(similarity))
    for q, (row, of) in enumerate(zip(similarity, relevant, strict=True)):
        ranks = np.flatnonzero(of[np.argsort(-row)]) + 1
        if len(ranks):
            found[q] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
    return found


def resampled_means(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Means (n,) of n resamples, with replacement, of values (Q,), one after the other."""
    draws = (rng.integers(len(values), size=len(values)) for _ in range(n))
    return np.array([values[rows].mean() for rows in draws])


@cache
def published_transform(size: int, normalised: bool = True) -> Callable[[Path], Tensor]:
    """What makes of a photo's path a tensor (3, size, size), as mainFashionAI.py does.

    Args:
        normalised: by ImageNet's mean and deviation, float32; or the pixels, uint8.
    """
    from PIL import Image
    from torchvision import transforms

    last = [transforms.PILToTensor()]
    if normalised:
        last = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    steps = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), *last])

    def transform(path: Path) -> Tensor:
        with Image.open(path) as image:
            return steps(image.convert("RGB"))

    return transform
