"""How often a map marks the right place: attention and Grad-CAM against true regions.

Three measures of a map stretched over the picture (each cell's value where the cell looks:
`overlays.upsample`), against the pixels of the true region:

* ``pointing``: the largest value lies inside (pointing game); of equal largest values, the share
  inside;
* ``energy``: the share of the map's sum inside;
* ``IoU``: intersection over union of the region and the places with at least `THRESHOLD` of the
  largest value.

A uniform map scores the region's share of the picture in all three. A map that is zero everywhere
marks nothing and scores 0. ``energy, others`` is the energy inside the same region of the maps that
the network draws when it is asked for the other attributes (their mean): where it is no smaller,
the attribute does not guide the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from agman_lib.base.errors import AgmanError
from agman_lib.base.progress import bar
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.protocol import retrieval_tasks
from agman_lib.evaluation.statistics import seed_interval
from agman_lib.explain.cam import grad_cam
from agman_lib.explain.maps import spatial_maps
from agman_lib.explain.overlays import upsample
from agman_lib.networks.model import RetrievalModel

THRESHOLD = 0.5
MEASURES = ("pointing", "energy", "IoU", "energy, others")
CENTRE_WIDTH = 0.25
"""Standard deviation of the row "centre": a Gaussian in the middle, in sides of the picture."""


def region_mask(boxes: np.ndarray, size: int) -> np.ndarray:
    """bool (size, size): the pixels whose centre lies in one of the boxes (R, 4)."""
    at = np.arange(size) + 0.5
    mask = np.zeros((size, size), bool)
    for x0, y0, x1, y1 in boxes:
        mask |= ((at >= y0) & (at < y1))[:, None] & ((at >= x0) & (at < x1))
    return mask


def energy_inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """The share of a map's sum inside a mask of the same shape; 0 for a map of zeros."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else 0.0


