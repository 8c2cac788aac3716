"""What `convert` reports: where every row and every value went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from data_prep.common.ledger import NAMED, Ledger, named
from data_prep.common.splits import CELLS
from data_prep.fashion_products.downloads import LICENCE, PLACEHOLDERS

Known = dict[str, list[str]]  # the kept values of each attribute, in index order


def account(
    frames: list[pd.DataFrame],
    cells: np.ndarray,
    attributes: Iterable[str],
    known: Known,
    taken: np.ndarray,
    left_out: Ledger,
    repaired: list[str],
) -> dict[str, Any]:
    """Where every row and every value went. Raises RuntimeError when a sum does not agree.

    Args:
        frames: all rows, those with a usable photo, and those kept (in the order of ``cells``).
        taken: which labels (N, A) of the kept rows are written, known attributes alone.
    """
    rows, photos, kept = frames
    n_read = len(rows) + left_out.count("unreadable row")
    in_cells = {cell: int((cells == cell).sum()) for cell in CELLS}
    left_out.balance("rows read = images kept + rows left out", n_read, len(kept))
    left_out.agree("images kept = sum over splits", len(kept), sum(in_cells.values()))
    values = {}
    for attribute in attributes:
        table = values[attribute] = _count_values(attribute, frames, cells, known)
        n_rows = sum(entry["rows"] for entry in table.values())
        n_labels = sum(entry["labels"] for entry in table.values())
        unlabelled = sum(e["photos"] for e in table.values() if e["status"] != "kept")
        in_splits = sum(entry[cell] for entry in table.values() for cell in CELLS)
        left_out.agree(f"{attribute}: rows = readable rows", n_rows, len(rows))
        what = f"{attribute}: photos = labels + unlabelled"
        left_out.agree(what, len(photos), n_labels + unlabelled)
        left_out.agree(f"{attribute}: labels = sum over splits", n_labels, in_splits)
    in_train = cells == "train"
    written = {a: int(taken[in_train, i].sum()) for i, a in enumerate(known)}
    if sum(written.values()) < sum(e["train"] for table in values.values() for e in table.values()):
        what = "training labels written = training images"
        left_out.agree(what, sum(written.values()), in_cells["train"])
        extra = {"training_labels_written": written}
    else:
        extra = {}
    return {
        "rows": {
            "read": n_read,
            "repaired": named(repaired),
            "kept": len(kept),
            "left_out": left_out.report(),
        },
        "images": in_cells,
        "attributes": values,
        **extra,
        "queries_without_candidate": {
            split: sum(
                entry[f"{split}_query"] * (entry[f"{split}_candidate"] == 0)
                for table in values.values()
                for entry in table.values()
            )
            for split in ("valid", "test")
        },
        "sums": left_out.sums,
    }


def _count_values(
    attribute: str, frames: list[pd.DataFrame], cells: np.ndarray, known: Known
) -> dict[str, dict[str, Any]]:
    """For each value: its status, rows, usable photos, labels, and labels in each cell."""
    rarity = "rare" if attribute in known else "attribute left out"
    n_rows, n_photos, n_kept = (frame[attribute].value_counts() for frame in frames)
    by_cell = Counter(zip(frames[2][attribute], cells, strict=True))
    table = {}
    for value in sorted(n_rows.index):
        is_kept = value in known.get(attribute, [])
        status = "kept" if is_kept else "no label" if value in PLACEHOLDERS else rarity
        counts = {cell: by_cell[value, cell] if is_kept else 0 for cell in CELLS}
        table[value] = {
            "status": status,
            "rows": int(n_rows[value]),
            "photos": int(n_photos.get(value, 0)),
            "labels": int(n_kept.get(value, 0)) if is_kept else 0,
            **counts,
        }
    return table


def summary(report: dict[str, Any]) -> str:
    """The report in a few lines for the terminal."""
    rows, images = report["rows"], report["images"]
    lines = [
        f"{rows['read']:,} rows read, {rows['repaired']['count']} repaired (commas in the name); "
        f"{rows['kept']:,} images kept"
    ]
    lines += Ledger.lines(rows["left_out"], "left out, ", shown=NAMED)
    evaluation = " · ".join(
        f"{split} {images[f'{split}_query']:,} queries + {images[f'{split}_candidate']:,} "
        f"candidates ({report['queries_without_candidate'][split]} without a relevant candidate)"
        for split in ("valid", "test")
    )
    lines.append(f"train {images['train']:,} · {evaluation}")
    for attribute, table in report["attributes"].items():
        photos: dict[str, list[int]] = {"kept": [], "rare": [], "no label": []}
        for entry in table.values():
            photos.setdefault(entry["status"], []).append(entry["photos"])
        lines.append(
            f"{attribute}: {len(photos['kept'])} values, {sum(photos['kept']):,} labels; dropped "
            f"{len(photos['rare'])} rare values ({sum(photos['rare']):,} photos); "
            f"{sum(photos['no label']):,} photos have no value"
        )
        if "attribute left out" in photos:
            lines[-1] = f"{attribute}: left out, fewer than two of its values are frequent enough"
    if "training_labels_written" in report:
        lines.append(f"one label of each training image is used: {images['train']:,}")
    lines.append(f"licence: {LICENCE}")
    return "\n".join(lines)
