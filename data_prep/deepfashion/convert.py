"""DeepFashion, Category and Attribute Prediction: 5 attributes, 1000 values, several an image.

Makes a prepared folder (its format: `agman_lib.data.dataset`) from the download, which
`data_prep.deepfashion.files` reads; the photos are referenced where they are. As in ASEN's
conversion, an attribute is a type (texture, fabric, shape, part, style), and a value's index is
the rank of its global attribute id within its type: 156, 218, 180, 216 and 230 values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Attribute, staging, write_prepared
from data_prep.common.asen_protocol import cell_counts, check_agreement, published_splits
from data_prep.common.asen_splits import find_splits, ranks, read_filenames, read_global_labels
from data_prep.common.ledger import named, write_report
from data_prep.deepfashion.files import (
    DOWNLOAD,
    TYPES,
    Layout,
    TrueLabels,
    find_layout,
    read_attributes,
    read_true_labels,
)
from data_prep.deepfashion.report import account, summary
from data_prep.deepfashion.rules import (
    assign,
    draw,
    global_ids,
    judge_images,
    judge_published,
    read_published,
)

__all__ = ["prepare", "summary"]


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    splits: str | Path | None = None,
    seed: int = 0,
    check_images: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Prepare the data set.

    labels.csv holds all true labels of every image. In valid and test ONE of an image's labels is
    evaluated, as in ASEN's protocol; the others are there so that relevance can also ask whether
    the sets of true values meet. Value names are those of list_attr_cloth.txt; a name that another
    attribute of its type has already gets " (2)".

    Images are left out, counted and named when they have no true label, no photo, or one that
    cannot be decoded. A path that is listed twice is one image with the labels of both lines.

    The split: published files are taken as they are. An image they list twice (one is, in valid)
    has both labels evaluated when they are of two attributes; otherwise, and when the listings
    differ in split or role, the first counts: test, valid, then train; queries before candidates.
    A missing valid or test is drawn uniformly from list_eval_partition.txt's, 27,625 images as
    published, one query to four candidates over the whole split, the evaluated label drawn
    uniformly from the image's labels (`data_prep.common.asen_protocol`). A missing train is that of
    list_eval_partition.txt; where valid and test are both published, whose images need not be
    those of the partition, it is all other labelled images.

    Args:
        source: folder with Anno_coarse/ or Anno/, Eval/ and img/, there or one folder deeper.
        out: the prepared folder to make.
        splits: folder of ASEN's split files, or the folder above their ``DeepFashion``.
        seed: of the draws.
        check_images: decode every photo, which takes minutes; otherwise only see that it is there.
        progress: show progress bars.

    Returns:
        The report, also written as ``out/prepare_report.json``: every image accounted for.

    Raises:
        AgmanError: the source or a split file cannot be used, ``out`` exists, or too little is
            left. Nothing is left half-written.
    """
    with staging(out) as folder:
        layout = find_layout(Path(source))
        names, types = read_attributes(layout.attributes)
        published = read_published(splits, types)
        true = read_true_labels(layout.labels, len(names), progress)
        images = judge_images(layout, true, published, check_images, progress)
        judge_published(published, images, splits)
        kinds, torn = assign(images, published, layout)
        drawn = draw(images, true, kinds, types, np.random.default_rng(seed))
        listed = published[published["reason"].eq("") & published["split"].ne("train")]
        tables = [t for t in (listed, drawn) if len(t)]
        _check_enough(images, layout)
        labels = _all_labels(images, true, pd.concat(tables), types)
        _write(folder, layout, images, labels, names, types, kinds)
        report = {
            "data_set": "deepfashion",
            "source": Path(source).name,
            "settings": {"seed": seed, "check_images": check_images},
            "split": kinds,
            **account(true, images, labels, published, types),
            "in_two_partitions": named(torn),
            "label_valid": _check_label_valid(splits, true, types),
        }
        write_report(folder, report)
    return report


def _check_enough(images: pd.DataFrame, layout: Layout) -> None:
    for cell, n in cell_counts(images[images["split"].ne("")]).items():
        if n == 0:
            raise AgmanError(
                f"{layout.root}: no usable image is left for {cell.replace('_', ' ')}; {DOWNLOAD}"
            )


def _all_labels(
    images: pd.DataFrame, true: TrueLabels, evaluated: pd.DataFrame, types: np.ndarray
) -> pd.DataFrame:
    """All labels of the kept images: row, attribute, value, evaluated, split, role.

    An evaluated label that is not true in list_attr_img.txt is there too (`account` counts them).
    """
    n_ids = len(types)
    kept = images["split"].ne("").to_numpy()[true.image]
    keys = true.image[kept] * n_ids + true.attribute[kept]
    rows = pd.Index(images["path"]).get_indexer(evaluated["path"])
    attribute, value = (evaluated[c].to_numpy(np.int64) for c in ("attribute", "value"))
    scored = rows * n_ids + global_ids(attribute, value, types)
    both = np.union1d(keys, scored)
    row, ids = np.divmod(both, n_ids)
    columns: dict[str, Any] = {"row": row, "attribute": types[ids] - 1, "value": ranks(types)[ids]}
    columns["evaluated"] = np.isin(both, scored)
    columns |= {c: images[c].to_numpy()[row] for c in ("split", "role")}
    return pd.DataFrame(columns)


def _check_label_valid(
    splits: str | Path | None, true: TrueLabels, types: np.ndarray
) -> dict[str, Any] | None:
    """label_valid.txt beside list_attr_img.txt, where both are there: each label is true."""
    if splits is None:
        return None
    place = find_splits(splits, "DeepFashion")
    file, filenames = place / "label_valid.txt", place / "filenames_valid.txt"
    if not (file.is_file() and filenames.is_file()):
        return None
    paths = read_filenames(filenames)
    labels = read_global_labels(file, len(paths), types)
    rows = pd.Index(true.paths).get_indexer(np.array(paths, object)[labels.image])
    known = rows >= 0
    keys = true.image * len(types) + true.attribute
    false = known & ~np.isin(rows * len(types) + labels.value, keys)
    words = [f"{file.name}, line {n}" for n in labels.line[false]]
    return check_agreement(int(known.sum()), words, "list_attr_img.txt")


# --------------------------------------------------------------------------- writing


def _write(
    folder: Path,
    layout: Layout,
    images: pd.DataFrame,
    labels: pd.DataFrame,
    names: list[str],
    types: np.ndarray,
    kinds: dict[str, str],
) -> None:
    ids = global_ids(labels["attribute"].to_numpy(), labels["value"].to_numpy(), types)
    columns = {
        "image": images["image"].to_numpy()[labels["row"]],
        "attribute": np.array(TYPES, object)[labels["attribute"]],
        "value": np.array(names, object)[ids],
        "evaluated": labels["evaluated"].astype(int),
    }
    write_prepared(
        folder,
        name="deepfashion",
        title="DeepFashion, Category and Attribute Prediction",
        source="mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html",
        licence="non-commercial research only; see the agreement of the download",
        attributes=[
            Attribute(name, tuple(n for n, t in zip(names, types, strict=True) if t == kind))
            for kind, name in enumerate(TYPES, 1)
        ],
        images=images[images["split"].ne("")],
        labels=pd.DataFrame(columns),
        image_root=str(layout.root),
        published_splits=published_splits(kinds),
    )
