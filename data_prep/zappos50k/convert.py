"""UT-Zappos50K with four conditions: CSN's triplet lists, or triplets made from the metadata.

Attributes: class (column Category: shoes, boots, sandals or slippers, which is CSN's "type of the
shoes" (recalled); SubCategory is finer and its names overlap), closure, gender, and heel (column
HeelHeight, whose seven ranges stand in for the heights in inches that CSN compares (recalled)).

Scores on triplets made here are not comparable with published ones: other triplets, other images.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Attribute, staging, write_prepared
from data_prep.common.archives import undecodable
from data_prep.common.ledger import Ledger, write_report
from data_prep.zappos50k.lists import (
    COLUMNS,
    SPLITS,
    Lists,
    Row,
    find_metadata,
    read_lists,
    read_metadata,
)
from data_prep.zappos50k.photos import SOURCE, Photos, read_photos
from data_prep.zappos50k.report import CAPS, account, ordered, summary
from data_prep.zappos50k.triplets import (
    Values,
    agreement,
    draw_triplets,
    listed_rows,
    split_products,
    splits_of,
)

LICENCE = "non-commercial use only, by the data set's readme"

__all__ = ["prepare", "summary"]


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    triplets: str | Path | None = None,
    metadata: str | Path | None = None,
    seed: int = 0,
    caps: dict[str, int] | None = None,
    max_missing: float = 0.01,
    progress: bool = True,
) -> dict[str, Any]:
    """Prepare the data set (protocol "triplets").

    With CSN's lists: their triplets, in their order; where a split has more than its cap, a seeded
    choice of that many from its four lists together. An image's split is that of its triplets
    (train before valid before test, should it be in several). Without them: products (all colours
    of a shoe together, so that no shoe is in two splits) are put in a seeded random order, and go
    to train until it has 70 % of the images, then to valid up to 80 %, then to test; each split's
    triplets are drawn by `LabelIndex.sample` (value uniform), a quarter of the cap for each
    attribute, none twice. Anchor and positive share a value, anchor and negative none.

    Counted and named in the report: a photo that is missing or cannot be decoded (its triplets are
    left out), a second line for the same image (of meta-data.csv the first counts; of
    filenames.json both numbers mean that image), a listed triplet without three different images
    (kept).

    Args:
        source: ut-zap50k-images.zip, or its folder. Photos of a folder are referenced where they
            are. Those of a zip go to ``out/images``, a dot at the end of a folder written "%2E".
        out: the prepared folder to make.
        triplets: CSN's folder: filenames.json and ``tripletlists/``.
        metadata: meta-data.csv, its folder or its zip; by default looked for in and beside
            ``source``. Gives labels.csv, which is empty without it.
        seed: of the split, of the drawn triplets, and of the choice under a cap.
        caps: triplets of each split over the four attributes together; by default the published
            200,000, 80,000 and 160,000.
        max_missing: share of the listed photos that may be missing or unreadable.
        progress: show progress bars.

    Returns:
        The report, also written as ``out/prepare_report.json``.

    Raises:
        AgmanError: an input cannot be used (with its file and line), too many photos are missing,
            or a split gets no triplet. Nothing is left half-written.
    """
    source, caps = Path(source), CAPS | (caps or {})
    if set(caps) != set(CAPS) or min(caps.values()) < 1 or not 0 <= max_missing <= 1:
        raise AgmanError("caps name train, valid, test, at least 1; max_missing is 0 to 1")
    table = Path(metadata) if metadata is not None else find_metadata(source)
    notes = Ledger(word="names")
    with staging(out) as folder:
        photos = read_photos(source)
        lists = None if triplets is None else read_lists(Path(triplets))
        rows = [] if table is None else read_metadata(table)
        if lists is None and not rows:
            raise AgmanError(
                f"{source}: needs meta-data.csv beside it to make triplets; get ut-zap50k-data.zip "
                f"from {SOURCE}, or name CSN's folder of triplet lists"
            )
        values = _labelled(photos, rows, notes)
        listed = _listed(photos, lists, rows)
        where = str(lists.file if lists else table)
        paths, root = _place(photos, listed, where, max_missing, folder, notes, progress)
        images = list(paths)
        of_images = [values.get(image, {}) for image in images]
        if lists is None:
            split = split_products(images, np.random.default_rng(seed))
            drawn = draw_triplets(of_images, split, caps, seed)
        else:
            ids = [photos.find(path) if path else None for path in lists.paths]
            drawn = listed_rows(lists, ids, images, caps, seed, notes)
            split, several = splits_of(len(images), drawn)
            notes.add("image in triplets of several splits", *_pick(images, several))
            notes.add("image in no triplet", *_pick(images, split == ""))
        _refuse_empty(source, drawn, split)
        _write(folder, paths, root, split, of_images, drawn, () if lists is None else SPLITS)
        again = f"second line of an image in {'filenames.json' if lists else 'meta-data.csv'}"
        n_out = notes.count("photo missing", "photo unreadable", again)
        notes.agree("photos listed = usable images + left out", len(listed), len(images) + n_out)
        report = {
            "data_set": "zappos50k",
            "source": source.name,
            "triplets_from": "meta-data.csv" if lists is None else "CSN's lists",
            "settings": {"seed": seed, "caps": caps, "max_missing": max_missing},
            **account(len(photos.files), split, of_images, drawn, notes),
            "agreement_with_metadata": agreement(of_images, drawn) if lists and rows else {},
        }
        write_report(folder, report)
    return report


# --------------------------------------------------------------------------- photos and labels


def _labelled(
    photos: Photos, rows: list[Row], notes: Ledger
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Image id -> values of each attribute, from the first line of each image."""
    values: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in rows:
        image = photos.find_cid(row.cid, row.folder)
        if image in values:
            notes.add("second line of an image in meta-data.csv", f"line {row.line}: {row.cid}")
        elif image is not None:
            values[image] = row.values
    return values


