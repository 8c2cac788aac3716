"""Maps over photos, channel bars, and the grid of an explanation: arrays in, pictures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agman_lib.networks.multi_level_backbone import STRIDE

TRUTH, RIGHT, WRONG = "#00d5ff", "#1a9850", "#d73027"
OPACITY, DARKEST = 0.85, 96  # of a map; of the grey picture under it
BAR, MASK = (76, 114, 176), (221, 132, 82)  # channel attention: blue; masks: orange


def upsample(heat: np.ndarray, height: int, width: int, offset: float) -> np.ndarray:
    """Maps (..., h, w) over the picture that they are of: (..., height, width), bilinear.

    A cell's value lies where the cell looks: the network's input has `STRIDE` h x `STRIDE` w
    pixels, and cell i is centred at the pixel of index `STRIDE` i + offset. Beyond the outermost
    cells' centres their values go on.

    Args:
        heat: on the grid of the extractor's output F.
        height, width: of the picture, which may be the input at any scale.
        offset: of the network's backbone (`MultiLevelBackbone.offset`).
    """
    heat = np.asarray(heat, np.float32)
    above, below, down = _between_cells(heat.shape[-2], height, offset)
    left, right, across = _between_cells(heat.shape[-1], width, offset)
    rows = heat[..., above, :]
    rows = rows + down[:, None] * (heat[..., below, :] - rows)
    start = rows[..., left]
    return start + across * (rows[..., right] - start)


def _between_cells(cells: int, pixels: int, offset: float) -> tuple[np.ndarray, ...]:
    """Of each of a side's pixels: the cell before it, the cell after it, and how far it is between.

    Pixel p's middle is at (p + 0.5) / scale - 0.5, as an index of the input's pixels.
    """
    scale = pixels / (STRIDE * cells)
    at = (np.arange(pixels) + 0.5) / scale - 0.5
    cell = np.clip((at - offset) / STRIDE, 0, cells - 1)
    before = np.floor(cell).astype(int)
    after = np.minimum(before + 1, cells - 1)
    return before, after, (cell - before).astype(np.float32)


def overlay(
    picture: np.ndarray,
    heat: np.ndarray | None,
    offset: float,
    opacity: float = OPACITY,
    boxes: np.ndarray | Sequence[Sequence[float]] = (),
    scale: int = 1,
) -> np.ndarray:
    """A map over the grey picture, and true boxes: where the map has its least value the picture
    alone is seen, and the larger the value, the brighter and denser the map's colour.

    The grey picture is lightened, so that a dark garment can be told from a dark colour of the map.

    Args:
        picture: uint8 (H, W, 3).
        heat: (h, w), or None for the picture itself, in colour.
        offset: where the map's cells look, as in `upsample`.
        opacity: of the map where it is largest, 0 to 1; elsewhere it goes with the root of the
            value.
        boxes: (R, 4) as x0, y0, x1, y1 in the picture's pixels.
        scale: so many pixels a side for each of the picture's.

    Returns:
        uint8 (scale H, scale W, 3).
    """
    large = picture.repeat(scale, 0).repeat(scale, 1)
    if heat is not None:
        height, width = large.shape[:2]
        stretched = upsample(heat, height, width, offset)
        span = stretched.max() - stretched.min()
        level = (stretched - stretched.min()) / (span if span > 0 else 1)
        colours = _HEAT[np.rint(255 * level).astype(np.uint8)]
        grey = DARKEST + (255 - DARKEST) / 255 * large.mean(2, dtype=np.float32)[..., None]
        dense = opacity * np.sqrt(level)[..., None]
        large = np.rint((1 - dense) * grey + dense * colours).astype(np.uint8)
    for box in boxes:
        _frame(large, np.rint(np.asarray(box) * scale).astype(int), width=max(1, scale // 2 + 1))
    return large


_HEAT = np.rint(255 * colormaps["inferno"](np.arange(256))[:, :3]).astype(np.float32)


def _frame(picture: np.ndarray, box: np.ndarray, width: int) -> None:
    """Draw a box's inner edge into a picture, in place."""
    height, breadth = picture.shape[:2]
    x0, x1 = np.clip(box[[0, 2]], 0, breadth)
    y0, y1 = np.clip(box[[1, 3]], 0, height)
    colour = np.array([int(TRUTH[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
    inside = np.zeros((height, breadth), bool)
    inside[y0:y1, x0:x1] = True
    inside[y0 + width : max(y1 - width, 0), x0 + width : max(x1 - width, 0)] = False
    picture[inside] = colour


def channel_bars(
    values: np.ndarray, mask: np.ndarray | None = None, groups: int = 64, height: int = 64
) -> np.ndarray:
    """Channel attention as bars, and the mask as marks, in the order of the channels.

    Args:
        values: (D,) from 0 at the foot to 1 at the top.
        mask: (D,), cut at 1; or None.
        groups: bars: each is the mean of so many neighbouring channels as make ``groups`` of D.

    Returns:
        uint8 (height, 4 groups, 3).
    """
    bars = np.full((height, 4 * groups, 3), 255, np.uint8)
    up = np.arange(height, 0, -1)[:, None]

    def levels(of: np.ndarray) -> np.ndarray:
        means = [part.mean() for part in np.array_split(np.clip(of, 0, 1), groups)]
        return np.rint(height * np.repeat(means, 4))

    apart = np.arange(4 * groups) % 4 < 3
    bars[(up <= levels(values)) & apart] = BAR
    if mask is not None:
        top = np.maximum(levels(mask), 3)
        bars[(up <= top) & (up > top - 3) & apart] = MASK
    return bars


@dataclass(frozen=True)
class ExplanationRow:
    """One photo under one attribute: the picture, maps over it, channel attention, what is found.

    ``pictures`` are uint8 (H, W, 3) by their title, ``bars`` is from `channel_bars`; ``right`` is
    None where a value is not known.
    """

    label: str
    pictures: Mapping[str, np.ndarray]
    bars: np.ndarray | None
    found: Sequence[np.ndarray]
    captions: Sequence[str]
    right: Sequence[bool | None]


def explanation_grid(rows: Sequence[ExplanationRow], title: str) -> Figure:
    """A line for each row: its pictures, the channel attention, and what is retrieved."""
    n_pictures = max(len(r.pictures) for r in rows)
    n_bars = int(any(r.bars is not None for r in rows))
    n_columns = n_pictures + n_bars + max(len(r.found) for r in rows)
    figure = Figure(figsize=(1.25 * n_columns + 1.1, 1.75 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for cell in line:
            bare(cell)
        label = row.label.replace("_", " ").replace(" ", "\n")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        for cell, (name, picture) in zip(line, row.pictures.items(), strict=False):
            cell.imshow(picture)
            cell.set_title(name, fontsize=8, pad=2)
        if row.bars is not None:
            bars = line[n_pictures]
            bars.imshow(row.bars, aspect="auto")
            bars.set_box_aspect(1)
            bars.set_title("channels", fontsize=8, pad=2)
        found = zip(line[n_pictures + n_bars :], row.found, row.captions, row.right, strict=False)
        for cell, picture, caption, right in found:
            cell.imshow(picture)
            caption_under(cell, caption, right)
    figure.suptitle(title, fontsize=9)
    return figure


def caption_under(axes: Axes, caption: str, right: bool | None) -> None:
    """A caption with a green tick or a red cross, where it is known whether it is right."""
    colour = "black" if right is None else RIGHT if right else WRONG
    text = caption.replace("_", " ")
    axes.set_title(mark(right) + text, fontsize=8, pad=2, color=colour)
    for spine in axes.spines.values():
        spine.set(visible=right is not None, color=colour, linewidth=2)


def mark(right: bool | None) -> str:
    """A tick, a cross, or nothing where it is not known."""
    return "" if right is None else "✓ " if right else "✗ "


def bare(axes: Axes) -> None:
    """Axes without ticks and frame."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
