"""What a backbone keeps of a photo, level by level."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.embedding import each_batch
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone


def level_maps(backbone: MultiLevelBackbone, images: Tensor) -> dict[str, Tensor]:
    """The feature maps (B, C, h, w) of every level of images (B, 3, H, W), low to high.

    Each level is a stage of the backbone, by its name. Of a ResNet ``layer3+low`` is ``concat(F3,
    MaxPool(F2))``: what F is made of, before L's 1x1 convolution. ``F`` is there in multi-level
    backbones, the stages after stride 16 (of X) where there is a class branch.
    """
    maps, x = {}, images
    for level in (*backbone.to_stride_8, *backbone.to_stride_16):
        maps[level] = x = backbone.run((level,), x)
    f2, f3 = maps[backbone.to_stride_8[-1]], x
    maps[f"{level}+low"] = torch.cat([f3, backbone.low_level_pool(f2)], dim=1)
    if backbone.low_level is not None:
        f4 = backbone.run(backbone.to_stride_32, f3) if backbone.coarse_level else None
        maps["F"], x = backbone.combine(f2, f3, f4)
    if backbone.attribute_classifier is not None:
        for level in backbone.rest:
            maps[level] = x = backbone.run((level,), x)
    return maps


def pooled_features(
    backbone: MultiLevelBackbone, pixels: Pixels, images: np.ndarray, grid: int = 1
) -> dict[str, np.ndarray]:
    """The maps of images (n,), averaged over a grid x grid of cells: float32 (n, C, grid, grid).

    A grid of 1 is global average pooling; a map smaller than the grid stays as it is.
    """
    parts: dict[str, list[np.ndarray]] = {}

    def work(_: slice, batch: Tensor) -> None:
        for level, f in level_maps(backbone, batch).items():
            cells = min(grid, f.shape[2]), min(grid, f.shape[3])
            pooled = functional.adaptive_avg_pool2d(f, cells).float().cpu().contiguous()
            parts.setdefault(level, []).append(pooled.numpy())

    each_batch(backbone, len(images), lambda part: pixels.take(images[part]), work)
    return {level: np.concatenate(p) for level, p in parts.items()}
