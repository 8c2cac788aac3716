"""The built-in data set: drawn, seeded garments whose attributes, and their places, are known.

Five kinds of garment own different attributes, as in FashionAI, and each picture is labelled for
one of them. What is no attribute (colours, pose, folds, light, background: a `Look`) is drawn
without regard to the values. The curves are in `data_prep.garments.shapes` and
`data_prep.garments.details`, the pixels in `data_prep.garments.drawing`.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from agman_lib.base.cores import usable_cores
from agman_lib.base.errors import AgmanError
from data_prep.garments.drawing import paint
from data_prep.garments.look import Look, draw_look

KINDS: dict[str, tuple[str, ...]] = {
    "top": ("sleeve_length", "neckline", "closure", "pattern"),
    "dress": ("sleeve_length", "neckline", "skirt_length", "pattern"),
    "coat": ("sleeve_length", "lapel", "closure", "pattern"),
    "skirt": ("skirt_length", "pattern"),
    "trousers": ("trouser_length", "pattern"),
}
"""The attributes that each kind of garment owns."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "sleeve_length": ("sleeveless", "short", "elbow", "three_quarter", "long"),
    "neckline": ("round", "v", "square", "boat", "turtle"),
    "lapel": ("collarless", "notched", "shawl", "peak"),
    "skirt_length": ("mini", "knee", "midi", "floor"),
    "trouser_length": ("shorts", "knee", "cropped", "full"),
    "closure": ("none", "buttons", "double_breasted", "zip"),
    "pattern": ("plain", "horizontal_stripes", "vertical_stripes", "dots", "checks"),
}
"""The values of each attribute, in index order."""

VISIBLE = 24
"""A pixel changes visibly when one of its channels changes by at least this much, of 255."""

LABELS = ("one", "all", "every")
SMALLEST, LARGEST = 64, 224  # pixels
_NOWHERE = "pattern"  # it covers the whole garment, so it has no region
_GROUPS = (
    ("train", "train"),
    ("valid", "query"),
    ("valid", "candidate"),
    ("test", "query"),
    ("test", "candidate"),
)

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, half-open."""


def random_values(kind: str, rng: np.random.Generator) -> dict[str, str]:
    """A value for each attribute the kind owns, uniform and independent."""
    return {
        attribute: ATTRIBUTES[attribute][int(rng.integers(len(ATTRIBUTES[attribute])))]
        for attribute in KINDS[kind]
    }


def render(kind: str, values: Mapping[str, str], look: Look, size: int) -> npt.NDArray[np.uint8]:
    """Draw a garment.

    Args:
        kind: one of `KINDS`.
        values: a value of each attribute the kind owns, and of no other.
        look: everything else.
        size: pixels, 64 to 224.

    Returns:
        (size, size, 3) uint8 RGB, the same for the same arguments.

    Raises:
        ValueError: an argument is not one of these.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; it is one of: {', '.join(KINDS)}")
    if set(values) != set(KINDS[kind]):
        raise ValueError(
            f"a {kind} needs values of {', '.join(KINDS[kind])}, not of {', '.join(values)}"
        )
    for attribute, value in values.items():
        if value not in ATTRIBUTES[attribute]:
            known = ", ".join(ATTRIBUTES[attribute])
            raise ValueError(f"unknown value {value!r} of {attribute}; it is one of: {known}")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size {size} must be {SMALLEST} to {LARGEST} pixels")
    return paint(kind, values, look, size)


def true_region(
    kind: str, values: Mapping[str, str], attribute: str, look: Look, size: int
) -> list[Box]:
    """Where an attribute is: the pixels that change visibly when only its value changes.

    The union over the attribute's other values of the pixels that change by at least `VISIBLE`
    in a channel. A changed pixel with fewer than two changed pixels among its eight neighbours is
    a speck and left out. Each run of touching changed columns gives a box, so that two sleeves
    give two; a run of fewer than four pixels is left out too.

    Returns:
        Boxes (x0, y0, x1, y1) in pixels, half-open, from left to right.

    Raises:
        ValueError: the kind does not own the attribute, or it is the pattern, which is everywhere.
    """
    if attribute == _NOWHERE:
        raise ValueError("the pattern is everywhere on the garment: it has no region")
    if attribute not in KINDS.get(kind, ()):
        raise ValueError(f"a {kind} has no {attribute}; it has {', '.join(KINDS.get(kind, ()))}")
    original = render(kind, values, look, size).astype(np.int16)
    changed = np.zeros((size, size), bool)
    for other in ATTRIBUTES[attribute]:
        if other != values[attribute]:
            picture = render(kind, {**values, attribute: other}, look, size)
            changed |= np.abs(picture - original).max(axis=2) >= VISIBLE
    return _boxes(_without_specks(changed))


