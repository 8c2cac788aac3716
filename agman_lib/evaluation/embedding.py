"""Photos through a network: the one loop over batches, and the embeddings that it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agman_lib.base.progress import bar
from agman_lib.data.pixels import Pixels
from agman_lib.networks.model import RetrievalModel
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone

BATCH = 64


@torch.no_grad()
def each_batch(
    network: RetrievalModel | MultiLevelBackbone,
    n: int,
    take: Callable[[slice], Tensor],
    work: Callable[[slice, Tensor], None],
    batch_size: int = BATCH,
    progress: str | None = None,
) -> None:
    """Show n photos to a network, a batch at a time; memory is that of one batch.

    Args:
        network: put in evaluation mode for the call, and back as it was.
        take: a slice of 0 … n -> the pixels of these photos, uint8 (b, 3, H, W).
        work: called with the slice and its normalised images, on the network's device, without
            gradients. It is not called for a batch without photos.
        progress: a title for a progress bar; None for no bar.
    """
    device, was_training = next(network.parameters()).device, network.training
    network.eval()
    try:
        for start in bar(range(0, n, batch_size), progress, unit="batch"):
            part = slice(start, min(start + batch_size, n))
            pixels = take(part)
            if len(pixels):
                work(part, network.normalize(pixels.to(device)))
    finally:
        network.train(was_training)


def embed(
    model: RetrievalModel,
    pixels: Pixels,
    image: np.ndarray,
    attribute: np.ndarray,
    batch_size: int = BATCH,
    progress: str | None = None,
    accelerator: Any = None,
) -> np.ndarray:
    """Unit embeddings (L, D) float32 of L (image, attribute) pairs.

    Every image goes through the trunk once, whatever the number of its attributes; the last
    stages are not computed. Memory is that of one batch and the result.

    Args:
        image, attribute: int64 (L,).
        progress: a title for a progress bar; None for no bar.
        accelerator: its processes share the images; each gets the whole result.
    """
    if accelerator is not None and accelerator.num_processes > 1:
        return _embed_shared(model, pixels, image, attribute, batch_size, progress, accelerator)
    unique, inverse = np.unique(image, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(0, len(unique) + batch_size, batch_size))
    out = np.empty((len(image), model.embedding_size), np.float32)

    def work(part: slice, images: Tensor) -> None:
        features = model.trunk(images)
        k = part.start // batch_size
        rows = order[bounds[k] : bounds[k + 1]]
        for some in np.array_split(rows, max(1, len(rows) // (2 * batch_size))):
            which = _index(inverse[some] - part.start, images.device)
            chosen = tuple(f[which] for f in features)
            e = model.head(chosen, _index(attribute[some], images.device))
            out[some] = e.float().cpu().numpy()

    each_batch(model, len(unique), lambda p: pixels.take(unique[p]), work, batch_size, progress)
    return out


def _embed_shared(
    model: RetrievalModel,
    pixels: Pixels,
    image: np.ndarray,
    attribute: np.ndarray,
    batch_size: int,
    progress: str | None,
    accelerator: Any,
) -> np.ndarray:
    """`embed`, each process with its share of the images."""
    from accelerate.utils import gather_object

    mine = np.flatnonzero(image % accelerator.num_processes == accelerator.process_index)
    part = embed(model, pixels, image[mine], attribute[mine], batch_size, progress)
    out = np.empty((len(image), model.embedding_size), np.float32)
    for rows, embeddings in gather_object([(mine, part)]):
        out[rows] = embeddings
    return out


def _index(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
