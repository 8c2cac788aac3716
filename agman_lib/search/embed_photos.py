"""Photos into a gallery's items and embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from agman_lib.base.errors import AgmanError
from agman_lib.data.pixels import read_photos
from agman_lib.evaluation.embedding import each_batch
from agman_lib.networks.model import RetrievalModel
from agman_lib.search.files import Photos, Precision, attributes_of, list_photos


def embed_photos(
    model: RetrievalModel,
    about: dict[str, Any],
    photos: Photos,
    batch_size: int,
    precision: Precision,
    progress: bool,
) -> tuple[pd.DataFrame, np.ndarray, Path, dict[str, str]]:
    """Items, embeddings (N, A, D), their folder, and what was left out, as `Gallery` holds them.

    Raises:
        AgmanError: as `Gallery.build`.
    """
    items, root, left_out = list_photos(photos, attributes_of(model, about))
    kept = np.ones(len(items), bool)
    shape = (model.n_attributes, len(items), model.embedding_size)
    vectors, filled = np.empty(shape, np.dtype(precision)), 0  # as in the file: see `Gallery`

    def take(part: slice) -> Tensor:
        rows, pixels = items.iloc[part], []
        files = [root / path for path in rows["path"]]
        for n, photo in enumerate(read_photos(files, about["image_size"], about["fit"])):
            if isinstance(photo, AgmanError):
                left_out[rows["image"].iloc[n]] = str(photo)
                kept[part.start + n] = False
            else:
                pixels.append(photo)
        return torch.from_numpy(np.array(pixels))

    def work(_: slice, images: Tensor) -> None:
        nonlocal filled
        vectors[:, filled : filled + len(images)] = _embedded(model, images).transpose(1, 0, 2)
        filled += len(images)

    model.eval()
    each_batch(model, len(items), take, work, batch_size, "embed" if progress else None)
    if not kept.any():
        why = next(iter(left_out.values()), "it holds no files")
        raise AgmanError(f"{root}: no usable photo; the first problem: {why}")
    embeddings = vectors[:, :filled].transpose(1, 0, 2)
    return items[kept].reset_index(drop=True), embeddings, root, left_out


@torch.no_grad()
def embed_photo(model: RetrievalModel, pixels: np.ndarray) -> np.ndarray:
    """Unit embeddings (A, D) of one photo uint8 (3, H, W)."""
    device = next(model.parameters()).device
    images = model.normalize(torch.from_numpy(pixels)[None].to(device))
    return _embedded(model, images)[0]


def _embedded(model: RetrievalModel, images: Tensor) -> np.ndarray:
    """Unit embeddings float32 (B, A, D) of normalised images."""
    return model.embed_all(images).float().cpu().numpy()
