"""Fashion Product Images (Small): real shop photos with five attributes, no login needed.

Makes a prepared folder (its format: `agman_lib.data.dataset`) from any of the downloads that
`downloads` reads. In the shop's table every image has every attribute; `kinds` makes attributes of
it that belong to kinds of products, as FashionAI's do. The values are very unbalanced. Its scores
are its own: they cannot be compared with those of other data sets. Who may use the photos, and what
to check first: `data_prep/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError, check_choice
from agman_lib.data.dataset import Attribute, staging, write_prepared
from data_prep.common.archives import undecodable
from data_prep.common.ledger import Ledger, write_report
from data_prep.common.splits import CELLS, assign_cells
from data_prep.fashion_products.downloads import (
    ATTRIBUTES,
    COLUMNS,
    LICENCE,
    PLACEHOLDERS,
    SOURCE,
    Download,
    read_download,
)
from data_prep.fashion_products.kinds import OWNED, add_kinds
from data_prep.fashion_products.report import Known, account, summary

__all__ = ["kept_values", "prepare", "summary"]
REASONS = ("unreadable row", "duplicate id", "no image file", "unreadable image", "no label left")
Attributes = Literal["every", "by-kind"]
TrainLabels = Literal["one", "all"]
TITLE = "Fashion Product Images (Small)"


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    min_images: int = 100,
    valid: float = 0.1,
    test: float = 0.1,
    query_share: float = 0.2,
    attributes: Attributes = "every",
    labels: TrainLabels | None = None,
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
        attributes: "every" takes five columns of the table, which every photo has; "by-kind" the
            ten attributes of `kinds`, each of one kind of product, and writes ``kinds.csv``.
            Products of no such kind are left out then.
        labels: of a training image: "one" is drawn from its labels, as FashionAI has it, or "all".
            By default one with by-kind, and all otherwise.
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
    check_choice("attributes", attributes, Attributes)
    labels = labels or ("one" if attributes == "by-kind" else "all")
    check_choice("labels", labels, TrainLabels)
    settings: dict[str, Any] = {"seed": seed, "min_images": min_images, "valid": valid}
    settings |= {"test": test, "query_share": query_share}
    if attributes == "by-kind" or labels == "one":
        settings |= {"attributes": attributes, "labels": labels}
    with staging(out) as folder:
        download = read_download(Path(source), folder, progress)
        rows = pd.DataFrame(download.rows.good, columns=COLUMNS)
        left_out = Ledger(*REASONS)
        left_out.add("unreadable row", *download.rows.unreadable)
        names: Iterable[str] = ATTRIBUTES
        if attributes == "by-kind":
            names, rows = OWNED, add_kinds(rows)
        photos = _usable(rows, download, left_out, progress)
        known = kept_values(photos, min_images, names)
        codes = _codes(photos, known)
        labelled = np.array((codes >= 0).any(axis=1), bool)
        of_a_kind = photos["kind"].ne("") if attributes == "by-kind" else np.full(len(photos), True)
        left_out.add("of no kind", *photos.loc[~of_a_kind, "id"])
        left_out.add("no label left", *photos.loc[~labelled & of_a_kind, "id"])
        kept, codes = photos.loc[labelled], codes[labelled]
        if kept.empty:
            raise AgmanError(f"{source}: no label is left; lower --min-images (now {min_images})")
        shares = np.outer([valid, test], [query_share, 1 - query_share]).ravel()
        shares = np.concatenate([[1 - valid - test], shares])
        rng = np.random.default_rng(seed)
        cells = np.array(CELLS)[assign_cells(codes, shares, rng)]
        taken = codes >= 0
        if labels == "one":
            taken &= (cells != "train")[:, None] | _one_each(taken, rng)
        name = "fashion-products" + ("-by-kind" if attributes == "by-kind" else "")
        _write(folder, name, download, kept, cells, known, taken)
        frames = [rows, photos, kept]
        report = {
            "data_set": name,
            "source": Path(source).name,
            "settings": settings,
            **account(frames, cells, names, known, taken, left_out, download.rows.repaired),
        }
        write_report(folder, report)
    return report


# --------------------------------------------------------------------------- which labels are kept


def _usable(
    rows: pd.DataFrame, download: Download, left_out: Ledger, progress: bool
) -> pd.DataFrame:
    """The rows with a photo that can be decoded; the others' ids go to ``left_out``."""
    repeated = rows["id"].duplicated()
    missing = ~repeated & ~rows["id"].isin(download.photos.keys())
    left_out.add("duplicate id", *rows.loc[repeated, "id"])
    left_out.add("no image file", *rows.loc[missing, "id"])
    photos = rows[~repeated & ~missing]
    paths = [download.root / download.photos[i] for i in photos["id"]]
    refused = undecodable(paths, progress)
    bad = np.array([path in refused for path in paths], bool)
    left_out.add("unreadable image", *photos.loc[bad, "id"])
    return photos[~bad]


def kept_values(
    photos: pd.DataFrame, min_images: int, attributes: Iterable[str] = ATTRIBUTES
) -> Known:
    """Each attribute's kept values, sorted. An attribute with fewer than two is left out."""
    known = {}
    for attribute in attributes:
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


def _one_each(labelled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One label of each row (N, A) bool, drawn from those that it has."""
    order = np.where(labelled, rng.random(labelled.shape), -1.0)
    return order.argmax(axis=1)[:, None] == np.arange(labelled.shape[1])


# --------------------------------------------------------------------------- writing


def _write(
    folder: Path,
    name: str,
    download: Download,
    kept: pd.DataFrame,
    cells: np.ndarray,
    known: Known,
    taken: np.ndarray,
) -> None:
    """Write the tables, and remove the photos that were unpacked but are not used.

    Args:
        taken: which labels (N, A) are written.
    """
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
    labels = labels[taken.T.ravel()]
    write_prepared(
        folder,
        name=name,
        title=TITLE + (", by kind" if "kind" in kept else ""),
        source=SOURCE,
        licence=LICENCE,
        attributes=[Attribute(a, tuple(values)) for a, values in known.items()],
        images=images,
        labels=labels,
        image_root=download.image_root,
    )
    if "kind" in kept:
        kinds = kept[["id", "kind"]].rename(columns={"id": "image"})
        kinds.to_csv(folder / "kinds.csv", index=False, lineterminator="\n")
    if download.root == folder / "images":
        for name in set(download.photos.values()) - set(images["path"]):
            (download.root / name).unlink()
