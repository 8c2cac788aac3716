"""What `convert` reports: where every image went, and what caps the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from data_prep.common.asen_protocol import (
    FILES,
    account_published,
    cell_counts,
    cell_names,
    check_agreement,
    published_lines,
    size_line,
    size_remarks,
    without_candidate,
)
from data_prep.common.ledger import Ledger, named
from data_prep.common.splits import CELLS
from data_prep.deepfashion.files import TYPES, TrueLabels
from data_prep.deepfashion.rules import AGAIN, ELSEWHERE, global_ids

# evaluated labels; the files of the training split are not public any more
PUBLISHED = dict(zip(CELLS[1:], (5_525, 22_100, 5_525, 22_100), strict=True))
REASONS = ("no label", *FILES, "not drawn", "in no split")


def account(
    true: TrueLabels,
    images: pd.DataFrame,
    labels: pd.DataFrame,
    published: pd.DataFrame,
    types: np.ndarray,
) -> dict[str, Any]:
    """Where every image went. Raises RuntimeError when a sum does not agree."""
    kept = images[images["split"].ne("")]
    scored = labels[labels["evaluated"]].rename(columns={"row": "image"})
    counts, left_out = cell_counts(kept), Ledger(*REASONS)
    left_out.add_table(images["reason"], images["path"])
    left_out.balance("images listed = kept + left out", len(images), len(kept))
    left_out.agree("images kept = sum over splits", len(kept), sum(counts.values()))
    lists, of_lists = account_published(published, ELSEWHERE, AGAIN)
    n_scored = cell_counts(scored)
    return {
        "rows": {
            "lines": true.n_lines,
            "images": len(images),
            "listed_twice": named(true.repeated),
            "kept": len(kept),
            "left_out": left_out.report(),
        },
        "published_files": of_lists | {"agreement": _compare(images, true, published, types)},
        "images": counts,
        "evaluated_labels": {cell: n_scored[cell] for cell in CELLS[1:]},
        "differs_from_published": size_remarks(n_scored, PUBLISHED),
        "attributes": _count_attributes(labels),
        "another_true_value": _another(labels, scored),
        "queries_without_candidate": {
            "evaluated value": without_candidate(scored),
            "any true value": without_candidate(_of_scored(labels, scored)),
        },
        "sums": left_out.sums | lists.sums,
    }


def _of_scored(labels: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    """All labels of the attributes that are evaluated in their image, as ``image``."""
    keys = ["image", "attribute"]
    some = labels.rename(columns={"row": "image"})
    wanted = pd.MultiIndex.from_frame(scored[keys])
    return some[pd.MultiIndex.from_frame(some[keys]).isin(wanted)]


def _another(labels: pd.DataFrame, scored: pd.DataFrame) -> dict[str, Any]:
    """Evaluated labels of images with another value within the evaluated attribute."""
    sizes = _of_scored(labels, scored).groupby(["split", "image", "attribute"]).size()
    result = {}
    for split in ("valid", "test"):
        several = sizes[sizes.index.get_level_values("split") == split].gt(1)
        share = round(float(several.mean()), 4) if len(several) else None
        result[split] = {"of": len(several), "count": int(several.sum()), "share": share}
    return result


def _compare(
    images: pd.DataFrame, true: TrueLabels, published: pd.DataFrame, types: np.ndarray
) -> dict[str, Any]:
    """The published labels beside list_attr_img.txt: each must be one of the true ones."""
    rows = pd.Index(images["path"]).get_indexer(published["path"])
    known = rows >= 0
    attribute, value = (published[c].to_numpy(np.int64) for c in ("attribute", "value"))
    ids = global_ids(attribute, value, types)
    there = np.isin(rows * len(types) + ids, true.image * len(types) + true.attribute)
    false = published[known & ~there]
    words = [f"{r.path} ({r.file}, line {r.line})" for r in false.itertuples()]
    return check_agreement(int(known.sum()), words, "list_attr_img.txt")


def _count_attributes(labels: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Of each attribute: all labels, values that occur, and the evaluated labels of each cell."""
    scored = labels[labels["evaluated"]]
    cells = cell_names(scored)
    table = {}
    for a, name in enumerate(TYPES):
        own = labels[labels["attribute"].eq(a)]
        in_cells = cells[scored["attribute"].eq(a)].value_counts()
        table[name] = {"labels": len(own), "values": int(own["value"].nunique())}
        table[name] |= {cell: int(in_cells.get(cell, 0)) for cell in CELLS[1:]}
    return table


def summary(report: dict[str, Any]) -> str:
    """The report in a few lines for the terminal."""
    rows, images = report["rows"], report["images"]
    twice = rows["listed_twice"]["count"]
    lines = [
        f"{rows['lines']:,} lines of list_attr_img.txt, {rows['images']:,} images "
        f"({twice:,} listed more than once, their labels united), {rows['kept']:,} kept"
    ]
    lines += Ledger.lines(rows["left_out"], "left out, ")
    lines += published_lines(report, "list_attr_img.txt")
    lines.append(f"train {images['train']:,} images")
    scored, none = report["evaluated_labels"], report["queries_without_candidate"]
    for split in ("valid", "test"):
        another = report["another_true_value"][split]
        lines.append(
            f"{split} {scored[f'{split}_query']:,} queries + {scored[f'{split}_candidate']:,} "
            f"candidates; {another['share']:.1%} have another true value of the evaluated "
            f"attribute; {none['evaluated value'][split]} queries without a relevant candidate "
            f"({none['any true value'][split]} when any true value counts)"
        )
    lines.append(size_line(report))
    return "\n".join(lines)
