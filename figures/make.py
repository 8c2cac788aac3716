"""Make the pictures again that need no training.

These are a search with the network that comes with the package, the architecture, and the charts of
the committed comparisons.

python figures/make.py        (``make figures`` also makes those of the quickstart, by training)
"""

from __future__ import annotations

import itertools
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from agman_lib.comparison.chart import comparison_chart
from agman_lib.course import results, start_model
from agman_lib.data import PreparedDataset
from agman_lib.explain.maps import MAPS
from agman_lib.explain.plots import RetrievalExample, localisation_chart, retrieval_grid
from agman_lib.search import Gallery
from data_prep.garments import prepare

HERE = Path(__file__).resolve().parent
COMPARISONS = (
    "experiment-photos",
    "experiment-garments",
    "comparison-photos",
    "comparison-garments",
    "ablation-garments",
)
ASKED = ("neckline", "skirt_length")
RESNET, NEW, ATTRIBUTE, OUT = "#dfe7f2", "#fde3c8", "#d9ecd6", "#f3d9e6"


def query() -> Figure:
    """One garment searched for under two attributes, by the network that comes with the package.

    The garments are those of notebook 00, which the network was not trained on. The query is the
    first of them that has both attributes: nobody chose it. As in every evaluation here, it is
    searched for among the garments that have the attribute.
    """
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "garments"
        prepare(
            drawn,
            train=300,
            valid_queries=1,
            valid_candidates=1,
            test_queries=1,
            test_candidates=2,
            labels="all",
            seed=100,
        )
        gallery = Gallery.build(*start_model(), PreparedDataset.load(drawn))
        values = gallery.items[list(ASKED)]
        row = int(np.flatnonzero(values.ne("").all(axis=1))[0])
        examples = [_found(gallery, row, attribute) for attribute in ASKED]
    title = "The first garment that has both attributes (not chosen), and its first six under each"
    return retrieval_grid(examples, title)


def _found(gallery: Gallery, row: int, attribute: str, k: int = 6) -> RetrievalExample:
    """A query and the first k garments that have the attribute, as `retrieval_grid` draws them."""
    ranking = gallery.search(row, attribute, len(gallery))
    found = ranking[ranking["value"].ne("")].head(k)
    asked = gallery.items[attribute].iloc[row]
    return RetrievalExample(
        attribute,
        np.asarray(gallery.photo(row)),
        asked,
        [np.asarray(gallery.photo(gallery.row_of(image))) for image in found["image"]],
        found["value"].tolist(),
        found["value"].eq(asked).tolist(),
    )


