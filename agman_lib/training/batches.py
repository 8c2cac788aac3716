"""The batches of a training epoch, made from the seed, the epoch and the step alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from agman_lib.base.errors import AgmanError
from agman_lib.data.pixels import Pixels
from agman_lib.data.triplets import LabelIndex, Triplets
from agman_lib.training.config import TrainConfig


@dataclass(frozen=True)
class Batch:
    """One step's input: images uint8 (N, 3, S, S), attributes (N,), relation (N, N) or None."""

    images: Tensor
    attributes: Tensor
    relation: Tensor | None


class EpochBatches(Dataset):
    """The steps of one epoch, each made from (seed, epoch, step) alone.

    Args:
        rank: which process this is; each gets its share of every batch.
        processes: how many there are in all.
    """

    def __init__(
        self,
        config: TrainConfig,
        pixels: Pixels,
        index: LabelIndex | None,
        listed: Triplets | None,
        epoch: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.config, self.pixels, self.index, self.epoch = config, pixels, index, epoch
        self.rank, self.processes = rank, processes
        self.triplets, self.flips = None, None
        rng = np.random.default_rng([config.seed, epoch])
        n = config.steps_per_epoch * config.batch_size
        if listed is not None:
            rounds = -(-n // len(listed))
            rows = np.concatenate([rng.permutation(len(listed)) for _ in range(rounds)])[:n]
            columns = (listed.anchor, listed.negative, listed.positive, listed.attribute)
            self.triplets = Triplets(*(c[rows] for c in columns))
        elif config.sampler == "triplets":
            assert index is not None
            self.triplets = index.sample(n, rng, config.negatives, config.allow_shared)
        if self.triplets is not None:
            self.flips = rng.random((3, n)) < 0.5

    def __len__(self) -> int:
        return self.config.steps_per_epoch

    def __getitem__(self, step: int) -> Batch | AgmanError:
        try:
            return self._batch(step)
        except AgmanError as error:  # raised in a loader process, it would lose its plain message
            return error

    def _batch(self, step: int) -> Batch:
        if self.triplets is not None and self.flips is not None:
            size = self.config.batch_size
            rows = np.arange(step * size, (step + 1) * size)[self.rank :: self.processes]
            t = self.triplets
            image = np.concatenate([t.anchor[rows], t.negative[rows], t.positive[rows]])
            attribute, relation = np.tile(t.attribute[rows], 3), None
            flip = self.flips[:, rows].ravel()
        else:
            assert self.index is not None
            rng = np.random.default_rng([self.config.seed, self.epoch, step, self.rank])
            groups = self.config.batch_groups // self.processes
            batch = self.index.draw_batch(
                groups, self.config.values_per_attribute, self.config.images_per_value, rng
            )
            image, attribute = batch.image, batch.attribute
            relation = torch.from_numpy(self.index.relation(batch))
            flip = rng.random(len(image)) < 0.5
        pixels = self.pixels.take(image)
        if self.config.flip:
            mirrored = torch.from_numpy(flip)
            pixels[mirrored] = pixels[mirrored].flip(3)
        return Batch(pixels, torch.from_numpy(attribute), relation)
