"""One garment: its attributes, its picture, and where in the picture an attribute is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from data_prep.garments.drawing import paint
from data_prep.garments.look import Look

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

SMALLEST, LARGEST = 64, 224  # pixels
NOWHERE = "pattern"  # it covers the whole garment, so it has no region

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
    if attribute == NOWHERE:
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
