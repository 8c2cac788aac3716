"""Notebook 04b: put a map over a picture, measure it against boxes, its centre, other maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agman_lib.course.answers import Check, compared
from agman_lib.explain.localisation_scores import energy_inside
from agman_lib.explain.overlays import upsample
from agman_lib.networks.multi_level_backbone import STRIDE


def stretch(row: np.ndarray, width: int, offset: float) -> np.ndarray:
    """A row of a map (w,) over the pixels (width,) of the network's input."""
    return upsample(np.asarray(row)[None], STRIDE, width, offset)[0]


def share(large: np.ndarray, mask: np.ndarray) -> float:
    """The share of a stretched map (H, W) that lies inside a mask (H, W)."""
    return float(energy_inside(large, mask))


def centre(weights: np.ndarray, offset: float) -> np.ndarray:
    """Row and column, in pixels, of the centre of a map (h, w)."""
    h, w = weights.shape
    row = (weights.sum(1) * (STRIDE * np.arange(h) + offset)).sum() / weights.sum()
    column = (weights.sum(0) * (STRIDE * np.arange(w) + offset)).sum() / weights.sum()
    return np.array([row, column])


def shuffled(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Maps (n, h, w) with the weights of each in places drawn anew."""
    return rng.permuted(maps.reshape(len(maps), -1), axis=1).reshape(maps.shape)


def _rows(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Rows for pictures of the network's sizes, with the offsets of two backbones."""
    return [(rng.random(n), STRIDE * n, offset) for n, offset in ((6, 0.0), (14, 0.0), (6, 10.7))]


def _at(positions: Callable[[int, int], np.ndarray]) -> Callable[..., np.ndarray]:
    def answer(row: np.ndarray, width: int, offset: float) -> np.ndarray:
        return np.interp(np.arange(width), positions(len(row), width), row)

    return answer


def _maps(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Stretched maps and masks of one or two boxes."""
    cases = []
    for _ in range(4):
        mask = np.zeros((32, 48), bool)
        for _ in range(2):
            y, x = rng.integers(0, 24), rng.integers(0, 40)
            mask[y : y + 8, x : x + 6] = True
        cases.append((rng.random((32, 48)) ** 3, mask))
    return cases


def _grids(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Maps, one of them not square and without a sum of one."""
    cases = []
    for h, w, offset in ((6, 6, 0.0), (4, 7, 0.0), (14, 14, 10.7)):
        weights = rng.random((h, w)) ** 4
        cases.append((weights if h != w else weights / weights.sum(), offset))
    return cases


def _brightest(weights: np.ndarray, offset: float) -> np.ndarray:
    return STRIDE * np.array(np.unravel_index(weights.argmax(), weights.shape)) + offset


def _judge_shuffled(answer: Callable[..., Any], rng: np.random.Generator) -> str | None:
    """The weights of each picture must be kept, and come to every place, apart from the others'."""
    if not callable(answer):
        return "a function is asked for"
    maps = rng.random((40, 4, 5)) ** 2
    maps /= maps.sum((1, 2), keepdims=True)
    before = maps.copy()
    try:
        got = np.asarray(answer(maps, np.random.default_rng(int(rng.integers(1 << 30)))), float)
    except Exception as error:  # whatever a student's function gives
        return f"it raises {type(error).__name__}: {error}"
    if got.shape != maps.shape:
        return f"it gives the shape {got.shape}, and {maps.shape} is expected"
    if not np.array_equal(maps, before):
        return "it changes the maps that it was given: shuffle a copy"
    if np.array_equal(got, before):
        return "nothing has moved"
    if np.allclose(np.sort(got.reshape(40, -1)), np.sort(before.reshape(40, -1))):
        return _order_is_off(before, got)
    if (
        np.allclose(np.sort(got.sum((1, 2))), 1)
        and not np.isin(got.round(12), before.round(12)).all()
    ):
        return "these are other weights; each picture should keep its own"
    return "each picture should keep its own weights, each of them once"


def _order_is_off(before: np.ndarray, got: np.ndarray) -> str | None:
    """What is off where each map (n, h, w) has kept its own weights."""
    n, h, w = before.shape
    # For each place, the number of the place where its weight was.
    rank = got.reshape(n, -1).argsort(1).argsort(1)
    source = np.take_along_axis(before.reshape(n, -1).argsort(1), rank, 1)
    orders = len(np.unique(source, axis=0))
    if orders == 1:
        return "all pictures are shuffled in the same way"
    if orders <= h * w:  # as many as there are ways to roll a map
        return (
            f"{n} pictures have only {orders} different orders: their weights move together, and "
            "each should move on its own"
        )
    row, column = np.divmod(source.reshape(n, h, w), w)
    for line, of in (("row", row), ("column", column.transpose(0, 2, 1))):
        if (of == of[:, :, :1]).all((1, 2)).mean() > 0.5:
            return f"weights stay in their {line}, or their {line} stays together: use all places"
    return None


def _rolled(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([np.roll(one, rng.integers(one.size)) for one in maps])


def _same_for_all(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = rng.permutation(maps[0].size)
    return maps.reshape(len(maps), -1)[:, order].reshape(maps.shape)


def _new_weights(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    new = rng.random(maps.shape)
    return new / new.sum((1, 2), keepdims=True)


CHECKS = {
    "map over a picture": compared(
        stretch,
        _rows,
        {
            "the offset says where the first position looks": (
                lambda row, width, offset: stretch(row, width, 5.3 if offset == 0 else 0)
            ),
            "position i does not look at the middle of its 16 pixels": _at(
                lambda n, width: STRIDE * np.arange(n) + 7.5
            ),
            "the last position does not look at the last pixel": _at(
                lambda n, width: np.linspace(0, width - 1, n)
            ),
            "between two positions the values should change evenly, not jump": (
                lambda row, width, offset: np.repeat(row, STRIDE)
            ),
            "this does not look at the offset": _at(lambda n, width: STRIDE * np.arange(n)),
        },
    ),
    "share inside": compared(
        share,
        _maps,
        {
            "this is the mean inside, which does not say how much lies outside": (
                lambda large, mask: large[mask].mean()
            ),
            "this is the sum inside; a share is a part of the whole": (
                lambda large, mask: large[mask].sum()
            ),
            "this is the share of the area": lambda large, mask: mask.mean(),
            "this is what lies outside": lambda large, mask: 1 - share(large, mask),
            "this is how many times uniform it is": lambda large, mask: (
                share(large, mask) / mask.mean()
            ),
        },
    ),
    "centre of a map": compared(
        centre,
        _grids,
        {
            "this is the brightest position; the centre weighs all of them": _brightest,
            "row and column have changed places": lambda s, offset: centre(s, offset)[::-1],
            "these are positions; position i looks at pixel 16 i + offset": (
                lambda s, offset: (centre(s, offset) - offset) / STRIDE
            ),
            "this does not look at the weights": lambda s, offset: centre(np.ones_like(s), offset),
            "it takes the weights for shares of a whole, but they need not sum to 1": (
                lambda s, offset: centre(s, offset) * s.sum()
            ),
            "position i does not look at the middle of its 16 pixels": (
                lambda s, offset: centre(s, 7.5)
            ),
        },
        tolerance=1e-4,
    ),
    "shuffled maps": Check(
        shuffled,
        _judge_shuffled,
        {
            "all pictures are shuffled in the same way": _same_for_all,
            "nothing has moved": lambda maps, rng: maps.copy(),
            "these are other weights": _new_weights,
            "each picture should keep its own weights": lambda maps, rng: rng.permutation(maps),
            "weights stay in their row": lambda maps, rng: rng.permuted(maps, axis=2),
            "weights stay in their column": lambda maps, rng: rng.permuted(maps, axis=1),
            "their weights move together": _rolled,
            "it changes the maps that it was given": lambda maps, rng: (
                rng.permuted(maps.reshape(len(maps), -1), axis=1, out=maps.reshape(len(maps), -1))
            ).reshape(maps.shape),
        },
    ),
}
