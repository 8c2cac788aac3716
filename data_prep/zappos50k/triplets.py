"""Triplets of UT-Zappos50K: drawn from labels, or taken from CSN's lists."""

from __future__ import annotations

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Labels
from agman_lib.data.triplets import LabelIndex
from data_prep.common.ledger import Ledger
from data_prep.zappos50k.lists import COLUMNS, SPLITS, Lists

PERCENT = {"train": 70, "valid": 10, "test": 20}
ROUNDS = 50  # of drawing again what came out twice
FEW = 128  # images of which all triplets can be listed

Values = list[dict[str, tuple[str, ...]]]  # of each image: attribute -> its values


# --------------------------------------------------------------------------- from the metadata


def split_products(images: list[str], generator: np.random.Generator) -> np.ndarray:
    """Split images 70/10/20, all colours of a product together.

    Products (the image id up to its first dot) in random order: one belongs to train while fewer
    than 70 % of the images come before it, to valid while fewer than 80 % do, else to test.

    Returns:
        The split of each image, text (N,).
    """
    names = np.array([image.rsplit("/", 1)[-1].partition(".")[0] for image in images])
    _, product, size = np.unique(names, return_inverse=True, return_counts=True)
    order = generator.permutation(len(size))
    before = np.empty(len(size), np.int64)
    before[order] = np.cumsum(size[order]) - size[order]
    ends = np.cumsum(list(PERCENT.values()))[:-1] * len(images)
    return np.array(list(PERCENT))[np.searchsorted(ends, 100 * before[product], side="right")]


def as_labels(of_images: Values, attribute: str) -> tuple[Labels, list[str]]:
    """One attribute's labels (image, 0, value) and the values' names, sorted."""
    names = sorted({value for values in of_images for value in values.get(attribute, ())})
    number = {name: i for i, name in enumerate(names)}
    pairs = [
        (i, number[v]) for i, values in enumerate(of_images) for v in values.get(attribute, ())
    ]
    image, value = np.array(pairs, np.int64).reshape(-1, 2).T
    return Labels(image, np.zeros(len(image), np.int64), value), names


def draw_triplets(
    of_images: Values, split: np.ndarray, caps: dict[str, int], seed: int
) -> pd.DataFrame:
    """Draw triplets of every split, a quarter of its cap for each attribute, none twice.

    A positive shares a value with its anchor and a negative none (`LabelIndex.sample`); all three
    are images of that split. Each (split, attribute) has its own random stream.

    Returns:
        Columns anchor, negative, positive (rows of ``of_images``), attribute, split.
    """
    tables = []
    for a, attribute in enumerate(COLUMNS):
        labels, _ = as_labels(of_images, attribute)
        for s, name in enumerate(SPLITS):
            share = caps[name] // len(COLUMNS) + (a < caps[name] % len(COLUMNS))
            of_split = labels.where(split[labels.image] == name)
            drawn = draw_distinct(of_split, share, np.random.default_rng([seed, s, a]))
            tables.append(_table(drawn, attribute, name))
    together = pd.concat(tables, ignore_index=True)
    order = {name: i for i, name in enumerate(SPLITS)}
    return together.sort_values("split", key=lambda c: c.map(order), kind="stable")


def draw_distinct(labels: Labels, n: int, generator: np.random.Generator) -> np.ndarray:
    """Up to n different triplets (T, 3) of one attribute; all there are where that is fewer."""
    index = LabelIndex(labels) if len(labels) else None
    if index is None or not len(index.usable):
        return np.zeros((0, 3), np.int64)
    every = _every_triplet(index)
    if every is not None and len(every) <= 2 * n:  # drawing would take long to meet the last ones
        return generator.permutation(every)[:n]
    found = np.zeros((0, 3), np.int64)
    for _ in range(ROUNDS):
        try:
            more = index.sample(n - len(found), generator)
        except AgmanError:  # every image shares a value with every other
            break
        rows = np.column_stack([more.anchor, more.negative, more.positive])
        together = np.concatenate([found, rows])
        _, first = np.unique(together, axis=0, return_index=True)
        found = together[np.sort(first)]
        if len(found) == n:
            break
    return found


