"""A prepared folder with fewer training labels, or with values that training never sees.

For two questions about a network: how many labels it needs, and whether it can retrieve by a value
that it was not trained on. The photos stay where they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset, staging, write_prepared

LEAST = 2
"""Training images that a value keeps, so that a triplet can be drawn; or all that it has."""
LEFT = 2
"""Values of an attribute that training keeps, so that there is something to tell apart."""


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    label_share: float = 1.0,
    held_out: float = 0.0,
    seed: int = 0,
) -> dict[str, int]:
    """Make a prepared folder of another one, with a part of its training labels.

    Of each value, a share of the labelled training images is drawn, at least `LEAST`. Of the values
    of each attribute, a share is held out, at least one where more than `LEFT` have training
    images: training loses their labels, validation their queries and candidates, so that nothing is
    chosen by them; and the test scores *their* queries alone, among all its candidates.
    ``images.csv`` stays as it is.

    Args:
        source: a prepared folder with the retrieval protocol.
        out: the prepared folder to make.
        label_share: of the labels of each value in the split train, above 0 and at most 1.
        held_out: share of the values of each attribute, from 0 and below 1.
        seed: of both draws.

    Returns:
        How many ``training labels`` there are, how many ``values held out`` and how many
        ``test queries``.

    Raises:
        AgmanError: a share outside its range; a data set of triplets; an existing ``out``.
    """
    if not 0 < label_share <= 1 or not 0 <= held_out < 1:
        raise AgmanError(
            "the label share must be above 0 and at most 1, the share held out from 0 and below 1; "
            f"got {label_share} and {held_out}"
        )
    dataset = PreparedDataset.load(source)
    if dataset.protocol != "retrieval":
        raise AgmanError(f"{source}: of triplets, and this needs labels to choose from")
    rng = np.random.default_rng(seed)
    labels = dataset.labels.merge(dataset.images[["image", "split", "role"]], on="image")
    hidden = _held_out(dataset, labels, held_out, rng)
    keys = pd.MultiIndex.from_frame(labels[["attribute", "value"]])
    is_hidden = pd.Series(keys.isin(hidden), labels.index)
    training = labels["split"] == "train"
    test_query = (labels["split"] == "test") & (labels["role"] == "query")
    if hidden:
        labels.loc[test_query & ~is_hidden, "evaluated"] = False
        labels.loc[(labels["split"] == "valid") & is_hidden, "evaluated"] = False
    kept = training & ~is_hidden
    drawn = [
        row
        for _, rows in labels[kept].groupby(["attribute", "value"]).groups.items()
        for row in rng.permutation(rows)[: max(LEAST, round(label_share * len(rows)))]
    ]
    labels = labels[~training | labels.index.isin(drawn)]
    with staging(out) as folder:
        _write(dataset, labels, folder)
    return {
        "training labels": len(drawn),
        "values held out": len(hidden),
        "test queries": int((labels["evaluated"] & test_query).sum()),
    }


def _held_out(
    dataset: PreparedDataset, labels: pd.DataFrame, share: float, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Attribute and value of what is held out."""
    hidden = []
    for attribute in dataset.attributes if share else ():
        rows = labels[(labels["split"] == "train") & (labels["attribute"] == attribute.name)]
        there = [v for v in attribute.values if (rows["value"] == v).any()]
        n = min(max(1, round(share * len(there))), max(0, len(there) - LEFT))
        hidden += [(attribute.name, str(v)) for v in rng.permutation(there)[:n]]
    return hidden


def _write(dataset: PreparedDataset, labels: pd.DataFrame, folder: Path) -> None:
    write_prepared(
        folder,
        name=dataset.name,
        title=dataset.title,
        source=dataset.source,
        licence=dataset.licence,
        attributes=dataset.attributes,
        images=dataset.images,
        labels=labels.assign(evaluated=labels["evaluated"].astype(int)),
        regions=dataset.regions,
        image_root=str(dataset.image_root.resolve()),
        published_splits=dataset.published_splits,
    )
    if (dataset.folder / "kinds.csv").is_file():
        shutil.copyfile(dataset.folder / "kinds.csv", folder / "kinds.csv")


def summary(report: dict[str, int]) -> str:
    """The report in one line."""
    return ", ".join(f"{number:,} {what}" for what, number in report.items())
