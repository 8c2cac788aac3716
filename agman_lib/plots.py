"""Pure plotting: data in, matplotlib figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

TRUTH, RIGHT, WRONG = "#00d5ff", "#1a9850", "#d73027"


def training_curve(log: pd.DataFrame, random: float, metric: str = "MAP") -> Figure:
    """Losses over the steps, and the validation score beside a random ranking's.

    Args:
        log: ``Run.log``.
        random: the random row, percent.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps_per_epoch = log["step"].max()
    step = (log["epoch"] - 1) * steps_per_epoch + log["step"]
    left.plot(step, log["triplet"], label="triplet loss")
    if (log["classification"] > 0).any():
        left.plot(step, log["classification"], label="same-attribute classification loss")
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    left.legend(frameon=False)
    scored = log.dropna(subset=["valid"])
    right.plot(scored["epoch"], scored["valid"], "o-", label="validation")
    right.axhline(random, color="grey", linestyle="--", label="random ranking")
    right.set(xlabel="epoch", ylabel=f"{metric} (%)", xticks=scored["epoch"])
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


@dataclass(frozen=True)
class AttentionExample:
    """An image uint8 (H, W, 3), its spatial attention (h, w), true boxes (R, 4), and a caption."""

    image: np.ndarray
    attention: np.ndarray
    boxes: np.ndarray
    caption: str


def upsample(attention: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map (h, w) stretched bilinearly to (height, width), for showing."""
    from PIL import Image

    small = Image.fromarray(np.asarray(attention, np.float32))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def attention_rows(rows: Mapping[str, Sequence[AttentionExample]], title: str) -> Figure:
    """A row for each attribute: every image with its true region, and the attention beside it."""
    n_columns = 2 * max(len(r) for r in rows.values())
    figure = Figure(figsize=(1.35 * n_columns + 1.1, 1.62 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for line, (name, examples) in zip(axes, rows.items(), strict=True):
        for cell in line:
            _bare(cell)
        line[0].set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=9)
        for k, example in enumerate(examples):
            plain, overlaid = line[2 * k], line[2 * k + 1]
            plain.imshow(example.image)
            plain.set_title(example.caption.replace("_", " "), fontsize=8, pad=2)
            overlaid.imshow(example.image.mean(2), cmap="gray", vmin=0, vmax=255)
            heat = upsample(example.attention, *example.image.shape[:2])
            overlaid.imshow(heat, cmap="inferno", alpha=0.65)
            for axes_ in (plain, overlaid):
                for x0, y0, x1, y1 in example.boxes:
                    box = Rectangle(
                        (x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=TRUTH, lw=1.2
                    )
                    axes_.add_patch(box)
    figure.suptitle(title, fontsize=9)
    return figure


@dataclass(frozen=True)
class RetrievalExample:
    """A query image with its value, and the first candidates with theirs."""

    attribute: str
    query: np.ndarray
    query_value: str
    found: Sequence[np.ndarray]
    found_values: Sequence[str]
    right: Sequence[bool]


def retrieval_grid(rows: Sequence[RetrievalExample], title: str) -> Figure:
    """A row for each query: the query, then what is ranked first; green is right, red wrong."""
    n_columns = 1 + max(len(r.found) for r in rows)
    figure = Figure(figsize=(1.35 * n_columns + 1.1, 1.65 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for cell in line:
            _bare(cell)
        label = row.attribute.replace("_", "\n")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        line[0].imshow(row.query)
        line[0].set_title(f"query: {row.query_value}".replace("_", " "), fontsize=8, pad=2)
        for cell, image, value, right in zip(
            line[1:], row.found, row.found_values, row.right, strict=False
        ):
            cell.imshow(image)
            colour = RIGHT if right else WRONG
            text = ("✓ " if right else "✗ ") + value.replace("_", " ")
            cell.set_title(text, fontsize=8, pad=2, color=colour)
            for spine in cell.spines.values():
                spine.set(visible=True, color=colour, linewidth=2)
    figure.suptitle(title, fontsize=9)
    return figure


def comparison_chart(
    table: pd.DataFrame,
    of_seeds: Mapping[str, Sequence[float]],
    random: float,
    metric: str = "MAP",
) -> Figure:
    """A line for each network: every seed, their mean, and its 95 % interval over queries.

    Args:
        table: `compare.Comparison.table`.
        of_seeds: the score of each seed of each network, percent.
        random: the random row, percent.
    """
    figure = Figure(figsize=(7.5, 0.5 * len(table) + 1.2), layout="constrained")
    axes = figure.subplots()
    for y, (name, row) in enumerate(table.iterrows()):
        axes.plot([row["low"], row["high"]], [y, y], color="C0", lw=2, alpha=0.5)
        seeds = of_seeds[str(name)]
        axes.plot(seeds, np.full(len(seeds), y), "o", color="C0", ms=4, mfc="white")
        axes.plot(row["MAP"], y, "D", color="C0", ms=7)
    axes.axvline(random, color="grey", linestyle="--", label="random ranking")
    axes.plot([], [], "D", color="C0", label="mean over seeds, 95 % interval over queries")
    axes.plot([], [], "o", color="C0", mfc="white", label="a seed")
    axes.set(yticks=range(len(table)), yticklabels=table.index, xlabel=f"{metric} (%)")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _bare(axes) -> None:  # type: ignore[no-untyped-def]
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
