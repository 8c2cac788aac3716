"""What the preparations after ASEN's protocol share: roles by its rule, checks, report parts.

The rule, read off the published validation files (computed): exactly one image in five is a query
(FashionAI 3,600 of 18,000, DeepFashion 5,525 of 27,625), drawn uniformly from all images of the
split. It is *not* stratified: within an attribute and value FashionAI's share of queries runs from
0.16 to 0.28, as a uniform draw lets it (chi-square 43.4 on 53 degrees of freedom).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from data_prep.common.archives import undecodable

NAMED = 20  # how many ids the report names
TOLERATED = 0.01  # share of published labels that may differ from the raw ones
CELLS = ("train", "valid_query", "valid_candidate", "test_query", "test_candidate")


def draw_roles(n: int, generator: np.random.Generator) -> np.ndarray:
    """Roles of n images: one in five, drawn uniformly, is a query, but one at least. Text (n,)."""
    roles = np.full(n, "candidate", object)
    roles[generator.permutation(n)[: max(1, round(n / 5))]] = "query"
    return roles


def file_faults(
    root: Path, paths: Iterable[str], check_images: bool, progress: bool
) -> dict[str, str]:
    """The files that cannot be used, with the reason: "no image file" or "unreadable image".

    Args:
        root: what the paths are relative to.
        paths: relative paths.
        check_images: decode every image; otherwise only look whether the files are there.
        progress: show a progress bar.
    """
    unique = list(dict.fromkeys(paths))
    prefix = str(root) + os.sep
    faults = {p: "no image file" for p in unique if not os.path.isfile(prefix + p)}
    if check_images:
        there = {root / p: p for p in unique if p not in faults}
        refused = undecodable(list(there), progress)
        faults |= {there[file]: "unreadable image" for file in refused}
    return faults


def named(ids: Iterable[Any]) -> dict[str, Any]:
    """How many there are, and the first of them by name."""
    ids = [str(i) for i in ids]
    return {"count": len(ids), "ids": ids[:NAMED]}


def named_by_reason(reasons: pd.Series, ids: pd.Series, order: Iterable[str]) -> dict[str, Any]:
    """`named` for each reason, in the given order; the reason "" means kept."""
    return {reason: named(ids[reasons.eq(reason)]) for reason in order}


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


def check_sums(sums: dict[str, list[int]]) -> None:
    """Raise RuntimeError where a sum of the report does not agree."""
    if wrong := [f"{what}: {a} and {b}" for what, (a, b) in sums.items() if a != b]:
        raise RuntimeError(f"the report's sums disagree: {'; '.join(wrong)}")


def published_splits(kinds: dict[str, str]) -> list[str]:
    """The splits that were taken from published files, of the report's ``split``."""
    return [split for split, kind in kinds.items() if kind == "published"]


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """``prepare_report.json``."""
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / "prepare_report.json").write_text(text, encoding="utf-8")


def left_out_lines(left_out: dict[str, Any], what: str) -> list[str]:
    """The summary's lines about what was left out."""
    lines = []
    for reason, entry in left_out.items():
        if entry["count"]:
            ids = entry["ids"][:3]
            more = ", …" if entry["count"] > len(ids) else ""
            lines.append(f"{what}, {reason}: {entry['count']:,} ({', '.join(ids)}{more})")
    return lines


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
        lines += left_out_lines(lists["left_out"], "left out of the published files")
    return lines


def size_line(report: dict[str, Any]) -> str:
    """Whether the sizes are the published ones, for a summary."""
    differs = report["differs_from_published"]
    if differs:
        return f"sizes that differ from the published split: {'; '.join(differs)}"
    return "all sizes are those of the published split"
