"""A person's own photos: a CSV table or folders become a prepared folder.

The photos stay where they are. The table has the columns path, attribute, value, one label a line,
and optionally split and role; the folders are ``<attribute>/<value>/<photo>``.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Attribute, staging, write_prepared
from data_prep.common.archives import undecodable
from data_prep.common.ledger import Ledger, write_report
from data_prep.common.splits import CELLS
from data_prep.own_photos.source import Entry, Listing, read_source
from data_prep.own_photos.split import ALONE, given_cells, split_images

UNREADABLE = "photo cannot be opened (save it again as jpg)"


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    valid: float = 0.15,
    test: float = 0.15,
    query_share: float = 0.2,
    root: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Prepare a person's own photos.

    Unless the table has a column split, images are spread over train, valid and test so that every
    value has the wanted shares in each (`data_prep.common.splits.assign_cells`). Unless it has a
    column role, queries are chosen in the same way, and then each value with two images or more in
    a split gets at least one query there, as far as candidates are left. An attribute needs two
    values with two training images each; others are left out, and images without any other label
    with them. Of several values of an attribute the first listed is the evaluated one in valid and
    test.

    Args:
        source: a table (UTF-8, comma, semicolon or tab) or a folder.
        out: the prepared folder to make; photos are referenced, never copied.
        seed: of the split and the queries.
        valid: share of the images in the split valid.
        test: share of the images in the split test.
        query_share: share of valid's and of test's images that are queries.
        root: what a table's paths are relative to; by default its own folder.
        progress: show progress bars.

    Returns:
        The report, also written as ``out/prepare_report.json``.

    Raises:
        AgmanError: in words, with the line or photo, what is wrong and how to fix it.
    """
    if min(valid, test) <= 0 or valid + test >= 1 or not 0 < query_share < 1:
        raise AgmanError(
            "valid and test must be above 0 and together below 1, and query_share between 0 and 1; "
            f"got {valid}, {test}, {query_share}"
        )
    source, out = Path(source), Path(out)
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise AgmanError(f"{out}: lies inside the photos' folder {source}; choose another --out")
    with staging(out) as folder:
        listing = read_source(source, None if root is None else Path(root))
        n_photos = len({entry.image for entry in listing.entries})
        _drop_unreadable(listing, progress)
        given = given_cells(listing.entries, source)
        advice: list[str] = []
        images, cells = split_images(listing, given, (valid, test, query_share), seed, advice)
        labels = _labels(listing.entries, dict(zip(images, cells, strict=True)))
        _write(folder, source, listing.root, images, cells, labels)
        in_cells = {cell: int((cells == cell).sum()) for cell in CELLS}
        n_out = listing.left_out.count(UNREADABLE, ALONE)
        what = "photos read = in the splits + left out"
        listing.left_out.agree(what, n_photos, sum(in_cells.values()) + n_out)
        _note_slips(listing)
        report = {
            "data_set": "own-photos",
            "source": source.name,
            "settings": {"seed": seed, "valid": valid, "test": test, "query_share": query_share},
            "images": in_cells,
            "attributes": _count(labels),
            "advice": advice + _advise(labels, _enough(valid, test)),
            "left_out": listing.left_out.report(),
            "notes": listing.notes.report(),
            "sums": listing.left_out.sums,
        }
        write_report(folder, report)
    return report


def _drop_unreadable(listing: Listing, progress: bool) -> None:
    images = sorted({entry.image for entry in listing.entries})
    refused = undecodable([listing.root / image for image in images], progress)
    bad = [image for image in images if listing.root / image in refused]
    listing.left_out.add(UNREADABLE, *bad)
    listing.entries = [e for e in listing.entries if e.image not in set(bad)]
    if not listing.entries:
        raise AgmanError(
            f"{listing.root}: none of the {len(images)} photos can be opened (first: {bad[0]}); "
            "save them again as jpg or png"
        )


# --------------------------------------------------------------------------- writing


def _labels(entries: list[Entry], cell: dict[str, str]) -> pd.DataFrame:
    """labels.csv with each image's cell, sorted; the first listed value of a pair is evaluated."""
    first: dict[tuple[str, str], Entry] = {}
    rows = [
        (
            e.image,
            e.attribute,
            e.value,
            int(first.setdefault((e.image, e.attribute), e) is e and cell[e.image] != "train"),
            cell[e.image],
        )
        for e in entries
    ]
    columns = ["image", "attribute", "value", "evaluated", "cell"]
    return pd.DataFrame(sorted(rows), columns=columns)


