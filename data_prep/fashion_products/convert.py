"""Fashion Product Images (Small): real shop photos with five attributes, no login needed.

Makes a prepared folder (its format: `agman_lib.data.dataset`) from any of the downloads that
`downloads` reads. Every image has every attribute, and the values are very unbalanced. Its scores
are its own: they cannot be compared with those of other data sets. Who may use the photos, and what
to check first: `README.md` in this folder.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Attribute, staging, write_prepared
from data_prep.common.archives import undecodable
from data_prep.common.splits import assign_cells
from data_prep.fashion_products.downloads import COLUMNS, SOURCE, Download, read_download

ATTRIBUTES = ("gender", "articleType", "baseColour", "season", "usage")
PLACEHOLDERS = ("", "NA")
CELLS = ("train", "valid_query", "valid_candidate", "test_query", "test_candidate")
LICENCE = (
    "not settled: Kaggle's page says MIT (recalled), the Hugging Face copy's card names none, and "
    "the photos are a shop's; check before you publish or sell anything made of them "
    "(data_prep/README.md)"
)
NAMED = 20

Known = dict[str, list[str]]  # the kept values of each attribute, in index order


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    min_images: int = 100,
    valid: float = 0.1,
    test: float = 0.1,
    query_share: float = 0.2,
    progress: bool = True,
) -> dict[str, Any]:
    """Prepare the data set.

    Rows are left out when they cannot be read, repeat an id (the first row counts), have no image
    file or one that cannot be decoded, or keep no label. Empty and "NA" values are no labels, and
    values with fewer than ``min_images`` usable photos are dropped as labels.

    The split, by image, is stratified over all values of all attributes at once
    (`data_prep.common.splits.assign_cells`): each value is spread over training, queries and
    candidates in the wanted shares, as far as whole images allow; a value too rare for a query in a
    split gets candidates first. All labels of valid and test images are evaluated.

    Args:
        source: Kaggle's zip, its unpacked folder, or Hugging Face's parquet file or folder.
        out: the prepared folder to make. Photos of a folder are referenced where they are; those
            of a zip or of parquet are written to ``out/images``.
        seed: of the split.
        min_images: usable photos that a value needs to be kept.
        valid: share of the images in the split valid.
        test: share of the images in the split test.
        query_share: share of valid's and of test's images that are queries.
        progress: show progress bars.

    Returns:
        The report, also written as ``out/prepare_report.json``: every row and value accounted for.

    Raises:
        AgmanError: the source cannot be used, ``out`` exists, an option makes no sense, or no
            label is left. Nothing is left half-written.
    """
    if min(valid, test) <= 0 or valid + test >= 1 or not 0 < query_share < 1 or min_images < 1:
        raise AgmanError(
            "valid and test must be above 0 and together below 1, query_share between 0 and 1, "
            f"min_images at least 1; got {valid}, {test}, {query_share}, {min_images}"
        )
    settings = {"seed": seed, "min_images": min_images, "valid": valid, "test": test}
    settings |= {"query_share": query_share}
    with staging(out) as folder:
        download = read_download(Path(source), folder, progress)
        rows = pd.DataFrame(download.rows.good, columns=COLUMNS)
        left_out = {"unreadable row": download.rows.unreadable}
        photos = _usable(rows, download, left_out, progress)
        known = kept_values(photos, min_images)
        codes = _codes(photos, known)
        labelled = np.array((codes >= 0).any(axis=1), bool)
        left_out["no label left"] = list(photos.loc[~labelled, "id"])
        kept, codes = photos.loc[labelled], codes[labelled]
        if kept.empty:
            raise AgmanError(f"{source}: no label is left; lower --min-images (now {min_images})")
        shares = np.outer([valid, test], [query_share, 1 - query_share]).ravel()
        shares = np.concatenate([[1 - valid - test], shares])
        cells = np.array(CELLS)[assign_cells(codes, shares, np.random.default_rng(seed))]
        _write(folder, download, kept, cells, known)
        report = {
            "data_set": "fashion-products",
            "source": Path(source).name,
            "settings": settings,
            **_account(rows, photos, kept, cells, known, left_out, download.rows.repaired),
        }
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (folder / "prepare_report.json").write_text(text, encoding="utf-8")
    return report


# --------------------------------------------------------------------------- which labels are kept


def _usable(
    rows: pd.DataFrame, download: Download, left_out: dict[str, list[str]], progress: bool
) -> pd.DataFrame:
    """The rows with a photo that can be decoded; the others' ids go to ``left_out``."""
    repeated = rows["id"].duplicated()
    missing = ~repeated & ~rows["id"].isin(download.photos.keys())
    left_out["duplicate id"] = list(rows.loc[repeated, "id"])
    left_out["no image file"] = list(rows.loc[missing, "id"])
    photos = rows[~repeated & ~missing]
    paths = [download.root / download.photos[i] for i in photos["id"]]
    refused = undecodable(paths, progress)
    bad = np.array([path in refused for path in paths], bool)
    left_out["unreadable image"] = list(photos.loc[bad, "id"])
    return photos[~bad]


