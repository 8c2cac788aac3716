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
from agman_lib.search.files import Photos, attributes_of, list_photos


def embed_photos(
    model: RetrievalModel,
    about: dict[str, Any],
    photos: Photos,
    batch_size: int,
    progress: bool,
) -> tuple[pd.DataFrame, np.ndarray, Path, dict[str, str]]:
    """Items, embeddings (N, A, D), their folder, and what was left out, as `Gallery` holds them.

    Raises:
        AgmanError: as `Gallery.build`.
    """
    items, root, left_out = list_photos(photos, attributes_of(model, about))
    kept = np.ones(len(items), bool)
    parts = [np.empty((0, model.n_attributes, model.embedding_size), np.float32)]

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
        parts.append(model.embed_all(images).float().cpu().numpy())

    model.eval()
    each_batch(model, len(items), take, work, batch_size, "embed" if progress else None)
    if not kept.any():
        why = next(iter(left_out.values()), "it holds no files")
        raise AgmanError(f"{root}: no usable photo; the first problem: {why}")
    return items[kept].reset_index(drop=True), np.concatenate(parts), root, left_out


@torch.no_grad()
def embed_photo(model: RetrievalModel, pixels: np.ndarray) -> np.ndarray:
    """Unit embeddings (A, D) of one photo uint8 (3, H, W)."""
    device = next(model.parameters()).device
    images = model.normalize(torch.from_numpy(pixels)[None].to(device))
    return model.embed_all(images)[0].float().cpu().numpy()
