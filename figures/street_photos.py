"""Where networks look on street photos whose every pixel is labelled: agman_lib/assets/NAME.json.

    python figures/street_photos.py COMPARED PHOTOS NAME ARM [ARM …]

COMPARED is a folder that `agman compare` made on Fashion Product Images by kind, PHOTOS is the
unpacked set *Clothing Co-Parsing* (photos, masks, labels.json; nothing of it is committed), and
each ARM is a line of that comparison. For an attribute of a kind (``shoe_type``) the measure is the
share of its map that lies on the pixels of that kind (shoes), over all photos in which these are at
least `LEAST` of the picture: for S, for Grad-CAM (of the similarity to the next such photo), for
the maps of the *other kinds'* attributes on the same pixels, for the same network before its
training, for a uniform map, and for the centre of the picture.

The networks have seen shop photos alone: one product on white. On a street photo a person wears
several, before a busy background. So a low share does not say that a network looks in the wrong
place on the photos that it was made for; a share above a uniform map's and above the other kinds'
says that what it has learned of a kind reaches further than those.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps

from agman_lib.base.folders import write_json
from agman_lib.base.progress import bar
from agman_lib.comparison.study import run_folder
from agman_lib.data.pixels import read_photos
from agman_lib.evaluation.statistics import seed_interval
from agman_lib.explain import energy_inside, grad_cam, spatial_maps, upsample
from agman_lib.explain.localisation_scores import centre_map
from agman_lib.networks import RetrievalModel
from agman_lib.training import Run, initial_model

ASSETS = Path(__file__).resolve().parents[1] / "agman_lib" / "assets"
LEAST = 0.005
CLASSES = {
    "top": "blouse cardigan hoodie jacket jumper shirt sweater sweatshirt t-shirt top vest blazer",
    "bottom": "jeans leggings pants shorts skirt",
    "shoe": "boots clogs flats heels loafers pumps sandals shoes sneakers wedges",
    "bag": "bag purse",
    "accessory": "belt earrings glasses hat necklace scarf socks sunglasses tie wallet watch",
}
"""The classes of the masks that each kind of product is worn as."""


def read(photos: Path, size: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Photos uint8 (N, 3, size, size), padded as in training, and each kind's pixels (N, s, s)."""
    names = json.loads((photos / "labels.json").read_text(encoding="utf-8"))
    files = sorted((photos / "photos").iterdir())
    pixels = np.stack(list(read_photos(files, size, "pad")))
    regions = {kind: np.zeros((len(files), size, size), bool) for kind in CLASSES}
    for row, file in enumerate(files):
        mask = Image.open(photos / "masks" / f"{file.stem}.png")
        fitted = np.asarray(ImageOps.pad(mask, (size, size), Image.Resampling.NEAREST, color=0))
        for kind, classes in CLASSES.items():
            numbers = [names.index(name) for name in classes.split()]
            regions[kind][row] = np.isin(fitted, numbers)
    return pixels, regions


def shares(
    model: RetrievalModel, attributes: list[str], pixels: np.ndarray, regions: dict, title: str
) -> pd.DataFrame:
    """One row a kind, map and batch of ``photos``: ``share`` and ``others``, 0 to 1."""
    rows, size = [], pixels.shape[-1]
    owner = [name.split("_")[0] for name in attributes]
    every = torch.arange(len(attributes))[None]
    for kind in bar(list(CLASSES), title, unit="kind"):
        seen = np.flatnonzero(regions[kind].mean((1, 2)) >= LEAST)
        for start in range(0, len(seen), 50):
            part = seen[start : start + 50]
            images = model.normalize(torch.from_numpy(pixels[part]))
            with torch.no_grad():
                attended = model.attend(model.trunk(images), every)
            maps = {k: m.numpy() for k, m in spatial_maps(attended.spatial, attended.gate).items()}
            own = [a for a, k in enumerate(owner) if k == kind]
            other = [a for a, k in enumerate(owner) if k != kind]
            near = attended.embedding.roll(1, 0)  # of the next such photo
            cams = [grad_cam(model, images, every[0, a].expand(len(part)), near[:, a]) for a in own]

            def inside(heats: np.ndarray, part: np.ndarray = part, kind: str = kind) -> float:
                """The mean share of maps (B, n, h, w) on the kind's pixels."""
                large = [upsample(h, size, size, model.backbone.offset) for h in heats]
                pairs = zip(large, regions[kind][part], strict=True)
                return float(np.mean([energy_inside(h, m) for one, m in pairs for h in one]))

            row = {"kind": kind, "photos": len(part)}
            for name, heats in maps.items():
                found = {"share": inside(heats[:, own]), "others": inside(heats[:, other])}
                rows.append(row | {"map": name} | found)
            rows.append(row | {"map": "grad_cam", "share": inside(np.stack(cams, axis=1))})
    return pd.DataFrame(rows)


def weighted(batches: pd.DataFrame) -> pd.Series:
    """The mean over photos, percent, of the means of batches."""
    weights = batches["photos"] / batches["photos"].sum()
    return 100 * batches[["share", "others"]].mul(weights, axis=0).sum(min_count=1)


def references(regions: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """The share of a uniform map and of the centre on each kind's pixels, percent."""
    size = next(iter(regions.values())).shape[-1]
    maps = {"uniform": np.ones((size, size)), "centre": centre_map(size)}
    found: dict[str, dict[str, float]] = {name: {} for name in maps}
    for kind, masks in regions.items():
        seen = masks[masks.mean((1, 2)) >= LEAST]
        for name, heat in maps.items():
            share = np.mean([energy_inside(heat, mask) for mask in seen])
            found[name][kind] = round(100 * float(share), 3)
    return found


def main(compared: Path, photos: Path, name: str, arms: list[str]) -> None:
    """Measure every arm's runs and write the file of this name."""
    about = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    result: list[dict[str, object]] = []
    pixels, regions = np.empty(0), {}
    for arm in arms:
        runs = [Run.load(run_folder(compared, arm, seed)) for seed in about["seeds"]]
        dataset = runs[0].dataset()
        if not regions:
            pixels, regions = read(photos, runs[0].config.image_size)
        for weights in ("trained", "untrained"):
            tables = {}
            for run in runs:
                trained = weights == "trained"
                model = (run.model() if trained else initial_model(run.config, dataset)).eval()
                title = f"{arm}, {weights}, seed {run.config.seed}"
                table = shares(model, dataset.attribute_names, pixels, regions, title)
                tables[run.config.seed] = table.groupby(["map", "kind"], sort=False).apply(weighted)
            joined = pd.concat(tables, names=["seed"])
            for (shown, kind), of in joined.groupby(level=["map", "kind"], sort=False):
                values = of["share"].to_numpy()
                result.append({
                    "arm": arm, "weights": weights, "map": shown, "kind": kind,
                    "share": round(float(values.mean()), 3),
                    "±": round(seed_interval(values), 3),
                    "others": None if of["others"].isna().all() else round(of["others"].mean(), 3),
                    "of seeds": [round(float(v), 3) for v in values],
                })  # fmt: skip
    counts = {k: int((m.mean((1, 2)) >= LEAST).sum()) for k, m in regions.items()}
    write_json(
        ASSETS / f"{name}.json",
        {
            "photos": counts,
            "least share of the picture": LEAST,
            "seeds": about["seeds"],
            "references": references(regions),
            "table": result,
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