def _without_specks(changed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Leave out pixels with fewer than two neighbours (of eight). (H, W) -> (H, W)."""
    padded = np.pad(changed, 1).astype(np.uint8)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    block = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]  # the pixel and its neighbours
    return changed & (block >= 3)


def _boxes(mask: npt.NDArray[np.bool_]) -> list[Box]:
    """A box for each run of touching columns with at least four pixels of the mask (H, W)."""
    columns = np.concatenate([[False], mask.any(axis=0), [False]])
    edges = np.flatnonzero(columns[1:] != columns[:-1])
    boxes = []
    for x0, x1 in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        run = mask[:, x0:x1]
        if run.sum() >= 4:
            rows = np.flatnonzero(run.any(axis=1))
            boxes.append((x0, int(rows[0]), x1, int(rows[-1]) + 1))
    return boxes


@dataclass(frozen=True)
class _Task:
    """One image to draw, the `number`-th of its split and role."""

    folder: Path
    group: int  # index in _GROUPS
    number: int
    size: int
    seed: int
    labels: str


@dataclass(frozen=True)
class _Drawn:
    image: str
    path: str
    split: str
    role: str
    kind: str
    labels: dict[str, str]
    evaluated: str | None
    regions: list[tuple[str, Box]]


def _draw(task: _Task) -> _Drawn:
    """Draw, save and describe an image; its random numbers depend on the task alone."""
    split, role = _GROUPS[task.group]
    key = (task.seed, task.group, task.number)
    look = draw_look(np.random.default_rng((*key, 0)))
    rng = np.random.default_rng((*key, 1))
    # Attributes and values take turns instead of being drawn, so that classes are balanced.
    turn, attribute_index = divmod(task.number, len(ATTRIBUTES))
    attribute = list(ATTRIBUTES)[attribute_index]
    owners = [kind for kind, owned in KINDS.items() if attribute in owned]
    kind = owners[int(rng.integers(len(owners)))]
    values = random_values(kind, rng)
    values[attribute] = ATTRIBUTES[attribute][turn % len(ATTRIBUTES[attribute])]

    image = f"{split}_{role}_{task.number:05d}" if role != split else f"{split}_{task.number:05d}"
    path = f"{split}/{image}.png"
    picture = Image.fromarray(render(kind, values, look, task.size))
    picture.save(task.folder / "images" / path, compress_level=1)
    whole = task.labels == "every" or (task.labels == "all" and split == "train")
    labels = values if whole else {attribute: values[attribute]}
    regions = [
        (name, box)
        for name in labels
        if split == "test" and name != _NOWHERE
        for box in true_region(kind, values, name, look, task.size)
    ]
    evaluated = None if split == "train" else attribute
    return _Drawn(image, path, split, role, kind, labels, evaluated, regions)


def prepare(
    out: Path,
    *,
    size: int = 96,
    train: int = 4200,
    valid_queries: int = 20,
    valid_candidates: int = 80,
    test_queries: int = 50,
    test_candidates: int = 200,
    labels: str = "one",
    seed: int = 0,
    workers: int | None = None,
) -> dict[str, int]:
    """Draw the garments into a prepared folder (`agman_lib.data`), and kinds.csv (image, kind).

    Each image is made for one attribute: the attributes take turns, and so do the attribute's
    values; the kind is uniform among the attribute's owners and the other values are uniform. An
    image's pixels depend on the seed, its split, role and number only: not on the number of
    workers, and not on how many images there are beside it.

    Args:
        out: folder to make.
        size: pixels, 64 to 224.
        train: training images.
        valid_queries, valid_candidates, test_queries, test_candidates: of each attribute.
        labels: "one": a training image is labelled for its attribute; "all": for every attribute
            of its kind. Validation and test images have the one label that is evaluated, and test
            images its true region. "every": they too have the labels of every attribute of their
            kind, and test images all true regions; what is evaluated stays the same.
        seed: of everything drawn.
        workers: processes; None for one a core.

    Returns:
        How many images, labels and regions there are.

    Raises:
        AgmanError: `out` is not empty, or an argument is not one of these.
    """
    import pandas as pd

    from agman_lib.data.dataset import Attribute, staging, write_prepared

    each = (valid_queries, valid_candidates, test_queries, test_candidates)
    counts = [train, *(count * len(ATTRIBUTES) for count in each)]
    _check_arguments(size, counts, labels, seed)
    with staging(out) as folder:
        for split in ("train", "valid", "test"):
            (folder / "images" / split).mkdir(parents=True)
        tasks = [
            _Task(folder, group, number, size, seed, labels)
            for group, count in enumerate(counts)
            for number in range(count)
        ]
        drawn = _draw_all(tasks, workers)
        images = pd.DataFrame(
            [(d.image, d.path, d.split, d.role) for d in drawn],
            columns=["image", "path", "split", "role"],
        )
        label_rows = pd.DataFrame(
            [(d.image, a, v, int(a == d.evaluated)) for d in drawn for a, v in d.labels.items()],
            columns=["image", "attribute", "value", "evaluated"],
        )
        regions = pd.DataFrame(
            [(d.image, attribute, *box) for d in drawn for attribute, box in d.regions],
            columns=["image", "attribute", "x0", "y0", "x1", "y1"],
        )
        kinds = pd.DataFrame([(d.image, d.kind) for d in drawn], columns=["image", "kind"])
        kinds.to_csv(folder / "kinds.csv", index=False, lineterminator="\n")
        write_prepared(
            folder,
            name="garments",
            title="Built-in garments",
            source=f"drawn by data_prep/garments/dataset.py, seed {seed}, size {size}",
            licence="MIT",
            attributes=[Attribute(name, values) for name, values in ATTRIBUTES.items()],
            images=images,
            labels=label_rows,
            regions=regions,
        )
    return {"images": len(images), "labels": len(label_rows), "regions": len(regions)}


def _check_arguments(size: int, counts: list[int], labels: str, seed: int) -> None:
    if not SMALLEST <= size <= LARGEST:
        raise AgmanError(f"size {size} must be {SMALLEST} to {LARGEST} pixels")
    if min(counts) < 1:
        raise AgmanError("train, the queries and the candidates must each be at least 1")
    if labels not in LABELS:
        raise AgmanError(f"labels {labels!r} must be one of {', '.join(LABELS)}")
    if seed < 0:
        raise AgmanError(f"seed {seed} must not be negative")


def _draw_all(tasks: list[_Task], workers: int | None) -> list[_Drawn]:
    workers = min(workers or usable_cores(), len(tasks))
    if workers == 1:
        return [_draw(task) for task in tasks]
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        return list(pool.map(_draw, tasks, chunksize=16))


def _end_with_parent() -> None:
    """In a worker: end when the process that it works for was killed, and not wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
