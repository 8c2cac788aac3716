"""The built-in data set: drawn, seeded garments whose attributes, and their places, are known.

Five kinds of garment own different attributes, as in FashionAI, and each picture is labelled for
one of them. What is no attribute (colours, pose, folds, light, background: a `Look`) is drawn
without regard to the values.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from agman_lib.base.cores import usable_cores
from agman_lib.base.errors import AgmanError
from data_prep.garments.look import draw_look, harder
from data_prep.garments.picture import (
    ATTRIBUTES,
    KINDS,
    LARGEST,
    NOWHERE,
    SMALLEST,
    Box,
    random_values,
    render,
    true_region,
)

LABELS = ("one", "all", "every")
LOOKS = ("plain", "hard")
_GROUPS = (
    ("train", "train"),
    ("valid", "query"),
    ("valid", "candidate"),
    ("test", "query"),
    ("test", "candidate"),
)


@dataclass(frozen=True)
class _Task:
    """One image to draw, the `number`-th of its split and role."""

    folder: Path
    group: int  # index in _GROUPS
    number: int
    size: int
    seed: int
    labels: str
    look: str


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
    if task.look == "hard":
        look = harder(look, np.random.default_rng((*key, 2)))
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
        if split == "test" and name != NOWHERE
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
    look: str = "plain",
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
        look: "plain"; or "hard": smaller, turned further, partly hidden, in worse light. The same
            seed draws the same garments, with the same values, in either look.
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
    _check_arguments(size, counts, labels, seed, look)
    with staging(out) as folder:
        for split in ("train", "valid", "test"):
            (folder / "images" / split).mkdir(parents=True)
        tasks = [
            _Task(folder, group, number, size, seed, labels, look)
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
            title="Built-in garments" + (", hard look" if look == "hard" else ""),
            source=f"drawn by data_prep/garments/dataset.py, seed {seed}, size {size}",
            licence="MIT",
            attributes=[Attribute(name, values) for name, values in ATTRIBUTES.items()],
            images=images,
            labels=label_rows,
            regions=regions,
        )
    return {"images": len(images), "labels": len(label_rows), "regions": len(regions)}


def _check_arguments(size: int, counts: list[int], labels: str, seed: int, look: str) -> None:
    if not SMALLEST <= size <= LARGEST:
        raise AgmanError(f"size {size} must be {SMALLEST} to {LARGEST} pixels")
    if min(counts) < 1:
        raise AgmanError("train, the queries and the candidates must each be at least 1")
    if labels not in LABELS:
        raise AgmanError(f"labels {labels!r} must be one of {', '.join(LABELS)}")
    if look not in LOOKS:
        raise AgmanError(f"look {look!r} must be one of {', '.join(LOOKS)}")
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
