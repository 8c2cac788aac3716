"""The maps of a frozen trunk, computed once: what makes a head train in minutes on one core."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels, cached_array
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone
from agman_lib.training.config import TrainConfig


class FrozenLevels(Pixels):
    """Stands in for `Pixels` where the trunk is frozen: `take` gives each image's packed levels.

    They are kept in the prepared folder's cache as float16, (N, n), once for a trunk's weights. The
    rounding moves a cosine between two embeddings by less than 0.001 (`test_frozen_levels`).

    Args:
        mirrored: keep the levels of the mirrored images, too: (2N, n), these last.
    """

    def __init__(
        self, pixels: Pixels, backbone: MultiLevelBackbone, mirrored: bool = False
    ) -> None:
        super().__init__(pixels.dataset, pixels.size, pixels.fit)
        self.mirrored = mirrored
        n = len(pixels.dataset.paths)
        shape = (n * (1 + mirrored), backbone.packed_size(pixels.size))
        digest = backbone.digest(backbone.trunk_stages)
        what = f"{'mirrored-' * mirrored}levels-{digest}-{pixels.size}-{pixels.fit}"

        @torch.no_grad()
        def levels(part: slice) -> np.ndarray:
            rows = np.arange(shape[0])[part]
            images = backbone.normalize(pixels.take(rows % n, rows >= n))
            return backbone.pack(*backbone.levels(images)).half().numpy()

        was_training = backbone.training
        backbone.eval()
        self._file = cached_array(
            pixels.dataset, what, shape, np.float16, levels, "levels of the frozen trunk"
        )
        backbone.train(was_training)

    def take(self, images: np.ndarray, mirrored: np.ndarray | None = None) -> Tensor:
        """The packed levels, float16 (n, …), of these image indices, mirrored where asked for."""
        if mirrored is None:
            return super().take(images)
        assert self.mirrored, "made without the mirrored images"
        return super().take(images + len(self.dataset.paths) * mirrored)


def pixels_of(
    config: TrainConfig, dataset: PreparedDataset, backbone: MultiLevelBackbone
) -> Pixels:
    """What a run feeds its network with: pixels, or the levels of its frozen trunk."""
    pixels = Pixels(dataset, config.image_size, config.fit, config.cache)
    return FrozenLevels(pixels, backbone, config.flip) if config.freeze_trunk else pixels
