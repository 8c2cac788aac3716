"""FashionAI attributes (Tianchi 2018): 8 attributes, 54 values, one attribute an image.

Makes a prepared folder (its format: `agman_lib.data.dataset`) from the unzipped download, which
`data_prep.fashionai.files` reads; the photos are referenced where they are. AG-MAN, ASEN and most
later work are scored on ASEN's split of it: 180,335 images, of which 144,335 for training and
3,600 queries + 14,400 candidates each for validation and test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError, unknown
from agman_lib.data.dataset import staging, write_prepared
from data_prep.common.asen_protocol import (
    cell_counts,
    check_published,
    draw_roles,
    file_faults,
    published_splits,
)
from data_prep.common.asen_splits import SPLIT_NAMES, read_splits
from data_prep.common.ledger import write_report
from data_prep.fashionai.files import (
    ATTRIBUTES,
    DOWNLOAD,
    SCHEMA,
    Download,
    find_download,
    read_rows,
    split_path,
)
from data_prep.fashionai.report import CONFLICT, DUPLICATE, MAYBE, PUBLISHED, account, summary

__all__ = ["prepare", "summary"]
EVALUATED = 18_000  # images of the published valid, and of the published test


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    splits: str | Path | None = None,
    maybe: str = "keep",
    seed: int = 0,
    check_images: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Prepare the data set.

    Rows of label.csv are left out, counted and named in the report when they cannot be read, have
    an unknown attribute, letters that do not fit it, no ``y`` or several, or a photo that is
    missing or cannot be decoded. A photo (by file name) that is listed for one attribute with two
    values loses *both* labels; listed twice with the same value it is kept once.

    A row with ``m`` (maybe) beside its ``y`` is kept as its ``y`` by default. ASEN's published
    split keeps such rows too: 970 of its 18,000 validation images have an ``m`` (computed).

    The split: published files are taken as they are, ``maybe`` does not touch them, and their
    labels are compared with label.csv where it is there; each of train, valid and test may be
    missing. A missing valid or test is drawn from the labelled photos in no published file: 18,000
    of 180,335 of them, as published. A missing train is all the rest. Draws are uniform, with one
    query to four candidates over the whole split, as in the published one
    (`data_prep.common.asen_protocol`), and keep photos of the same name in one split.

    Args:
        source: folder with fashionAI_attributes_train1 and/or train2, there or one folder deeper.
        out: the prepared folder to make.
        splits: folder of ASEN's split files, or the folder above their ``FashionAI``.
        maybe: "keep" or "drop" the rows with an ``m``.
        seed: of the draws.
        check_images: decode every photo, which takes minutes; otherwise only see that it is there.
        progress: show progress bars.

    Returns:
        The report, also written as ``out/prepare_report.json``: every row accounted for.

    Raises:
        AgmanError: the source or a split file cannot be used, ``out`` exists, an option makes no
            sense, or too little is left. Nothing is left half-written.
    """
    if maybe not in ("keep", "drop"):
        raise unknown("maybe", maybe, ("keep", "drop"))
    with staging(out) as folder:
        download = find_download(Path(source), labels_needed=splits is None)
        rows = read_rows(download)
        published = _read_published(splits)
        faults = file_faults(
            download.root,
            [*published["path"], *rows.loc[rows["reason"].eq(""), "path"]],
            check_images,
            progress,
        )
        _judge_rows(rows, faults, maybe)
        _judge_published(published, faults, splits)
        drawn, kinds = _draw(rows[rows["reason"].eq("")], published, np.random.default_rng(seed))
        tables = [published[published["reason"].eq("")], drawn]
        kept = pd.concat([t for t in tables if len(t)] or tables, ignore_index=True)
        _check_enough(kept, kinds, download)
        _write(folder, download, kept, kinds)
        settings = {"maybe": maybe, "seed": seed, "check_images": check_images}
        report = {
            "data_set": "fashionai",
            "source": Path(source).name,
            "parts": list(download.parts),
            "settings": settings,
            "split": kinds,
            **account(rows, published, kept, drawn),
        }
        write_report(folder, report)
    return report


# --------------------------------------------------------------------------- what is kept


