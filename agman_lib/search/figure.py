"""A search as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ranking_figure(
    rows: Sequence[tuple[str, Sequence[Image.Image], Sequence[str]]], k: int
) -> Figure:
    """A row for each attribute: its name, then the query and what was found, a text above each.

    Args:
        rows: (attribute, pictures, texts); the first picture is the query.
        k: how many are found at most, which gives the width.
    """
    from matplotlib.figure import Figure  # takes a while to import

    figure = Figure(figsize=(1.2 * k + 1.9, 1.5 * len(rows)), layout="constrained")
    cells = figure.subplots(len(rows), k + 1, squeeze=False)
    for axes in cells.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for line, (name, pictures, texts) in zip(cells, rows, strict=True):
        line[0].set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=9)
        for axes, picture, text in zip(line, pictures, texts, strict=False):
            picture.thumbnail((200, 200))
            axes.imshow(np.asarray(picture))
            axes.set_title(text, fontsize=8, pad=2)
    return figure
