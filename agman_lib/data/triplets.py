"""Triplets (anchor, negative, positive, attribute) from labels: sampled, all of a batch, or listed.

ASEN draws the attribute uniformly, then the value, then anchor and positive among that value's
images, and the negative uniformly among the *images* with another value, which favours frequent
values. ASEN++ draws the negative's *value* first. Everything is vectorised and seeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from agman_lib.base.errors import AgmanError, check_choice
from agman_lib.data.dataset import Labels, PreparedDataset

Negatives = Literal["asen", "asen++"]
ROUNDS = 20  # redraws before the remaining rows are settled by looking at every candidate


@dataclass(frozen=True)
class Triplets:
    """Image indices and attribute indices, int64, each (T,)."""

    anchor: np.ndarray
    negative: np.ndarray
    positive: np.ndarray
    attribute: np.ndarray

    def __len__(self) -> int:
        return len(self.anchor)


class LabelIndex:
    """Labels grouped for sampling.

    Args:
        labels: the rows of one split, without doubles.

    Attributes:
        usable: (V, 2) attribute and value of the groups that can give anchors: two images or more,
            and another value of the same attribute to take negatives from.
        skipped: (S, 3) attribute, value and number of images of the groups that cannot.
    """

    def __init__(self, labels: Labels) -> None:
        order = np.lexsort((labels.image, labels.value, labels.attribute))
        self.labels = labels.where(order)
        keys = np.stack([self.labels.attribute, self.labels.value], axis=1)
        groups, start, size = np.unique(keys, axis=0, return_index=True, return_counts=True)
        first = np.searchsorted(self.labels.attribute, groups[:, 0], side="left")
        last = np.searchsorted(self.labels.attribute, groups[:, 0], side="right")
        good = (size >= 2) & (last - first > size)
        self.usable = groups[good]
        self.skipped = np.column_stack([groups, size])[~good]
        # Row ranges of every group, and of the attribute's block it lies in.
        self._groups, self._start, self._size = groups, start, size
        self._first, self._last = first, last
        self._group_of = np.flatnonzero(good)
        self._set_up_values()

    def _set_up_values(self) -> None:
        """A table of the values that an (image, attribute) pair has, padded with -1."""
        labels = self.labels
        self._n_attributes = int(labels.attribute.max()) + 1
        pair = labels.image * self._n_attributes + labels.attribute
        order = np.argsort(pair, kind="stable")
        self._pairs, start, count = np.unique(pair[order], return_index=True, return_counts=True)
        self._values = np.full((len(self._pairs), count.max()), -1)
        column = np.arange(len(pair)) - np.repeat(start, count)
        self._values[np.repeat(np.arange(len(count)), count), column] = labels.value[order]

    @property
    def several_values(self) -> bool:
        """Whether some image has more than one value of an attribute."""
        return self._values.shape[1] > 1

    def values_of(self, image: np.ndarray, attribute: np.ndarray) -> np.ndarray:
        """The values (n, K) of labelled (image, attribute) pairs, padded with -1."""
        return self._values[np.searchsorted(self._pairs, image * self._n_attributes + attribute)]

    def share(self, one: np.ndarray, other: np.ndarray, attribute: np.ndarray) -> np.ndarray:
        """Whether two labelled images (n,) have a value of the attribute (n,) in common."""
        a, b = self.values_of(one, attribute), self.values_of(other, attribute)
        return ((a[:, :, None] == b[:, None, :]) & (a >= 0)[:, :, None]).any(axis=(1, 2))

    def check_usable(self) -> None:
        """Raise AgmanError where no triplet can be drawn."""
        if not len(self.usable):
            raise AgmanError(
                "no triplets can be drawn: an attribute needs a value with two training images "
                "or more, and an image with another value"
            )

    def draw_groups(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n usable groups: the attribute uniform, then the value uniform."""
        self.check_usable()
        attributes, start, count = np.unique(
            self.usable[:, 0], return_index=True, return_counts=True
        )
        a = rng.integers(len(attributes), size=n)
        return self._group_of[start[a] + rng.integers(count[a])]

    def draw_negatives(
        self, group: np.ndarray, how: Negatives, rng: np.random.Generator
    ) -> np.ndarray:
        """For each group, a row of the same attribute's block outside the group."""
        start, size = self._start[group], self._size[group]
        first, last = self._first[group], self._last[group]
        if how == "asen":
            row = first + rng.integers(last - first - size)
            return np.where(row >= start, row + size, row)
        low = np.searchsorted(self._start, first)  # the block's groups are low … high
        high = np.searchsorted(self._start, last)
        other = low + rng.integers(high - low - 1)
        other = np.where(other >= group, other + 1, other)
        return self._start[other] + rng.integers(self._size[other])

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        negatives: Negatives = "asen",
        allow_shared: bool = False,
    ) -> Triplets:
        """Draw n triplets.

        Args:
            negatives: "asen" (uniform among images) or "asen++" (the value first).
            allow_shared: where an image has several values of an attribute, let a negative share
                one with the anchor, as the published sampler does. By default it never does.

        Raises:
            AgmanError: no triplet can be drawn.
        """
        check_choice("negatives", negatives, Negatives)
        group = self.draw_groups(n, rng)
        i = rng.integers(self._size[group])
        j = (i + 1 + rng.integers(self._size[group] - 1)) % self._size[group]
        anchor, positive = self._start[group] + i, self._start[group] + j
        negative = self.draw_negatives(group, negatives, rng)
        if self.several_values and not allow_shared:
            negative = self._without_shared(group, anchor, negative, negatives, rng)
            lost = negative < 0
            if lost.all():
                raise AgmanError("no triplets can be drawn: every image shares a value with all")
            if lost.any():  # such anchors have no negative at all: others take their place
                other = rng.choice(np.flatnonzero(~lost), lost.sum())
                for rows in (anchor, positive, negative):
                    rows[lost] = rows[other]
        image = self.labels.image
        attribute = self.labels.attribute[anchor]
        return Triplets(image[anchor], image[negative], image[positive], attribute)

    def _without_shared(
        self,
        group: np.ndarray,
        anchor: np.ndarray,
        negative: np.ndarray,
        how: Negatives,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Redraw negatives that share a value with their anchor; -1 where there is none."""
        image, attribute = self.labels.image, self.labels.attribute
        for _ in range(ROUNDS):
            shared = self.share(image[anchor], image[negative], attribute[anchor])
            if not shared.any():
                return negative
            rows = np.flatnonzero(shared)
            negative[rows] = self.draw_negatives(group[rows], how, rng)
        for row in np.flatnonzero(self.share(image[anchor], image[negative], attribute[anchor])):
            block = np.arange(self._first[group[row]], self._last[group[row]])
            same = np.full(len(block), image[anchor[row]])
            free = block[~self.share(same, image[block], attribute[block])]
            negative[row] = rng.choice(free) if len(free) else -1
        return negative

    def draw_batch(
        self, n_attributes: int, n_values: int, n_images: int, rng: np.random.Generator
    ) -> Labels:
        """A batch of P values x K images for several attributes: many triplets for its size.

        Args:
            n_attributes: attributes drawn, with replacement when there are fewer.
            n_values: P, values of each (fewer where it has fewer).
            n_images: K, images of each value (fewer where it has fewer).
        """
        self.check_usable()
        attributes, rows = np.unique(self.usable[:, 0]), []
        for a in rng.choice(attributes, n_attributes, replace=n_attributes > len(attributes)):
            block = np.flatnonzero(self._groups[:, 0] == a)
            for group in rng.permutation(block)[:n_values]:
                size = self._size[group]
                pick = rng.choice(size, min(size, n_images), replace=False)
                rows.append(self._start[group] + pick)
        return self.labels.where(np.concatenate(rows))

    def draw_labels(self, n: int, rng: np.random.Generator) -> Labels:
        """n labels: the attribute uniform, then the image uniform among those labelled for it."""
        self.check_usable()
        first, last = np.unique(self._first[self._group_of]), np.unique(self._last[self._group_of])
        a = rng.integers(len(first), size=n)
        return self.labels.where(first[a] + rng.integers(last[a] - first[a]))

    def relation(self, batch: Labels) -> np.ndarray:
        """How the items of a batch (N,) relate (N, N): 1 a positive pair, -1 negative, 0 neither.

        Positive: two images with a value of the same attribute in common; negative: none in common.
        """
        i, j = np.divmod(np.arange(len(batch) ** 2), len(batch))
        same = batch.attribute[i] == batch.attribute[j]
        usable = same & (batch.image[i] != batch.image[j])
        relation = np.zeros(len(i), np.int8)
        i, j = i[usable], j[usable]
        share = self.share(batch.image[i], batch.image[j], batch.attribute[i])
        relation[usable] = np.where(share, 1, -1)
        return relation.reshape(len(batch), len(batch))


def listed_triplets(dataset: PreparedDataset, split: str) -> Triplets:
    """The triplets that ``triplets.csv`` lists for a split.

    Raises:
        AgmanError: the data set has none.
    """
    table = dataset.triplets
    table = None if table is None else table[table["split"].eq(split)]
    if table is None or table.empty:
        raise AgmanError(f"{dataset.folder}: triplets.csv lists no triplet of split {split!r}")
    index = {image: i for i, image in enumerate(dataset.images["image"])}
    attribute = table["attribute"].map({a: i for i, a in enumerate(dataset.attribute_names)})
    return Triplets(
        **{c: table[c].map(index).to_numpy(np.int64) for c in ("anchor", "negative", "positive")},
        attribute=attribute.to_numpy(np.int64),
    )