def _every_triplet(index: LabelIndex) -> np.ndarray | None:
    """All triplets (T, 3) of a few images; None of more than `FEW`."""
    images = np.unique(index.labels.image)
    if len(images) > FEW:
        return None
    one, other = (i.ravel() for i in np.meshgrid(images, images, indexing="ij"))
    share = index.share(one, other, np.zeros_like(one)).reshape(len(images), -1)
    positive = share & ~np.eye(len(images), dtype=bool)
    anchor, negative, second = np.nonzero(~share[:, :, None] & positive[:, None, :])
    return np.column_stack([images[anchor], images[negative], images[second]])


def _table(rows: np.ndarray, attribute: str, split: str) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["anchor", "negative", "positive"])
    return table.assign(attribute=attribute, split=split)


# --------------------------------------------------------------------------- from CSN's lists


def listed_rows(
    lists: Lists,
    ids: list[str | None],
    images: list[str],
    caps: dict[str, int],
    seed: int,
    notes: Ledger,
) -> pd.DataFrame:
    """CSN's triplets in their order, those with an unusable photo left out, at most the caps.

    Args:
        lists: from `zappos_lists.read_lists`.
        ids: the image id of each line of filenames.json, None where no photo is known.
        images: ids of the usable images.
        caps: triplets of each split; of more, a seeded choice is kept.
        seed: of that choice.
        notes: what was left out and what is odd goes here.

    Returns:
        As `draw_triplets`.
    """
    row = {image: i for i, image in enumerate(images)}
    number = np.array([row.get(image, -1) if image else -1 for image in ids], np.int64)
    _note_repeated(lists, ids, notes)
    left_out, odd, tables = [], [], []
    for s, split in enumerate(SPLITS):
        parts = []
        for attribute in COLUMNS:
            rows = number[lists.triplets[split, attribute]]
            file = f"{attribute}_tripletlist_{SPLITS[split]}.txt"
            usable = (rows >= 0).all(axis=1)
            left_out += [f"{file}, triplet {i + 1}" for i in np.flatnonzero(~usable)]
            same = (rows == np.roll(rows, 1, axis=1)).any(axis=1) & usable
            odd += [f"{file}, triplet {i + 1}" for i in np.flatnonzero(same)]
            parts.append(_table(rows[usable], attribute, split))
        table = pd.concat(parts, ignore_index=True)
        if len(table) > caps[split]:
            choice = np.random.default_rng([seed, s]).permutation(len(table))[: caps[split]]
            table = table.iloc[np.sort(choice)]
        tables.append(table)
    notes.add("triplets left out, a photo is missing or unreadable", *left_out)
    notes.add("triplets without three different images (kept)", *odd)
    return pd.concat(tables, ignore_index=True)


def _note_repeated(lists: Lists, ids: list[str | None], notes: Ledger) -> None:
    first: dict[str, int] = {}
    for line, image in enumerate(ids, 1):
        if image is not None and first.setdefault(image, line) != line:
            where = f"line {line}: {lists.paths[line - 1]}, as line {first[image]}"
            notes.add("second line of an image in filenames.json", where)


def splits_of(n_images: int, triplets: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The split of each image by its triplets, and which images are in several (both (N,)).

    Of several splits it is the first of train, valid, test; "" where the image is in no triplet.
    """
    member = np.zeros((len(SPLITS), n_images), bool)
    for s, name in enumerate(SPLITS):
        rows = triplets.loc[triplets["split"].eq(name), ["anchor", "negative", "positive"]]
        member[s, rows.to_numpy().ravel()] = True
    first = np.array(list(SPLITS))[member.argmax(axis=0)]
    return np.where(member.any(axis=0), first, ""), member.sum(axis=0) > 1


def agreement(of_images: Values, triplets: pd.DataFrame) -> dict[str, float]:
    """Percent of the triplets, by attribute, that the metadata bears out.

    That is: of the triplets whose three images have labels, those whose positive shares a value
    with the anchor while the negative does not. Far from 100 where numbers and names do not fit.
    """
    shares = {}
    for attribute in COLUMNS:
        labels, names = as_labels(of_images, attribute)
        has = np.zeros((len(of_images), len(names)), bool)
        has[labels.image, labels.value] = True
        rows = triplets[triplets["attribute"].eq(attribute)]
        a, n, p = (has[rows[c].to_numpy()] for c in ("anchor", "negative", "positive"))
        labelled = a.any(axis=1) & n.any(axis=1) & p.any(axis=1)
        right = (a & p).any(axis=1) & ~(a & n).any(axis=1)
        if labelled.any():
            shares[attribute] = round(100 * float(right[labelled].mean()), 2)
    return shares
