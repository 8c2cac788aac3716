"""Distorted copies stay within what the module promises, and use all of it."""

from __future__ import annotations

import numpy as np
import torch

from agman_lib.data.distortion import distort

SIZE = 160


def test_a_copy_is_turned_moved_resized_and_coloured_by_as_much_as_is_said():
    photo = torch.full((3, SIZE, SIZE), 60, dtype=torch.uint8)
    photo[0, 78:82, 38:42] = photo[2, 78:82, 118:122] = 200  # a red and a blue spot, 80 px apart
    grid = torch.arange(SIZE) + 0.5
    turned, resized, moved, brightness = [], [], [], []
    for number in range(150):
        copy = distort(photo, (7, 0, number)).double()
        assert copy.equal(distort(photo, (7, 0, number)).double())
        colours = copy[0] - copy[2], copy[2] - copy[0]  # grey, and the white from outside, are 0
        spots = [(c > c.max() / 2).double() for c in colours]
        red, blue = (
            torch.stack([s.sum(0) @ grid.double(), s.sum(1) @ grid.double()]) / s.sum()
            for s in spots
        )
        across = (blue - red).numpy()
        turned.append(np.degrees(np.arctan2(across[1], across[0])))
        resized.append(np.hypot(*across) / 80)
        moved += (((red + blue) / 2).numpy() / SIZE - 0.5).tolist()
        brightness.append(copy[1, 70:90, 60:100].median().item() / 60)
    for found, least, most, slack in (
        (turned, -10, 10, 0.5), (resized, 0.85, 1.2, 0.01), (moved, -0.08, 0.08, 0.005),
        (brightness, 0.7, 1.3, 0.12),  # contrast moves this grey, too
    ):  # fmt: skip
        assert least - slack < min(found) < least + 0.15 * (most - least)
        assert most + slack > max(found) > most - 0.15 * (most - least)
