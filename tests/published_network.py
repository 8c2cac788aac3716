"""Weights of the published AG-MAN network by a recipe that anyone can follow."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from conftest import ROOT

FIXTURES = ROOT / "tests" / "fixtures"


def drawn(name: str, shape: list[int], seed: int = 0) -> np.ndarray:
    key = zlib.crc32(f"{seed}:{name}".encode())
    return np.random.RandomState(key).standard_normal(shape).astype(np.float32)


def published_weights(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Weights by the recipe of the reference outputs: a draw keyed by the published name."""
    state = {}
    for name, shape in shapes.items():
        r, last = drawn(name, shape), name.split(".")[-1]
        if last == "num_batches_tracked":
            value: np.ndarray = np.zeros(shape, np.int64)
        elif last == "running_mean" or last == "bias":
            value = 0.1 * r
        elif last == "running_var":
            value = np.exp(0.1 * r)
        elif last in ("w", "w1", "w2"):
            value = 1 + 0.2 * r
        elif name.endswith("masks.weight"):
            value = 0.5 + 0.5 * r
        elif len(shape) == 1:
            value = (0.2 if ".bn3." in name else 1) * (1 + 0.1 * r)
        elif name.endswith("attr_embedding.weight"):
            value = r
        else:
            value = np.sqrt(2 / np.prod(shape[1:])) * r
        dtype = np.int64 if last == "num_batches_tracked" else np.float32
        state[name] = torch.from_numpy(np.asarray(value, dtype))
    return state
