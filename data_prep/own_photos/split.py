"""Which of a person's photos train, validate and test, and which attributes can be trained."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from agman_lib.base.errors import AgmanError
from data_prep.common.splits import assign_cells
from data_prep.own_photos.source import Entry, Listing

ALONE = "photo of such an attribute alone"

# --------------------------------------------------------------------------- which attributes stay


def split_images(
    listing: Listing,
    given: dict[str, str],
    shares: tuple[float, float, float],
    seed: int,
    advice: list[str],
) -> tuple[list[str], np.ndarray]:
    """Images and their cells; attributes that cannot be trained are left out of the listing."""
    while True:
        images = sorted({entry.image for entry in listing.entries})
        cells = _assign(images, listing.entries, given, shares, np.random.default_rng(seed))
        in_train = {i for i, cell in zip(images, cells, strict=True) if cell == "train"}
        pairs = Counter((e.attribute, e.value) for e in listing.entries if e.image in in_train)
        n_good = Counter(attribute for (attribute, _), n in pairs.items() if n >= 2)
        poor = sorted({e.attribute for e in listing.entries if n_good[e.attribute] < 2})
        if not poor:
            return images, cells
        said = [_too_poor(listing.entries, attribute, pairs) for attribute in poor]
        advice += said
        listing.left_out.add("attribute cannot be trained", *poor)
        before = {entry.image for entry in listing.entries}
        listing.entries = [e for e in listing.entries if e.attribute not in poor]
        unlabelled = before - {entry.image for entry in listing.entries}
        listing.left_out.add(ALONE, *sorted(unlabelled))
        if not listing.entries:
            raise AgmanError(f"{listing.root}: nothing can be trained. {' '.join(advice)}")


def _too_poor(entries: list[Entry], attribute: str, in_train: Counter[tuple[str, str]]) -> str:
    values = Counter(e.value for e in entries if e.attribute == attribute)
    has = ", ".join(
        f"{v} {n} ({in_train[attribute, v]} for training)" for v, n in sorted(values.items())
    )
    more = "add photos with another value" if len(values) == 1 else "add photos"
    return (
        f"{attribute} is left out: it needs two values or more with at least two training photos "
        f"each, and it has {has}; {more}."
    )


# --------------------------------------------------------------------------- the split


def given_cells(entries: list[Entry], source: Path) -> dict[str, str]:
    """Image -> "split" or "split_role" as the table gives it; "" for none.

    Raises:
        AgmanError: two lines contradict, or only some lines have a split or a role.
    """
    first: dict[str, Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.image, entry)
        if (entry.split, entry.role) != (other.split, other.role):
            raise AgmanError(
                f"{source}, {entry.where}: {entry.image} has split {entry.split or 'empty'!r} and "
                f"role {entry.role or 'empty'!r}, but {other.split or 'empty'!r} and "
                f"{other.role or 'empty'!r} on {other.where}; a photo has one of each"
            )
    some_split = any(e.split for e in entries)
    some_role = any(e.role not in ("", "train") for e in entries)
    for entry in first.values():
        is_train = entry.split == "train"
        if some_split and not entry.split:
            raise AgmanError(
                f"{source}, {entry.where}: split is empty, but other lines have one; write train, "
                "valid or test there, or empty the whole column"
            )
        wrong = entry.role == "train" if some_split and not is_train else False
        wrong |= is_train and entry.role not in ("", "train")
        wrong |= some_role and not is_train and not entry.role
        if wrong or (entry.role and not some_split):
            raise AgmanError(
                f"{source}, {entry.where}: role {entry.role or 'empty'!r} does not fit split "
                f"{entry.split or 'empty'!r}; train photos have role train or none, valid and test "
                "photos are query or candidate"
            )
    if some_split:
        _refuse_lacking({e.split for e in first.values()}, source)
    return {
        image: "train" if e.split == "train" else f"{e.split}_{e.role}".strip("_")
        for image, e in first.items()
    }


def _refuse_lacking(splits: set[str], source: Path) -> None:
    lacking = [name for name in ("train", "valid", "test") if name not in splits]
    if lacking:
        raise AgmanError(
            f"{source}: no photo has the split {' or '.join(lacking)}; give some photos that "
            "split, or empty the column to have them divided by chance"
        )


def _assign(
    images: list[str],
    entries: list[Entry],
    given: dict[str, str],
    shares: tuple[float, float, float],
    generator: np.random.Generator,
) -> np.ndarray:
    """The cell of each image, text (N,)."""
    valid, test, query_share = shares
    codes = _codes(images, entries)
    cells = np.array([given[image] for image in images], dtype=object)
    if not any(cells):
        names = np.array(("train", "valid", "test"), dtype=object)
        cells = names[assign_cells(codes, np.array([1 - valid - test, valid, test]), generator)]
    for split in ("valid", "test"):
        rows = np.flatnonzero(cells == split)
        if len(rows):
            query = choose_queries(codes[rows], query_share, generator)
            cells[rows] = np.where(query, f"{split}_query", f"{split}_candidate")
    return cells.astype(str)


def _codes(images: list[str], entries: list[Entry]) -> np.ndarray:
    """Each image's labels (N, K) as numbers that are unique over attributes; -1 pads."""
    names = sorted({(e.attribute, e.value) for e in entries})
    number = {name: i for i, name in enumerate(names)}
    of_image: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        of_image[entry.image].append(number[entry.attribute, entry.value])
    width = max(map(len, of_image.values()), default=1)
    padded = [sorted(of_image[i]) + [-1] * (width - len(of_image[i])) for i in images]
    return np.array(padded, np.int64).reshape(len(images), width)


def choose_queries(
    codes: np.ndarray, query_share: float, generator: np.random.Generator
) -> np.ndarray:
    """Which images of a split (N, K) are queries (N,), stratified.

    After that, in random order, an image becomes a query when one of its values has none yet and
    all of them keep a candidate.
    """
    query = assign_cells(codes, np.array([1 - query_share, query_share]), generator) == 1
    n_values = codes.max() + 1
    n_all = np.bincount(codes[codes >= 0], minlength=n_values)
    n_query = np.bincount(codes[query][codes[query] >= 0], minlength=n_values)
    for image in generator.permutation(len(codes)):
        own = codes[image][codes[image] >= 0]
        keeps = (n_all[own] - n_query[own] >= 2).all()
        if not query[image] and keeps and (n_query[own] == 0).any():
            query[image] = True
            n_query[own] += 1
    return query
