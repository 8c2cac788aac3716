"""What `convert` reports: where every row went, and the sizes beside the published."""

from __future__ import annotations

from typing import Any

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
from data_prep.fashionai.files import ATTRIBUTES, UNUSABLE

PUBLISHED = dict(zip(CELLS, (144_335, 3_600, 14_400, 3_600, 14_400), strict=True))
CONFLICT, MAYBE, DUPLICATE = "conflicting labels", "maybe", "identical duplicate"
REASONS = (*UNUSABLE, CONFLICT, MAYBE, *FILES, DUPLICATE)


def account(
    rows: pd.DataFrame, published: pd.DataFrame, kept: pd.DataFrame, drawn: pd.DataFrame
) -> dict[str, Any]:
    """Where every row went. Raises RuntimeError when a sum does not agree."""
    usable = rows["reason"].eq("")
    in_lists = usable & rows["photo"].isin(published["photo"])
    unused = usable & ~in_lists & ~rows["id"].isin(drawn["id"])
    images = cell_counts(kept)
    n_usable = int(usable.sum())
    n_used = {
        "in_published_files": int(in_lists.sum()),
        "drawn": len(drawn),
        "in_no_split": int(unused.sum()),
    }
    raw = Ledger(*REASONS)
    raw.add_table(rows["reason"], rows["where"])
    raw.balance("rows read = usable + left out", len(rows), n_usable)
    what = "usable = in published files + drawn + in no split"
    raw.agree(what, n_usable, sum(n_used.values()))
    lists, of_lists = account_published(published, CONFLICT, DUPLICATE)
    lists.agree("images = published + drawn", sum(images.values()), of_lists["kept"] + len(drawn))
    return {
        "rows": {
            "read": len(rows),
            "with_maybe": int(rows["maybe"].sum()),
            "usable": n_usable,
            **n_used,
            "left_out": raw.report(),
        },
        "published_files": of_lists | _compare(rows, published),
        "images": images,
        "differs_from_published": size_remarks(images, PUBLISHED),
        "attributes": _count_values(kept),
        "queries_without_candidate": without_candidate(kept.rename(columns={"id": "image"})),
        "sums": raw.sums | lists.sums,
    }


def _compare(rows: pd.DataFrame, published: pd.DataFrame) -> dict[str, Any]:
    """The published labels beside label.csv: rows with one ``y`` and no conflict."""
    fair = rows[rows["value"].ge(0) & rows["reason"].ne(CONFLICT)].drop_duplicates("id")
    both = published.merge(fair[["id", "value", "maybe"]], on="id", suffixes=("", "_raw"))
    differ = both[both["value"].ne(both["value_raw"])]
    words = [f"{r.id} ({r.file}, line {r.line})" for r in differ.itertuples()]
    return {
        "agreement": check_agreement(len(both), words, "label.csv"),
        "with_maybe": int(both["maybe"].sum()),
        "not_in_label_csv": named(published.loc[~published["id"].isin(rows["id"]), "id"]),
    }


def _count_values(kept: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Labels of each value in each cell."""
    counts = kept.groupby(["attribute", "value", cell_names(kept)]).size()
    return {
        attribute.name: {
            value: {cell: int(counts.get((a, v, cell), 0)) for cell in CELLS}
            for v, value in enumerate(attribute.values)
        }
        for a, attribute in enumerate(ATTRIBUTES)
    }


def summary(report: dict[str, Any]) -> str:
    """The report in a few lines for the terminal."""
    rows, lists, images = report["rows"], report["published_files"], report["images"]
    lines = [
        f"{rows['read']:,} rows of label.csv in {' and '.join(report['parts'])}, "
        f"{rows['usable']:,} usable; {rows['with_maybe']:,} have an m (maybe), "
        f"{'kept as their y' if report['settings']['maybe'] == 'keep' else 'dropped'}"
    ]
    lines += Ledger.lines(rows["left_out"], "left out of label.csv, ")
    lines += published_lines(report, "label.csv", f", {lists.get('with_maybe', 0):,} have an m")
    lines.append(
        f"train {images['train']:,} · "
        + " · ".join(
            f"{s} {images[f'{s}_query']:,} queries + {images[f'{s}_candidate']:,} candidates "
            f"({report['queries_without_candidate'][s]} without a relevant candidate)"
            for s in ("valid", "test")
        )
    )
    lines.append(size_line(report))
    return "\n".join(lines)
