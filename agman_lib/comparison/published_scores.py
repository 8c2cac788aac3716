"""Published test scores, each marked with where the number comes from.

They stand beside ours only where data set and protocol are the published ones: the split files that
the papers share, all of their queries, the test split, and the evaluated labels
(`published_scores` decides). Sources: ``paper`` (the AG-MAN paper), ``derived`` (from the paper's
stated differences to ASENet_V2), ``abstract`` and ``readme`` (of the later work itself),
``recalled`` (from memory of the tables: check before citing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agman_lib.base.errors import unknown
from agman_lib.data.dataset import PreparedDataset


@dataclass(frozen=True)
class PublishedScore:
    """A published row.

    Attributes:
        method: its name.
        score: MAP, or the share of triplets that are right; percent.
        source: paper, derived, abstract, readme or recalled.
        by_attribute: MAP of each attribute in the data set's order; empty where not known.
    """

    method: str
    score: float
    source: str
    by_attribute: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Table:
    queries: int  # test queries over all attributes, or test triplets
    rows: Sequence[PublishedScore]


_P = PublishedScore
_TABLES = {
    "fashionai": _Table(
        3_600,
        [
            _P("Triplet", 38.52, "recalled",
               (48.38, 28.14, 29.82, 54.56, 62.58, 38.31, 26.64, 40.02)),
            _P("CSN", 53.52, "recalled", (61.97, 45.06, 47.30, 62.85, 69.83, 54.14, 46.56, 54.47)),
            _P("ASEN", 61.02, "recalled", (64.44, 54.63, 51.27, 63.53, 70.79, 65.36, 59.50, 58.67)),
            _P("ASENet_V2", 60.76, "derived"),
            _P("AG-MAN", 62.8788, "paper"),
            _P("ASEN++", 64.31, "recalled",
               (66.34, 57.53, 55.51, 68.77, 72.94, 66.95, 66.81, 67.01)),
            _P("ASENet_V2 + GeoDCL", 66.48, "abstract"),
            _P("RPF", 70.11, "readme", (66.75, 67.86, 59.65, 73.23, 75.72, 73.18, 74.40, 75.01)),
        ],
    ),
    "deepfashion": _Table(
        5_525,
        [
            _P("Triplet", 7.36, "recalled"),
            _P("CSN", 8.01, "recalled"),
            _P("ASEN", 8.74, "recalled"),
            _P("ASENet_V2", 8.67, "derived"),
            _P("AG-MAN", 8.9804, "paper"),
            _P("ASEN++", 9.64, "recalled"),
            _P("RPF", 10.22, "readme"),
        ],
    ),
    "zappos50k": _Table(
        160_000,
        [
            _P("Triplet", 76.28, "recalled"),
            _P("CSN", 89.27, "recalled"),
            _P("ASEN", 90.79, "recalled"),
            _P("ASENet_V2", 92.54, "derived"),
            _P("AG-MAN", 93.32, "paper"),
        ],
    ),
}  # fmt: skip


def published_rows(dataset: str) -> Sequence[PublishedScore]:
    """All that is published here on a data set: fashionai, deepfashion or zappos50k.

    Raises:
        AgmanError: another data set.
    """
    if dataset not in _TABLES:
        raise unknown("data set", dataset, _TABLES)
    return _TABLES[dataset].rows


def published_scores(
    dataset: PreparedDataset, split: str, n_queries: int
) -> tuple[Sequence[PublishedScore], str]:
    """The published rows that may stand beside a result, and, where there are none, why not.

    Args:
        dataset: what was scored.
        split: the split that was scored.
        n_queries: queries (or triplets) that were scored.
    """
    table = _TABLES.get(dataset.name)
    if table is None:
        return [], f"nothing is published on {dataset.name}"
    if split != "test":
        return [], f"published scores are of the test split, not of {split}"
    if "test" not in dataset.published_splits:
        return [], "the test split is not the published one"
    if n_queries != table.queries:
        return [], f"{n_queries:,} test queries were scored, published were {table.queries:,}"
    return table.rows, ""