def _write(
    folder: Path,
    source: Path,
    root: Path,
    images: list[str],
    cells: np.ndarray,
    labels: pd.DataFrame,
) -> None:
    table = pd.DataFrame({"image": images, "path": images})
    table["split"] = [cell.split("_")[0] for cell in cells]
    table["role"] = [cell.split("_")[-1] for cell in cells]
    write_prepared(
        folder,
        name="own-photos",
        title=source.stem,
        source=source.name,
        licence="the owner's",
        attributes=[
            Attribute(str(name), tuple(sorted(set(of["value"]))))
            for name, of in labels.groupby("attribute")
        ],
        images=table,
        labels=labels,
        image_root=str(root),
    )


# --------------------------------------------------------------------------- the report


def _count(labels: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Attribute -> value -> photos in all and in each cell; queries and candidates as evaluated."""
    counts: dict[str, dict[str, dict[str, int]]] = defaultdict(dict)
    for (attribute, value), of in labels.groupby(["attribute", "value"]):
        scored = of[of["evaluated"].eq(1) | of["cell"].eq("train")]["cell"].value_counts()
        cells = {cell: int(scored.get(cell, 0)) for cell in CELLS}
        counts[str(attribute)][str(value)] = {"photos": len(of), **cells}
    return dict(counts)


def _advise(labels: pd.DataFrame, enough: int) -> list[str]:
    """What is too little, and how much would do."""
    advice = []
    for attribute, values in _count(labels).items():
        for value, n in values.items():
            if n["train"] < 2:
                advice.append(
                    f"{attribute}: too few photos of the value {value} (in all {n['photos']}, for "
                    f"training {n['train']}) to learn it; training needs two, and about {enough} "
                    "in all are enough to train and test it."
                )
        for split in ("valid", "test"):
            query, candidate = f"{split}_query", f"{split}_candidate"
            lonely = [v for v, n in values.items() if n[query] and not n[candidate]]
            if not any(n[query] and n[candidate] for n in values.values()):
                advice.append(
                    f"{attribute}: the split {split} has no query with a photo to find, so it "
                    f"says nothing about it; about {enough} photos of each value are enough."
                )
            elif lonely:
                advice.append(
                    f"{attribute}: in {split} the queries of {', '.join(lonely)} have no photo to "
                    f"find and score 0; about {enough} photos of each value are enough."
                )
    return advice


def _enough(valid: float, test: float) -> int:
    """Photos of a value that give two in training, and a query and a candidate in each split."""
    return math.ceil(2 / min(valid, test, 1 - valid - test))


def _note_slips(listing: Listing) -> None:
    """Note what looks like a slip in the labels."""
    spellings: dict[tuple[str, str], set[str]] = defaultdict(set)
    values: dict[tuple[str, str], list[str]] = defaultdict(list)
    for e in listing.entries:
        spellings["attribute", _folded(e.attribute)].add(e.attribute)
        spellings[f"value of {e.attribute}", _folded(e.value)].add(e.value)
        values[e.image, e.attribute].append(e.value)
    alike = "names that look alike (kept apart; give them one spelling if they are the same)"
    for (what, _), names in sorted(spellings.items()):
        if len(names) > 1:
            listing.notes.add(alike, f"{what}: {', '.join(sorted(names))}")
    for (image, attribute), several in values.items():
        if len(several) > 1:
            why = "photo with several values of an attribute (the first is scored)"
            listing.notes.add(why, f"{image}: {attribute} {', '.join(several)}")


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def summary(report: dict[str, Any]) -> str:
    """The report in a few lines for the terminal."""
    n = report["images"]
    splits = " · ".join(
        f"{s} {n[f'{s}_query']:,} queries + {n[f'{s}_candidate']:,} candidates"
        for s in ("valid", "test")
    )
    lines = [f"{sum(n.values()):,} photos: train {n['train']:,} · {splits}"]
    for attribute, values in report["attributes"].items():
        each = ", ".join(f"{value} {count['photos']:,}" for value, count in values.items())
        lines.append(f"{attribute}: {each}")
    for title, block in (("left out, ", "left_out"), ("", "notes")):
        lines += Ledger.lines(report[block], title, shown=5, between="; ")
    return "\n".join([*lines, *report["advice"]])