def kept_values(photos: pd.DataFrame, min_images: int) -> Known:
    """Each attribute's kept values, sorted. An attribute with fewer than two is left out."""
    known = {}
    for attribute in ATTRIBUTES:
        counts = photos[attribute].value_counts()
        values = sorted(v for v in counts[counts >= min_images].index if v not in PLACEHOLDERS)
        if len(values) > 1:
            known[attribute] = values
    return known


def _codes(photos: pd.DataFrame, known: Known) -> np.ndarray:
    """Values as numbers that are unique over all attributes; -1 where no label; int64 (N, A)."""
    codes = np.full((len(photos), len(known)), -1, np.int64)
    first = 0
    for column, (attribute, values) in enumerate(known.items()):
        numbers = {value: first + i for i, value in enumerate(values)}
        codes[:, column] = [numbers.get(value, -1) for value in photos[attribute]]
        first += len(values)
    return codes


# --------------------------------------------------------------------------- writing


def _write(
    folder: Path, download: Download, kept: pd.DataFrame, cells: np.ndarray, known: Known
) -> None:
    """Write the tables, and remove the photos that were unpacked but are not used."""
    split = [cell.split("_")[0] for cell in cells]
    images = pd.DataFrame(
        {
            "image": kept["id"].to_numpy(),
            "path": [download.photos[i] for i in kept["id"]],
            "split": split,
            "role": [cell.split("_")[-1] for cell in cells],
        }
    )
    wide = kept[["id", *known]].assign(evaluated=[int(s != "train") for s in split])
    labels = wide.melt(["id", "evaluated"], var_name="attribute").rename(columns={"id": "image"})
    allowed = [(a, v) for a, values in known.items() for v in values]
    labels = labels[pd.MultiIndex.from_frame(labels[["attribute", "value"]]).isin(allowed)]
    write_prepared(
        folder,
        name="fashion-products",
        title="Fashion Product Images (Small)",
        source=SOURCE,
        licence=LICENCE,
        attributes=[Attribute(a, tuple(values)) for a, values in known.items()],
        images=images,
        labels=labels,
        image_root=download.image_root,
    )
    if download.root == folder / "images":
        for name in set(download.photos.values()) - set(images["path"]):
            (download.root / name).unlink()


# --------------------------------------------------------------------------- the report


def _account(
    rows: pd.DataFrame,
    photos: pd.DataFrame,
    kept: pd.DataFrame,
    cells: np.ndarray,
    known: Known,
    left_out: dict[str, list[str]],
    repaired: list[str],
) -> dict[str, Any]:
    """Where every row and every value went. Raises RuntimeError when a sum does not agree."""
    n_read = len(rows) + len(left_out["unreadable row"])
    n_out = sum(map(len, left_out.values()))
    in_cells = {cell: int((cells == cell).sum()) for cell in CELLS}
    sums = {
        "rows read = images kept + rows left out": [n_read, len(kept) + n_out],
        "images kept = sum over splits": [len(kept), sum(in_cells.values())],
    }
    values = {}
    for attribute in ATTRIBUTES:
        table = values[attribute] = _count_values(attribute, [rows, photos, kept], cells, known)
        n_rows = sum(entry["rows"] for entry in table.values())
        n_labels = sum(entry["labels"] for entry in table.values())
        unlabelled = sum(e["photos"] for e in table.values() if e["status"] != "kept")
        in_splits = sum(entry[cell] for entry in table.values() for cell in CELLS)
        sums |= {
            f"{attribute}: rows = readable rows": [n_rows, len(rows)],
            f"{attribute}: photos = labels + unlabelled": [len(photos), n_labels + unlabelled],
            f"{attribute}: labels = sum over splits": [n_labels, in_splits],
        }
    if wrong := [f"{what}: {a} and {b}" for what, (a, b) in sums.items() if a != b]:
        raise RuntimeError(f"the report's sums disagree: {'; '.join(wrong)}")
    return {
        "rows": {
            "read": n_read,
            "repaired": _named(repaired),
            "kept": len(kept),
            "left_out": {reason: _named(ids) for reason, ids in left_out.items()},
        },
        "images": in_cells,
        "attributes": values,
        "queries_without_candidate": {
            split: sum(
                entry[f"{split}_query"] * (entry[f"{split}_candidate"] == 0)
                for table in values.values()
                for entry in table.values()
            )
            for split in ("valid", "test")
        },
        "sums": sums,
    }


def _named(ids: list[str]) -> dict[str, Any]:
    return {"count": len(ids), "ids": ids[:NAMED]}


def _count_values(
    attribute: str, frames: list[pd.DataFrame], cells: np.ndarray, known: Known
) -> dict[str, dict[str, Any]]:
    """For each value: its status, rows, usable photos, labels, and labels in each cell.

    ``frames`` are all rows, those with a usable photo, and those kept (in the order of ``cells``).
    """
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
    for reason, entry in rows["left_out"].items():
        if entry["count"]:
            more = ", …" if entry["count"] > len(entry["ids"]) else ""
            lines.append(f"left out, {reason}: {entry['count']} ({', '.join(entry['ids'])}{more})")
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
    lines.append(f"licence: {LICENCE}")
    return "\n".join(lines)
