"""Pure plotting: data in, matplotlib figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from agman_lib.explain.overlays import TRUTH as TRUTH  # offered here too
from agman_lib.explain.overlays import bare, caption_under, overlay
from agman_lib.explain.overlays import upsample as upsample


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


def attention_rows(
    rows: Mapping[str, Sequence[AttentionExample]], title: str, offset: float
) -> Figure:
    """A row for each attribute: every image with its true region, and the attention beside it.

    ``offset`` says where the attention's cells look, as in `overlays.upsample`.
    """
    n_columns = 2 * max(len(r) for r in rows.values())
    figure = Figure(figsize=(1.35 * n_columns + 1.1, 1.62 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for line, (name, examples) in zip(axes, rows.items(), strict=True):
        for cell in line:
            bare(cell)
        line[0].set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=9)
        for k, example in enumerate(examples):
            plain, overlaid = line[2 * k], line[2 * k + 1]
            plain.imshow(example.image)
            plain.set_title(example.caption.replace("_", " "), fontsize=8, pad=2)
            overlaid.imshow(overlay(example.image, example.attention, offset))
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
            bare(cell)
        label = row.attribute.replace("_", "\n")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        line[0].imshow(row.query)
        line[0].set_title(f"query: {row.query_value}".replace("_", " "), fontsize=8, pad=2)
        for cell, image, value, right in zip(
            line[1:], row.found, row.found_values, row.right, strict=False
        ):
            cell.imshow(image)
            caption_under(cell, value, right)
    figure.suptitle(title, fontsize=9)
    return figure


def localisation_chart(
    table: pd.DataFrame,
    of_seeds: pd.DataFrame,
    names: Mapping[str, str],
    measures: Sequence[str] = ("pointing", "energy", "IoU"),
) -> Figure:
    """A line for each network and map, a panel for each measure: trained, untrained, references.

    Args:
        table: rows with network, map, weights (trained, untrained, none) and the measures, percent.
        of_seeds: the same of each seed.
        names: what the maps are called.
    """
    key = ["network", "map"]
    trained, untrained = (table[table["weights"].eq(w)] for w in ("trained", "untrained"))
    lines = list(trained[key].itertuples(index=False, name=None))
    figure = Figure(figsize=(8.6, 0.3 * len(lines) + 1.3), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        for y, (network, name) in enumerate(lines):
            of = of_seeds[of_seeds["network"].eq(network) & of_seeds["map"].eq(name)]
            values = of.loc[of["weights"].eq("trained"), measure]
            axes.plot(values, np.full(len(values), y), "o", color="C0", ms=4, mfc="white")
        axes.plot(trained[measure], range(len(lines)), "D", color="C0", ms=6)
        axes.plot(untrained[measure], range(len(lines)), "x", color="C1", ms=6)
        for reference, style in (("uniform", "--"), ("centre", ":")):
            at = table.loc[table["map"].eq(reference), measure].item()
            axes.axvline(at, color="grey", linestyle=style)
        axes.set(xlabel=f"{measure} (%)", xlim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(yticks=range(len(lines)), yticklabels=[f"{n}: {names[m]}" for n, m in lines])
    panels[0].invert_yaxis()
    for marker, colour, label in (
        ("D", "C0", "trained, mean"), ("o", "C0", "trained, a seed"), ("x", "C1", "untrained, mean")
    ):  # fmt: skip
        panels[0].plot(
            [], [], marker, color=colour, label=label, mfc="white" if marker == "o" else colour
        )
    panels[0].plot([], [], "--", color="grey", label="uniform map")
    panels[0].plot([], [], ":", color="grey", label="centre")
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    return figure