def architecture() -> Figure:
    """AG-MAN as the published code computes it, shapes for ResNet-50 at 224 pixels."""
    figure = Figure(figsize=(10.5, 6.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 105), ylim=(0, 62))
    axes.axis("off")

    def box(x: float, y: float, w: float, h: float, text: str, colour: str) -> None:
        style = "round,pad=0.2,rounding_size=0.8"
        axes.add_patch(FancyBboxPatch((x, y), w, h, style, fc=colour, ec="#555"))
        axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=9)

    def arrow(*points: tuple[float, float], label: str = "") -> None:
        for (x0, y0), (x1, y1) in itertools.pairwise(points[:-1]):
            axes.plot([x0, x1], [y0, y1], color="#333", lw=1.1)
        axes.annotate("", points[-1], points[-2], arrowprops={"arrowstyle": "-|>", "color": "#333"})
        (x0, y0), (x1, y1) = points[-2:]
        if x0 == x1:
            axes.text(x0 + 0.8, (y0 + y1) / 2, label, ha="left", va="center", fontsize=8)
        else:
            axes.text((x0 + x1) / 2, y0 + 0.7, label, ha="center", va="bottom", fontsize=8)

    axes.text(1, 59.5, "Multi-level backbone", weight="bold", fontsize=11)
    box(1, 49, 8, 6, "photo\n3×224×224", "white")
    box(14, 49, 13, 6, "stem, layer1,\nlayer2", RESNET)
    box(37, 49, 10, 6, "layer3", RESNET)
    box(60, 49, 5, 6, "+", NEW)
    box(72, 49, 8, 6, "layer4", RESNET)
    box(87, 49, 16, 6, "Linear → A logits:\nwhich attribute?", NEW)
    box(36, 40, 18, 5, "max-pool, Conv 1×1: L", NEW)
    box(60, 31, 16, 5, "concat(F3, X) = F", NEW)
    arrow((9.3, 52), (13.7, 52))
    arrow((27.3, 52), (36.7, 52), label="F2 512×28×28")
    arrow((47.3, 52), (59.7, 52), label="F3 1024×14×14")
    arrow((65.3, 52), (71.7, 52), label="X")
    arrow((80.3, 52), (86.7, 52), label="pool")
    arrow((32, 52), (32, 42.5), (35.7, 42.5))
    arrow((54.3, 42.5), (62.5, 42.5), (62.5, 48.7))
    arrow((56, 52), (56, 33.5), (59.7, 33.5))
    arrow((68, 52), (68, 36.4))
    axes.text(87, 46.2, "same-attribute classification\n(training only)", fontsize=8, va="center")

    axes.text(1, 31, "Attribute-guided attention", weight="bold", fontsize=11)
    box(1, 17, 14, 6, "1  Conv 1×1: x\n512×14×14", NEW)
    box(20, 17, 13, 6, "2  spatial\nattention S", ATTRIBUTE)
    box(38, 17, 12, 6, "3  spatial\ngate", NEW)
    box(55, 17, 11, 6, "4  sum over\npositions: v", "white")
    box(71, 17, 12, 6, "5  channel\nattention m", ATTRIBUTE)
    box(88, 17, 15, 6, "6, 7  mask, L2 norm:\nembedding, 512", OUT)
    box(30, 4, 33, 5, "attribute c → e = Embedding(c), 512", ATTRIBUTE)
    arrow((68, 30.7), (68, 28.5), (38, 28.5), (8, 28.5), (8, 23.4))
    for x0, x1 in ((15.3, 19.7), (33.3, 37.7), (50.3, 54.7), (66.3, 70.7), (83.3, 87.7)):
        arrow((x0, 20), (x1, 20))
    arrow((30, 6.5), (26.5, 6.5), (26.5, 16.7), label="g(W₁e)")
    arrow((63.3, 6.5), (77, 6.5), (77, 16.7), label="g(W₂e)")
    arrow((63.3, 5), (95.5, 5), (95.5, 16.7), label="M$_c$")
    for x, (colour, text) in zip(
        (1, 23, 46, 74),
        (
            (RESNET, "ResNet"),
            (NEW, "added to the ResNet"),
            (ATTRIBUTE, "depends on the attribute"),
            (OUT, "result"),
        ),
        strict=True,
    ):
        axes.add_patch(FancyBboxPatch((x, 0.6), 1.6, 1.2, "round,pad=0.1", fc=colour, ec="#555"))
        axes.text(x + 2.6, 1.2, text, fontsize=8, va="center")
    return figure


def comparison(name: str) -> Figure:
    """The chart of a committed comparison."""
    r = results(name)
    of_seeds = {
        textwrap.shorten(name, 40, placeholder="…"): seeds
        for name, seeds in r["MAP of each seed"].items()
    }
    agman = [name for name in ("agman", "AG-MAN") if name in of_seeds] or list(of_seeds)[-1:]
    return comparison_chart(of_seeds, r["random"]["mean"], r["baseline"], highlight=agman)


def localisation() -> Figure:
    """The chart of how often the compared networks' maps mark the right place."""
    r = results("localisation-garments")
    return localisation_chart(pd.DataFrame(r["table"]), pd.DataFrame(r["of each seed"]), MAPS)


def main() -> None:
    """Write them all."""
    figures = {"query": query(), "architecture": architecture(), "localisation": localisation()}
    figures |= {name: comparison(name) for name in COMPARISONS}
    for name, figure in figures.items():
        figure.savefig(HERE / f"{name}.png", dpi=110)
        print(f"figures/{name}.png")


if __name__ == "__main__":
    main()