def localisation(heat: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """``pointing``, ``energy`` and ``IoU`` of a map, not negative, against a mask (both (n, n)).

    Raises:
        AgmanError: the mask is empty, or the map has a negative or undefined value.
    """
    if not mask.any():
        raise AgmanError("no pixel lies in the region, so there is nothing to find")
    if not (heat >= 0).all():
        raise AgmanError("a map has a value that is negative or not a number")
    largest = heat.max()
    if largest <= 0:
        return dict.fromkeys(("pointing", "energy", "IoU"), 0.0)
    marked = heat >= THRESHOLD * largest
    return {
        "pointing": float(mask[heat == largest].mean()),
        "energy": energy_inside(heat, mask),
        "IoU": float((marked & mask).sum() / (marked | mask).sum()),
    }


def centre_map(size: int) -> np.ndarray:
    """A Gaussian (size, size) in the middle of the picture, its largest value 1."""
    z = ((np.arange(size) + 0.5) / size - 0.5) / CENTRE_WIDTH
    return np.exp(-0.5 * (z[:, None] ** 2 + z**2))


# --------------------------------------------------------------------------- a network's maps


def localise(
    model: RetrievalModel,
    dataset: PreparedDataset,
    pixels: Pixels,
    split: str = "test",
    batch_size: int = 50,
    progress: str | None = None,
) -> pd.DataFrame:
    """Measure a network's maps on the queries whose region is known.

    The network is put in evaluation mode. Grad-CAM is of the similarity to the first candidate with
    the query's value, which is the same pair for every network.

    Returns:
        One row a query and map: map (as in `maps.MAPS`), attribute (its name), image (its
        index), and the `MEASURES`, 0 to 1. Networks without spatial attention have Grad-CAM alone.

    Raises:
        AgmanError: the data set has no regions for the split's queries.
    """
    pairs = _pairs(dataset, pixels, split)
    model.eval()
    device, rows = next(model.parameters()).device, []
    starts = range(0, len(pairs), batch_size)
    for start in bar(starts, progress, unit="batch"):
        part = pairs[start : start + batch_size]
        images, others = (
            model.normalize(pixels.take(np.array(which)).to(device))
            for which in ([p.image for p in part], [p.other for p in part])
        )
        with torch.no_grad():
            others = model.embed_all(others)
        maps = _all_maps(model, images, others)
        for name, heats in maps.items():
            for pair, heat in zip(part, heats, strict=True):
                found = _measure(heat, pair, model.backbone.offset)
                rows.append({"map": name, **pair.row(dataset), **found})
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class _Pair:
    """A query, the photo that its similarity is taken to, its attribute and region."""

    image: int
    other: int
    attribute: int
    mask: np.ndarray

    def row(self, dataset: PreparedDataset) -> dict[str, object]:
        return {"attribute": dataset.attribute_names[self.attribute], "image": self.image}


def _pairs(dataset: PreparedDataset, pixels: Pixels, split: str) -> list[_Pair]:
    pairs = []
    for task in retrieval_tasks(dataset, split):
        same = task.relevant(slice(None))
        for k, image in enumerate(task.query):
            mask = region_mask(pixels.boxes(int(image), task.attribute), pixels.size)
            if mask.any() and same[k].any():
                other = int(task.candidate[same[k].argmax()])
                pairs.append(_Pair(int(image), other, task.attribute, mask))
    if not pairs:
        raise AgmanError(
            f"{dataset.folder}: no query of split {split!r} has a region in regions.csv; "
            "the built-in garments have them (`agman prepare garments`)"
        )
    return pairs


def _all_maps(
    model: RetrievalModel, images: torch.Tensor, others: torch.Tensor
) -> dict[str, np.ndarray]:
    """Every map of a batch under every attribute, by name: (B, A, h, w)."""
    b, a = others.shape[:2]
    every = torch.arange(a, device=images.device)
    with torch.no_grad():
        attended = model.attend(model.trunk(images), every[None])
    maps = {k: m.cpu().numpy() for k, m in spatial_maps(attended.spatial, attended.gate).items()}
    cams = [grad_cam(model, images, every[k].expand(b), others[:, k]) for k in range(a)]
    return maps | {"grad_cam": np.stack(cams, axis=1)}


def _measure(heat: np.ndarray, pair: _Pair, offset: float) -> dict[str, float]:
    """The measures of maps (A, h, w) of one picture."""
    height, width = pair.mask.shape
    large = upsample(heat, height, width, offset)
    others = [energy_inside(h, pair.mask) for k, h in enumerate(large) if k != pair.attribute]
    mean = float(np.mean(others)) if others else float("nan")
    return localisation(large[pair.attribute], pair.mask) | {"energy, others": mean}


def reference_rows(dataset: PreparedDataset, pixels: Pixels, split: str = "test") -> pd.DataFrame:
    """What maps that know no network score: "uniform" and "centre", as `localise` returns them."""
    maps = {
        "uniform": np.ones((pixels.size, pixels.size)),
        "centre": centre_map(pixels.size),
    }
    rows = []
    for pair in _pairs(dataset, pixels, split):
        for name, heat in maps.items():
            found = localisation(heat, pair.mask)
            found["energy, others"] = found["energy"]  # the same map whatever the attribute
            rows.append({"map": name, **pair.row(dataset), **found})
    return pd.DataFrame(rows)


# --------------------------------------------------------------------------- over seeds


def over_seeds(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of `localise`, one a seed -> a row a map: each measure's mean, percent, and its ±.

    The mean is over the queries; ± is half of the 95 % t interval over seeds (NaN for one).
    """
    of_seed = pd.concat(
        {s: 100 * r.groupby("map", sort=False)[list(MEASURES)].mean() for s, r in enumerate(runs)}
    )
    table = pd.DataFrame(index=of_seed.loc[0].index)
    for measure in MEASURES:
        by_map = of_seed[measure].groupby(level=1, sort=False)
        table[measure] = by_map.mean()
        table[f"{measure} ±"] = by_map.apply(lambda values: seed_interval(values.to_numpy()))
    return table


def by_attribute(runs: Sequence[pd.DataFrame], measure: str = "energy") -> pd.DataFrame:
    """The mean of one measure over seeds, percent: maps (rows) under each attribute (columns)."""
    table = 100 * pd.concat(runs).groupby(["map", "attribute"], sort=False)[measure].mean()
    return table.unstack("attribute")
