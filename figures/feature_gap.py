"""The feature gap, measured: agman_lib/assets/feature_gap.json, which notebooks 02 and 03 show.

    python figures/feature_gap.py

The same ResNet-18, for each of three seeds: with random weights, trained to name a garment's *kind*
(object classification), and trained as AG-MAN on attributes, for as many steps of as many images.
Then linear probes read each attribute, and the kind, off every level. It takes about a quarter of
an hour on one core, and gives the same numbers every time on the same build of PyTorch.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

import agman_lib
from agman_lib.base.devices import repeatable
from agman_lib.base.folders import write_json
from agman_lib.data.dataset import Labels, PreparedDataset
from agman_lib.data.pixels import Pixels, normalize
from agman_lib.evaluation.levels import pooled_features
from agman_lib.explain.probes import probe_table
from agman_lib.networks.backbones import build_backbone
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone
from agman_lib.training.config import TrainConfig
from agman_lib.training.loop import train
from data_prep.garments import KINDS, prepare

OUT = Path(agman_lib.__file__).parent / "assets" / "feature_gap.json"
SEEDS = (0, 1, 2)
CONFIG: dict[str, Any] = {
    "backbone": "resnet18",
    "image_size": 64,
    "train_images": 1750,
    "test_images_per_attribute": 150,
    "probe_training_labels": 400,
    "steps": 80,
    "images_per_step": 64,
    "lr": 1e-3,
    "grid": 4,
}


def draw(folder: Path, labels: str, queries: int, candidates: int) -> PreparedDataset:
    """The garments; their training pixels do not depend on the labels or the other splits."""
    prepare(
        folder,
        size=CONFIG["image_size"],
        train=CONFIG["train_images"],
        valid_queries=1,
        valid_candidates=1,
        test_queries=queries,
        test_candidates=candidates,
        labels=labels,
        workers=1,
    )
    return PreparedDataset.load(folder)


def kinds_of(dataset: PreparedDataset) -> np.ndarray:
    """The kind (N,) of every image, as an index in `KINDS`."""
    table = pd.read_csv(dataset.folder / "kinds.csv").set_index("image")["kind"]
    index = {kind: i for i, kind in enumerate(KINDS)}
    return table.loc[dataset.images["image"]].map(index).to_numpy(np.int64)


def with_kinds(labels: Labels, kinds: np.ndarray, attribute: int) -> Labels:
    """Labels, and after them every labelled image's kind as one more attribute."""
    images = np.unique(labels.image)
    return Labels(
        np.concatenate([labels.image, images]),
        np.concatenate([labels.attribute, np.full(len(images), attribute)]),
        np.concatenate([labels.value, kinds[images]]),
    )


def new_backbone(seed: int) -> MultiLevelBackbone:
    """A plain ResNet with a classifier of the kinds."""
    torch.manual_seed(seed)
    backbone = build_backbone(CONFIG["backbone"], len(KINDS), multi_level=False)
    return backbone.to(memory_format=torch.channels_last)


