"""The maps of a frozen trunk, computed once: what makes a head train in minutes on one core."""

from __future__ import annotations

import numpy as np
import torch

from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels, cached_array
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone
from agman_lib.training.config import TrainConfig


class FrozenLevels(Pixels):
    """Stands in for `Pixels` where the trunk is frozen: `take` gives each image's packed levels.

    They are kept in the prepared folder's cache as float16, (N, n), once for a trunk's weights. The
    rounding moves a cosine between two embeddings by less than 0.001 (`test_frozen_levels`).
    """

    def __init__(self, pixels: Pixels, backbone: MultiLevelBackbone) -> None:
        super().__init__(pixels.dataset, pixels.size, pixels.fit)
        cells = (pixels.size // 16) ** 2
        shape = (len(pixels.dataset.paths), cells * (4 * backbone.c2 + backbone.c3))
        digest = backbone.digest((*backbone.to_stride_8, *backbone.to_stride_16))
        what = f"levels-{digest}-{pixels.size}-{pixels.fit}"

        @torch.no_grad()
        def levels(part: slice) -> np.ndarray:
            rows = np.arange(shape[0])[part]
            images = backbone.normalize(pixels.take(rows))
            return backbone.pack(*backbone.levels(images)).half().numpy()

        was_training = backbone.training
        backbone.eval()
        self._file = cached_array(
            pixels.dataset, what, shape, np.float16, levels, "levels of the frozen trunk"
        )
        backbone.train(was_training)


def pixels_of(
    config: TrainConfig, dataset: PreparedDataset, backbone: MultiLevelBackbone
) -> Pixels:
    """What a run feeds its network with: pixels, or the levels of its frozen trunk."""
    pixels = Pixels(dataset, config.image_size, config.fit, config.cache)
    return FrozenLevels(pixels, backbone) if config.freeze_trunk else pixels
