"""Splitting images that carry several labels each."""

from __future__ import annotations

import numpy as np

CELLS = ("train", "valid_query", "valid_candidate", "test_query", "test_candidate")


def assign_cells(
    values: np.ndarray, shares: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Spread images over cells so that every value has the same shares in each.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011): again and again the value
    with the fewest unassigned images is taken, and its images go, in random order, to the cell
    that lacks most of this value; among equals to the cell that lacks most images.

    Args:
        values: (N, A), each image's values as numbers from 0; -1 where it has no label. Every
            image has at least one.
        shares: (C,), the wanted share of each cell, together 1.
        generator: gives the random order.

    Raises:
        ValueError: an image has the same value twice.

    Returns:
        The cell of each image, int64 (N,).
    """
    order = generator.permutation(len(values))
    unassigned = np.bincount(values[values >= 0])
    wanted = unassigned[:, None] * shares
    wanted_images = len(values) * shares
    cells = np.full(len(values), -1, np.int64)
    while unassigned.any():
        rarest = np.where(unassigned > 0, unassigned, len(values) + 1).argmin()
        has_it = (values == rarest).any(axis=1) & (cells < 0)
        if not has_it.any():  # otherwise this would go round forever
            raise ValueError("an image has the same value twice")
        for image in order[has_it[order]]:
            cell = np.lexsort((wanted_images, wanted[rarest]))[-1]
            own = values[image][values[image] >= 0]
            cells[image] = cell
            wanted[own, cell] -= 1
            wanted_images[cell] -= 1
            unassigned[own] -= 1
    return cells