def _read_published(splits: str | Path | None) -> pd.DataFrame:
    """The published labels, one a row: those of `Split.table`, id, photo and reason.

    Raises:
        AgmanError: a path is not FashionAI's, or its folder and its label disagree.
    """
    columns = ["path", "split", "role", "attribute", "value", "file", "line"]
    tables = []
    if splits is not None:
        found = read_splits(splits, "FashionAI", SCHEMA)
        tables = [found[s].table() for s in reversed(SPLIT_NAMES) if s in found]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    names, ids, photos = list(SCHEMA), [], []
    fields = ("path", "attribute", "file", "line")
    for path, attribute, file, line in zip(*(table[f] for f in fields), strict=True):
        where = split_path(path.partition("/")[2])
        if where is None or where[0] not in SCHEMA:
            raise AgmanError(
                f"{splits}: {path!r} ({file}, line {line}) is not <part>/Images/<attribute>_labels/"
                "<photo>.jpg; give the folder of ASEN's files for FashionAI"
            )
        if where[0] != names[attribute]:
            raise AgmanError(
                f"{splits}: {file}, line {line} labels {path} for {names[attribute]}, which is "
                "another attribute than its folder's; restore the published files, all of one kind"
            )
        ids.append("/".join(where))
        photos.append(where[1])
    return table.assign(id=ids, photo=photos, reason="")


def _conflicts(table: pd.DataFrame) -> pd.Series:
    """The rows whose id has another value elsewhere among the rows without a reason."""
    good = table[table["reason"].eq("")]
    several = good.groupby("id")["value"].transform("nunique").gt(1)
    return several.reindex(table.index, fill_value=False)


def _give(table: pd.DataFrame, bad: pd.Series, reason: str | pd.Series) -> None:
    """The rows that are bad get the reason, where they have none yet."""
    table["reason"] = table["reason"].mask(table["reason"].eq("") & bad, reason)


def _judge_rows(rows: pd.DataFrame, faults: dict[str, str], maybe: str) -> None:
    _give(rows, _conflicts(rows), CONFLICT)
    if maybe == "drop":
        _give(rows, rows["maybe"], MAYBE)
    _judge_files(rows, faults)


def _judge_files(table: pd.DataFrame, faults: dict[str, str]) -> None:
    """A fault of the file, then a repetition of an id that is kept already."""
    _give(table, table["path"].isin(list(faults)), table["path"].map(faults))
    again = table["id"].where(table["reason"].eq("")).duplicated()
    _give(table, again, DUPLICATE)


def _judge_published(
    published: pd.DataFrame, faults: dict[str, str], splits: str | Path | None
) -> None:
    """Reasons; of a photo in two splits that of test counts, then of valid (the table's order)."""
    _give(published, _conflicts(published), CONFLICT)
    _judge_files(published, faults)
    check_published(published, splits, DOWNLOAD)


def _draw(
    usable: pd.DataFrame, published: pd.DataFrame, generator: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Splits for the usable rows that no published file lists, and what each split is."""
    pool = usable[~usable["photo"].isin(published["photo"])]
    number, photos = pd.factorize(pool["photo"])
    share = EVALUATED / sum(PUBLISHED.values())
    size = min(EVALUATED, max(2, round(usable["photo"].nunique() * share)))
    order = generator.permutation(len(photos))
    split, role = np.full(len(photos), "", object), np.full(len(photos), "train", object)
    kinds = {}
    for name in reversed(SPLIT_NAMES):
        if name in set(published["split"]):
            kinds[name] = "published"
            continue
        kinds[name] = ("drawn" if name != "train" else "the rest") if len(order) else "absent"
        some, order = (order[:size], order[size:]) if name != "train" else (order, order[:0])
        if len(some):
            split[some] = name
            role[some] = draw_roles(len(some), generator) if name != "train" else "train"
    drawn = pool.assign(split=split[number], role=role[number])
    return drawn[drawn["split"].ne("")], {name: kinds[name] for name in SPLIT_NAMES}


def _check_enough(kept: pd.DataFrame, kinds: dict[str, str], download: Download) -> None:
    for cell, n in cell_counts(kept).items():
        if n == 0 and (kept.empty or kinds[cell.split("_")[0]] != "absent"):
            raise AgmanError(
                f"{download.root}: no labelled photo is left for {cell.replace('_', ' ')}; "
                f"{len(kept):,} are usable in all; {DOWNLOAD}"
            )


# --------------------------------------------------------------------------- writing


def _write(folder: Path, download: Download, kept: pd.DataFrame, kinds: dict[str, str]) -> None:
    names = [a.name for a in ATTRIBUTES]
    pairs = zip(kept["attribute"], kept["value"], strict=True)
    labels = pd.DataFrame(
        {
            "image": kept["id"],
            "attribute": [names[a] for a in kept["attribute"]],
            "value": [ATTRIBUTES[a].values[v] for a, v in pairs],
            "evaluated": kept["split"].ne("train").astype(int),
        }
    )
    write_prepared(
        folder,
        name="fashionai",
        title="FashionAI attributes",
        source="FashionAI challenge 2018, tianchi.aliyun.com",
        licence="Tianchi's agreement with each user; research (recalled), check before reuse",
        attributes=ATTRIBUTES,
        images=kept.rename(columns={"id": "image"}),
        labels=labels,
        image_root=str(download.root),
        published_splits=published_splits(kinds),
    )