def _listed(photos: Photos, lists: Lists | None, rows: list[Row]) -> list[tuple[str, str | None]]:
    """What the lists (or else the metadata) name, with its line, and the image id or None."""
    if lists is None:
        return [(f"line {r.line}: {r.cid}", photos.find_cid(r.cid, r.folder)) for r in rows]
    return [(f"line {i}: {p}", photos.find(p)) for i, p in enumerate(lists.paths, 1) if p]


def _place(
    photos: Photos,
    listed: list[tuple[str, str | None]],
    where: str,
    max_missing: float,
    folder: Path,
    notes: Ledger,
    progress: bool,
) -> tuple[dict[str, str], Path]:
    """The usable images, in listed order, with their path, and the folder the paths start from."""
    missing = [name for name, image in listed if image is None]
    _refuse_half(missing, len(listed), where, photos, max_missing)
    lines = {image: name for name, image in reversed(listed) if image is not None}
    wanted = list(dict.fromkeys(image for _, image in listed if image is not None))
    paths = photos.place(wanted, folder, progress)
    root = photos.source if photos.source.is_dir() else folder / "images"
    refused = undecodable([root / paths[image] for image in wanted], progress)
    bad = {image for image in wanted if root / paths[image] in refused}
    unreadable = [lines[image] for image in wanted if image in bad]
    _refuse_half(missing + unreadable, len(listed), where, photos, max_missing)
    notes.add("photo missing", *missing)
    notes.add("photo unreadable", *unreadable)
    notes.add("photo not listed", *sorted(set(photos.files) - set(wanted)))
    notes.add("photo twice in the download", *photos.repeated)
    if photos.source.is_file():
        for image in bad:
            (root / paths[image]).unlink()
    return {image: path for image, path in paths.items() if image not in bad}, root


def _refuse_half(
    missing: list[str], n_listed: int, where: str, photos: Photos, max_missing: float
) -> None:
    if len(missing) > max_missing * n_listed:
        raise AgmanError(
            f"{where}, {missing[0]}: no readable photo of it in {photos.source}, nor of "
            f"{len(missing) - 1:,} others of {n_listed:,}; get ut-zap50k-images.zip again, or go "
            "on with what is there by --max-missing 1"
        )


def _pick(images: list[str], which: np.ndarray) -> list[str]:
    return [images[i] for i in np.flatnonzero(which)]


def _refuse_empty(source: Path, drawn: pd.DataFrame, split: np.ndarray) -> None:
    for name in SPLITS:
        if not drawn["split"].eq(name).any():
            raise AgmanError(
                f"{source}: no triplet for the split {name}, which has {(split == name).sum()} "
                "usable images: two must share a value and a third have another; use the whole "
                "download"
            )


# --------------------------------------------------------------------------- writing


def _write(
    folder: Path,
    paths: dict[str, str],
    root: Path,
    split: np.ndarray,
    of_images: Values,
    drawn: pd.DataFrame,
    published_splits: Iterable[str],
) -> None:
    """Write the tables, and remove the photos that were unpacked but are not used."""
    ids = np.array(list(paths), dtype=object)
    used = split != ""
    images = pd.DataFrame({"image": ids, "path": list(paths.values()), "split": split})[used]
    rows = [
        (image, attribute, value, 0)
        for image, values, is_used in zip(ids, of_images, used, strict=True)
        if is_used
        for attribute in COLUMNS
        for value in values.get(attribute, ())
    ]
    labels = pd.DataFrame(rows, columns=["image", "attribute", "value", "evaluated"])
    columns = ("anchor", "negative", "positive")
    write_prepared(
        folder,
        name="zappos50k",
        title="UT-Zappos50K",
        source=SOURCE,
        licence=LICENCE,
        protocol="triplets",
        attributes=[
            Attribute(a, ordered(set(labels.loc[labels["attribute"].eq(a), "value"])))
            for a in COLUMNS
        ],
        images=images.assign(role=images["split"].where(images["split"].eq("train"), "candidate")),
        labels=labels,
        triplets=drawn.assign(**{c: ids[drawn[c].to_numpy()] for c in columns}),
        image_root="images" if root == folder / "images" else str(root.resolve()),
        published_splits=published_splits,
    )
    if root == folder / "images":
        for image in ids[~used]:
            (root / paths[image]).unlink()
