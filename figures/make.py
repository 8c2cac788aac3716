"""Make the pictures again that need no training.

These are a search with the network that comes with the package, the architecture, and the charts of
the committed comparisons.

python figures/make.py        (``make figures`` also makes those of the quickstart, by training)
"""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from agman_lib.comparison.chart import comparison_chart
from agman_lib.course import architecture, results, start_model
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
