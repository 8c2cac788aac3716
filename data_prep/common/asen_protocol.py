"""What the preparations after ASEN's protocol share: roles by its rule, checks, report parts.

The rule, read off the published validation files (computed): exactly one image in five is a query
(FashionAI 3,600 of 18,000, DeepFashion 5,525 of 27,625), drawn uniformly from all images of the
split. It is *not* stratified: within an attribute and value FashionAI's share of queries runs from
0.16 to 0.28, as a uniform draw lets it (chi-square 43.4 on 53 degrees of freedom).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from data_prep.common.archives import undecodable
from data_prep.common.ledger import Ledger, named
from data_prep.common.splits import CELLS

FILES = ("no image file", "unreadable image")
TOLERATED = 0.01  # share of published labels that may differ from the raw ones


def draw_roles(n: int, generator: np.random.Generator) -> np.ndarray:
    """Roles of n images: one in five, drawn uniformly, is a query, but one at least. Text (n,)."""
    roles = np.full(n, "candidate", object)
    roles[generator.permutation(n)[: max(1, round(n / 5))]] = "query"
    return roles


def file_faults(
    root: Path, paths: Iterable[str], check_images: bool, progress: bool
) -> dict[str, str]:
    """The files that cannot be used, with the reason, one of `FILES`.

    Args:
        root: what the paths are relative to.
        paths: relative paths.
        check_images: decode every image; otherwise only look whether the files are there.
        progress: show a progress bar.
    """
    unique = list(dict.fromkeys(paths))
    prefix = str(root) + os.sep
    faults = {p: FILES[0] for p in unique if not os.path.isfile(prefix + p)}
    if check_images:
        there = {root / p: p for p in unique if p not in faults}
        refused = undecodable(list(there), progress)
        faults |= {there[file]: FILES[1] for file in refused}
    return faults


def check_published(published: pd.DataFrame, splits: str | Path | None, download: str) -> None:
    """Raise AgmanError where a published split has no label that can be used."""
    for split, table in published.groupby("split"):
        if not table["reason"].eq("").any():
            raise AgmanError(
                f"{splits}: none of the {len(table):,} labels of {split} can be used, first "
                f"{table['path'].iloc[0]} ({table['reason'].iloc[0]}); {download}"
            )


def account_published(
    published: pd.DataFrame, first: str, last: str
) -> tuple[Ledger, dict[str, Any]]:
    """The published labels' ledger, with the reasons around `FILES`, and their part of a report."""
    ledger, kept = Ledger(first, *FILES, last), int(published["reason"].eq("").sum())
    lines = published["file"].str.cat(published["line"].astype(str), sep=", line ")
    ledger.add_table(published["reason"], lines)
    ledger.balance("published labels = kept + left out", len(published), kept)
    return ledger, {"labels": len(published), "kept": kept, "left_out": ledger.report()}


def check_agreement(compared: int, disagree: list[str], raw: str) -> dict[str, Any]:
    """How far published labels agree with the raw ones; a few may differ, the published count.

    Raises:
        AgmanError: more than 1 % differ, so the files do not belong together.
    """
    if len(disagree) > TOLERATED * compared:
        raise AgmanError(
            f"{raw}: {len(disagree):,} of {compared:,} published labels differ from it, first "
            f"{disagree[0]}; the split files and this download do not belong together"
        )
    return {"compared": compared, "disagree": named(disagree)}


def size_remarks(have: dict[str, int], published: dict[str, int]) -> list[str]:
    """In words, where the numbers differ from the published ones."""
    return [
        f"{cell.replace('_', ' ')}: {have[cell]:,}, published {n:,} "
        f"({abs(have[cell] - n):,} {'more' if have[cell] > n else 'fewer'})"
        for cell, n in published.items()
        if have[cell] != n
    ]


def without_candidate(labels: pd.DataFrame) -> dict[str, int]:
    """Queries without a relevant candidate, by split.

    Args:
        labels: image, split, role, attribute, value; a query and a candidate match where they
            share a value of the attribute, so several values of an image are several rows.
    """
    key = ["split", "attribute", "value"]
    there = pd.MultiIndex.from_frame(labels.loc[labels["role"].eq("candidate"), key])
    queries = labels[labels["role"].eq("query")]
    found = pd.Series(pd.MultiIndex.from_frame(queries[key]).isin(there), queries.index)
    served = found.groupby([queries[c] for c in ("split", "image", "attribute")]).any()
    splits = served.index.get_level_values("split")
    return {s: int((~served[splits == s]).sum()) for s in ("valid", "test")}


def cell_names(table: pd.DataFrame) -> pd.Series:
    """ "train", "valid_query", …: split and role in one word."""
    together = table["split"] + "_" + table["role"]
    return together.where(table["split"].ne("train"), "train")


def cell_counts(table: pd.DataFrame) -> dict[str, int]:
    """Rows of each cell."""
    counts = cell_names(table).value_counts()
    return {cell: int(counts.get(cell, 0)) for cell in CELLS}


def published_splits(kinds: dict[str, str]) -> list[str]:
    """The splits that were taken from published files, of the report's ``split``."""
    return [split for split, kind in kinds.items() if kind == "published"]


def published_lines(report: dict[str, Any], raw: str, more: str = "") -> list[str]:
    """Which split it is, and how the published files agree with the raw labels, for a summary."""
    lists = report["published_files"]
    lines = ["split: " + ", ".join(f"{s} {kind}" for s, kind in report["split"].items())]
    if lists["labels"]:
        agreement = lists["agreement"]
        lines.append(
            f"published files: {lists['labels']:,} labels, {lists['kept']:,} kept; "
            f"{agreement['compared']:,} compared with {raw}, "
            f"{agreement['disagree']['count']:,} differ{more}"
        )
        lines += Ledger.lines(lists["left_out"], "left out of the published files, ")
    return lines


def size_line(report: dict[str, Any]) -> str:
    """Whether the sizes are the published ones, for a summary."""
    differs = report["differs_from_published"]
    if differs:
        return f"sizes that differ from the published split: {'; '.join(differs)}"
    return "all sizes are those of the published split"
