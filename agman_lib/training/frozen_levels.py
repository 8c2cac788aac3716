"""The maps of a frozen trunk, computed once: what makes a head train in minutes on one core."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels, cached_array
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone
from agman_lib.training.config import TrainConfig


class FrozenLevels(Pixels):
    """Stands in for `Pixels` where the trunk is frozen: `take` gives each image's packed levels.

    They are kept in the prepared folder's cache as float16, (rows, n), once for a trunk's weights.
    The rounding moves a cosine between two embeddings by less than 0.001 (`test_frozen_levels`).
    The rows are all N images; then, where asked for, these mirrored; then each distorted copy.

    Args:
        mirrored: keep the levels of the mirrored images, too, and of the mirrored copies.
        distort: how many distorted copies to keep of each training image.
    """

    def __init__(
        self, pixels: Pixels, backbone: MultiLevelBackbone, mirrored: bool = False, distort: int = 0
    ) -> None:
        super().__init__(pixels.dataset, pixels.size, pixels.fit)
        every = np.arange(len(pixels.dataset.paths))
        training = np.unique(pixels.dataset.split_labels("train").image) if distort else every
        ways = [(k, flip) for k in range(1 + distort) for flip in range(1 + mirrored)]
        parts = [training if k else every for k, _ in ways]
        image = np.concatenate(parts)
        copy, flipped = (np.repeat(w, [len(p) for p in parts]) for w in np.transpose(ways))
        self._rows = np.full((1 + distort, 2, len(every)), -1)
        self._rows[copy, flipped, image] = np.arange(len(image))
        shape = (len(image), backbone.packed_size(pixels.size))
        digest = backbone.digest(backbone.trunk_stages)
        what = f"{'mirrored-' * mirrored}levels-{digest}-{pixels.size}-{pixels.fit}"
        if distort:
            what = f"distorted-{distort}-{crc32(training.tobytes()):08x}-{what}"

        @torch.no_grad()
        def levels(part: slice) -> np.ndarray:
            photos = pixels.take(image[part], flipped[part] > 0, copy[part])
            return backbone.pack(*backbone.levels(backbone.normalize(photos))).half().numpy()

        was_training = backbone.training
        backbone.eval()
        self._file = cached_array(
            pixels.dataset, what, shape, np.float16, levels, "levels of the frozen trunk"
        )
        backbone.train(was_training)

    def take(
        self,
        images: np.ndarray,
        mirrored: np.ndarray | None = None,
        copies: np.ndarray | None = None,
    ) -> Tensor:
        """The packed levels, float16 (n, …), of what `Pixels.take` gives."""
        none = np.zeros(len(images), int)
        rows = self._rows[
            none if copies is None else copies,
            none if mirrored is None else mirrored.astype(int),
            images,
        ]
        assert (rows >= 0).all(), "made without these mirrored images or copies"
        return super().take(rows)


def pixels_of(
    config: TrainConfig, dataset: PreparedDataset, backbone: MultiLevelBackbone
) -> Pixels:
    """What a run feeds its network with: pixels, or the levels of its frozen trunk."""
    pixels = Pixels(dataset, config.image_size, config.fit, config.cache)
    if not config.freeze_trunk:
        return pixels
    return FrozenLevels(pixels, backbone, config.flip, config.distort)
