"""Embeddings of the (image, attribute) pairs that are asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agman_lib.base.progress import bar
from agman_lib.data.pixels import Pixels, normalize
from agman_lib.networks.model import RetrievalModel


@torch.no_grad()
def embed(
    model: RetrievalModel,
    pixels: Pixels,
    image: np.ndarray,
    attribute: np.ndarray,
    batch_size: int = 64,
    progress: str | None = None,
) -> np.ndarray:
    """Unit embeddings (L, D) float32 of L (image, attribute) pairs.

    Every image goes through the trunk once, whatever the number of its attributes; layer4 is not
    computed. Memory is that of one batch and the result. The network is put in evaluation mode
    for the call and back as it was.

    Args:
        image, attribute: int64 (L,).
        progress: a title for a progress bar; None for no bar.
    """
    device = next(model.parameters()).device
    unique, inverse = np.unique(image, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(0, len(unique) + batch_size, batch_size))
    out = np.empty((len(image), model.embedding_size), np.float32)
    was_training = model.training
    model.eval()
    try:
        starts = range(0, len(unique), batch_size)
        for k, start in enumerate(bar(starts, progress, unit="batch")):
            images = normalize(pixels.take(unique[start : start + batch_size]).to(device))
            features = model.trunk(images)
            rows = order[bounds[k] : bounds[k + 1]]
            for part in np.array_split(rows, max(1, len(rows) // (2 * batch_size))):
                which = _index(inverse[part] - start, device)
                e = model.head(tuple(f[which] for f in features), _index(attribute[part], device))
                out[part] = e.float().cpu().numpy()
    finally:
        model.train(was_training)
    return out


def _index(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
