"""Which images and labels of DeepFashion are kept, and what split and role they get.

The rules are stated at `data_prep.deepfashion.convert.prepare`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.common.asen_protocol import check_published, draw_roles, file_faults
from data_prep.common.asen_splits import SPLIT_NAMES, Schema, ranks, read_splits
from data_prep.deepfashion.files import DOWNLOAD, TYPES, Layout, TrueLabels, read_partition

EVALUATED = 27_625  # images of the published valid, and of the published test
AGAIN, ELSEWHERE = "listed again", "not in list_attr_img.txt"


def schema_of(types: np.ndarray) -> Schema:
    """ASEN's attributes and their numbers of values from the types 1..5 (G,)."""
    return {name: int((types == kind).sum()) for kind, name in enumerate(TYPES, 1)}


def global_ids(attribute: np.ndarray, value: np.ndarray, types: np.ndarray) -> np.ndarray:
    """The inverse of type - 1 and `ranks`: global attribute ids of (attribute, value); all (L,)."""
    table = np.full((len(TYPES), len(types)), -1, np.int64)
    table[types - 1, ranks(types)] = np.arange(len(types))
    return table[attribute.astype(np.int64), value.astype(np.int64)]


# --------------------------------------------------------------------------- published files


def read_published(splits: str | Path | None, types: np.ndarray) -> pd.DataFrame:
    """The published labels, one a row: those of `Split.table`, and reason."""
    columns = ["path", "split", "role", "attribute", "value", "file", "line"]
    if splits is None:
        return pd.DataFrame(columns=[*columns, "reason"])
    found = read_splits(splits, "DeepFashion", schema_of(types))
    tables = [found[name].table() for name in reversed(SPLIT_NAMES) if name in found]
    return pd.concat(tables, ignore_index=True).assign(reason="")


def judge_images(
    layout: Layout, true: TrueLabels, published: pd.DataFrame, check_images: bool, progress: bool
) -> pd.DataFrame:
    """One row an image of list_attr_img.txt: path, image (its id), n_labels, reason, split, role.

    ``reason`` says why it cannot be used ("" where it can); split and role are still empty.
    """
    counts = np.bincount(true.image, minlength=len(true.paths))
    images = pd.DataFrame({"path": true.paths, "n_labels": counts, "reason": ""})
    images["image"] = [p.removeprefix("img/").rsplit(".", 1)[0] for p in true.paths]
    # an image without true labels may still have a published one; `assign` decides
    wanted = images["n_labels"].gt(0) | images["path"].isin(published["path"])
    faults = file_faults(layout.root, images.loc[wanted, "path"], check_images, progress)
    bad = images["path"].isin(list(faults))
    images["reason"] = images["reason"].mask(bad, images["path"].map(faults))
    return images.assign(split="", role="")


def judge_published(
    published: pd.DataFrame, images: pd.DataFrame, splits: str | Path | None
) -> None:
    """Reasons of the published labels; the table's order says which listing is the first."""
    faults = images.set_index("path")["reason"]
    reason = published["path"].map(faults).fillna(ELSEWHERE)
    good = published[reason.eq("")]
    first = good.groupby("path")[["split", "role"]].transform("first")
    again = good[["split", "role"]].ne(first).any(axis=1)
    # several values of an attribute are fine in training only
    label = good["value"].where(good["split"].eq("train"), -1)
    kept = good[~again].assign(label=label)
    again |= kept.duplicated(["path", "attribute", "label"]).reindex(good.index, fill_value=False)
    published["reason"] = reason.mask(again.reindex(published.index, fill_value=False), AGAIN)
    check_published(published, splits, DOWNLOAD)


def assign(
    images: pd.DataFrame, published: pd.DataFrame, layout: Layout
) -> tuple[dict[str, str], list[str]]:
    """Fill split and role where published or training, and split alone where still to be drawn.

    Returns:
        What each split is, and the paths that list_eval_partition.txt has in two.
    """
    here = set(published["split"])
    listed = published[published["reason"].eq("")].drop_duplicates("path").set_index("path")
    is_listed = images["path"].isin(listed.index)
    for column in ("split", "role"):
        values = images["path"].map(listed[column])
        images[column] = images[column].mask(is_listed, values)
    no_label = images["reason"].eq("") & images["n_labels"].eq(0) & ~is_listed
    images["reason"] = images["reason"].mask(no_label, "no label")
    pool = images["reason"].eq("") & ~images["path"].isin(published["path"])
    torn: list[str] = []
    if {"valid", "test"} <= here:
        wish = pd.Series("train", images.index)
    else:
        partition, torn = read_partition(layout.partition)
        wish = images["path"].map(partition).fillna("")
    kinds = {}
    for name in SPLIT_NAMES:
        if name in here:
            kinds[name] = "published"
            continue
        images["split"] = images["split"].mask(pool & wish.eq(name), name)
        kinds[name] = "the rest" if name == "train" else "drawn"
        if name == "train" and not {"valid", "test"} <= here:
            kinds[name] = "list_eval_partition.txt"
    images["role"] = images["role"].mask(images["split"].eq("train"), "train")
    stray = images["reason"].eq("") & images["split"].eq("")
    images["reason"] = images["reason"].mask(stray, "in no split")
    return kinds, torn


def draw(
    images: pd.DataFrame,
    true: TrueLabels,
    kinds: dict[str, str],
    types: np.ndarray,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Draw images, roles and evaluated labels of the splits to be drawn; fills role in images."""
    first = np.searchsorted(true.image, np.arange(len(images)))
    tables = []
    for name in [n for n in ("valid", "test") if kinds[n] == "drawn"]:
        pool = generator.permutation(np.flatnonzero(images["split"].eq(name)))
        some = pool[:EVALUATED]
        images.loc[pool[EVALUATED:], ["split", "reason"]] = ["", "not drawn"]
        role = draw_roles(len(some), generator)
        images.loc[some, "role"] = role
        which = generator.integers(0, images["n_labels"].to_numpy()[some])
        ids = true.attribute[first[some] + which]
        columns = {"path": images["path"].to_numpy()[some], "split": name, "role": role}
        columns |= {"attribute": types[ids] - 1, "value": ranks(types)[ids]}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables) if tables else pd.DataFrame(columns=["path"])
