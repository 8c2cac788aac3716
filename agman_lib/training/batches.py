"""The batches of a training epoch, made from the seed, the epoch and the step alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.data.triplets import LabelIndex, Triplets
from agman_lib.training.config import TrainConfig


@dataclass(frozen=True)
class Batch:
    """One step's input."""

    images: Tensor  # uint8 (N, 3, S, S), or the levels of a frozen trunk (N, n)
    attributes: Tensor  # (N,)
    relation: Tensor | None  # (N, N), of samplers batch and labels
    values: Tensor | None  # (N,) within their attributes, of samplers batch and labels
    classes: Tensor | None  # (N,), where the class branch does not tell apart the attributes

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""

        def there(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        rest = there(self.relation), there(self.values), there(self.classes)
        return Batch(self.images.to(device), self.attributes.to(device), *rest)


class EpochBatches(Dataset):
    """The steps of one epoch, each made from (seed, epoch, step) alone.

    Args:
        rank: which process this is; each gets its share of every batch.
        processes: how many there are in all.
        classes: of each image of the data set, as `branch_classes` gives them.
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
        classes: np.ndarray | None = None,
    ) -> None:
        self.config, self.pixels, self.index, self.epoch = config, pixels, index, epoch
        self.rank, self.processes, self.classes = rank, processes, classes
        self.triplets: Triplets | None = None
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
            self.flips, self.copies = self._ways((3, n), rng)

    def _ways(
        self, shape: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Which images are mirrored, and which copy of each is taken; None: none, the photo."""
        mirrored = rng.random(shape) < 0.5
        k = self.config.distort
        copies = rng.integers(1 + k, size=shape) if k else None
        return mirrored if self.config.flip else None, copies

    def __len__(self) -> int:
        return self.config.steps_per_epoch

    def __getitem__(self, step: int) -> Batch | AgmanError:
        try:
            return self._batch(step)
        except AgmanError as error:  # raised in a loader process, it would lose its plain message
            return error

    def _batch(self, step: int) -> Batch:
        if self.triplets is not None:
            size = self.config.batch_size
            rows = np.arange(step * size, (step + 1) * size)[self.rank :: self.processes]
            t = self.triplets
            image = np.concatenate([t.anchor[rows], t.negative[rows], t.positive[rows]])
            attribute, relation, values = np.tile(t.attribute[rows], 3), None, None
            mirrored, copies = (
                None if way is None else way[:, rows].ravel() for way in (self.flips, self.copies)
            )
        else:
            assert self.index is not None
            rng = np.random.default_rng([self.config.seed, self.epoch, step, self.rank])
            if self.config.sampler == "labels":
                batch = self.index.draw_labels(3 * self.config.batch_size // self.processes, rng)
            else:
                groups = self.config.batch_groups // self.processes
                batch = self.index.draw_batch(
                    groups, self.config.values_per_attribute, self.config.images_per_value, rng
                )
            image, attribute = batch.image, batch.attribute
            relation = torch.from_numpy(self.index.relation(batch))
            values = torch.from_numpy(batch.value)
            mirrored, copies = self._ways(image.shape, rng)
        pixels = self.pixels.take(image, mirrored, copies)
        classes = None if self.classes is None else torch.from_numpy(self.classes[image])
        return Batch(pixels, torch.from_numpy(attribute), relation, values, classes)


def branch_classes(config: TrainConfig, dataset: PreparedDataset) -> np.ndarray | None:
    """What the class branch tells apart, where that is not the attribute: a class an image (N,).

    "kind" takes the kinds of products in ``kinds.csv``. "shuffled" deals the attributes that the
    training images are labelled for among these images anew, so that the classes are as frequent
    as before and say nothing about the photo.

    Raises:
        AgmanError: the data set has no kinds, or more than the branch has outputs.
    """
    if config.branch_classes == "attribute":
        return None
    if config.branch_classes == "shuffled":
        labels = dataset.split_labels("train")
        images, first = np.unique(labels.image, return_index=True)
        classes = np.zeros(len(dataset.images), np.int64)
        rng = np.random.default_rng([config.seed, len(images)])
        classes[images] = rng.permutation(labels.attribute[first])
        return classes
    file = dataset.folder / "kinds.csv"
    if not file.is_file():
        raise AgmanError(f"{file}: missing, and --branch-classes kind reads the kinds from it")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    kind = dict(zip(table["image"], table["kind"], strict=True))
    names = sorted(set(kind.values()))
    missing = sorted(set(dataset.images["image"]) - kind.keys())
    if missing or len(names) > dataset.n_attributes:
        why = f"no kind of image {missing[0]!r}" if missing else f"{len(names)} kinds"
        raise AgmanError(
            f"{file}: {why}; every image needs one of at most {dataset.n_attributes} kinds, the "
            "number of attributes and so of the branch's outputs"
        )
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[kind[image]] for image in dataset.images["image"]], np.int64)