def attribute_run(data: PreparedDataset, out: Path, seed: int) -> tuple[MultiLevelBackbone, float]:
    """The backbone of a short AG-MAN training, and its last loss."""
    config = TrainConfig(
        data=str(data.folder),
        out=str(out),
        backbone="resnet18",
        image_size=CONFIG["image_size"],
        cache=True,
        sampler="batch",
        epochs=1,
        steps_per_epoch=CONFIG["steps"],
        batch_size=-(-CONFIG["images_per_step"] // 3),  # of triplets: 4 x 4 x 4 images
        lr=CONFIG["lr"],
        passes="joint",
        seed=seed,
        threads=1,
        device="cpu",
        log_every=10,
    )
    run = train(config)
    return run.model("last").backbone, float(run.log["total"].iloc[-1])


def kind_run(
    backbone: MultiLevelBackbone, pixels: Pixels, images: np.ndarray, kinds: np.ndarray, seed: int
) -> float:
    """Train a backbone to name the kinds (N,) of images (n,); the mean of its last ten losses."""
    optimizer = torch.optim.Adam(backbone.parameters(), lr=CONFIG["lr"])
    rng, losses = np.random.default_rng(seed), []
    backbone.train()
    for _ in range(CONFIG["steps"]):
        drawn = rng.choice(images, CONFIG["images_per_step"], replace=False)
        batch = pixels.take(drawn)
        mirrored = torch.from_numpy(rng.random(len(drawn)) < 0.5)
        batch[mirrored] = batch[mirrored].flip(3)
        logits = backbone.classify(backbone.stages(normalize(batch))[1])
        loss = functional.cross_entropy(logits, torch.from_numpy(kinds[drawn]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return float(np.mean(losses[-10:]))


def probe(
    backbone: MultiLevelBackbone,
    pixels: Pixels,
    labels: tuple[Labels, Labels],
    names: list[str],
    seed: int,
) -> pd.DataFrame:
    """The probes' accuracies as a long table: pool, attribute, level, accuracy."""
    images = np.unique(np.concatenate([part.image for part in labels]))
    grid = pooled_features(backbone, pixels, images, CONFIG["grid"])
    pools = {"global": {k: f.mean((2, 3)) for k, f in grid.items()}, "grid": grid}
    tables = []
    for pool, features in pools.items():
        n = CONFIG["probe_training_labels"]
        table = probe_table(features, images, *labels, names, n, seed)
        print(f"{pool}\n{table.round(1).to_string()}", flush=True)
        long = table.rename_axis("attribute").reset_index()
        long = long.melt("attribute", var_name="level", value_name="accuracy")
        tables.append(long.assign(pool=pool))
    return pd.concat(tables)


def summary(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each extractor, pool, attribute and level: mean, deviation, and every seed."""
    by = ["extractor", "pool", "attribute", "level"]
    return [
        dict(zip(by, key, strict=True))
        | {"mean": s.mean(), "sd": s.std(ddof=1), "accuracy": s.tolist()}
        for key, s in scores.groupby(by, sort=False)["accuracy"]
    ]


def main() -> None:
    """Draw, train, probe, write."""
    began, scores, losses = time.perf_counter(), [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        n = CONFIG["test_images_per_attribute"]
        every = draw(folder / "all", "all", n // 3, n - n // 3)
        single = draw(folder / "one", "one", 1, 1)
        kinds, pixels = kinds_of(every), Pixels(every, CONFIG["image_size"], cache=True)
        train_labels = every.split_labels("train")
        test_labels = every.split_labels("test", evaluated=True)
        a = every.n_attributes
        labels = with_kinds(train_labels, kinds, a), with_kinds(test_labels, kinds, a)
        names = [*every.attribute_names, "kind"]
        for seed in SEEDS:
            extractors = {"random": new_backbone(seed), "kinds": new_backbone(seed)}
            images = np.unique(train_labels.image)
            kind_loss = kind_run(extractors["kinds"], pixels, images, kinds, seed)
            run = folder / f"run{seed}"
            extractors["attributes"], attribute_loss = attribute_run(single, run, seed)
            losses.append({"seed": seed, "kinds": kind_loss, "attributes": attribute_loss})
            for extractor, backbone in extractors.items():
                print(f"seed {seed}, extractor {extractor}")
                table = probe(backbone, pixels, labels, names, seed)
                scores.append(table.assign(extractor=extractor, seed=seed))
    result = {
        "what": "accuracy (percent) of linear probes: an extractor's levels, read for attributes",
        "command": "python figures/feature_gap.py",
        "config": CONFIG,
        "seeds": list(SEEDS),
        "last_losses": losses,
        "rows": summary(pd.concat(scores)),
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - began),
    }
    write_json(OUT, result)


if __name__ == "__main__":
    with repeatable(threads=1, deterministic=True):
        main()
