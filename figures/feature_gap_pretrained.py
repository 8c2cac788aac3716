"""The feature gap of a pre-trained trunk: agman_lib/assets/feature_gap_pretrained.json.

    python figures/feature_gap_pretrained.py GARMENTS PHOTOS

GARMENTS and PHOTOS are prepared folders in which every training image is labelled for one
attribute of its kind (docs/experiment.md). An EfficientNet-Lite0 is taken as ImageNet left it, with
random weights, and trained further from ImageNet's weights in three ways, for as many steps of as
many images: to name the *kind* of product (objects, once more), to name the *value of the
attribute* that an image is labelled for, and to name *random labels*, fixed for each image, which
teach nothing. Then linear probes read each attribute, and the kind, off every level.

The gap of an attribute at a level is the accuracy of its probe on the extractor that was trained
for attributes, minus that on ImageNet's. The run takes about an hour of one core, and gives the
same numbers every time on the same build of PyTorch.
"""

from __future__ import annotations

import sys
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
from agman_lib.base.progress import bar
from agman_lib.data.dataset import Labels, PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.levels import pooled_features
from agman_lib.explain.probes import probe_table
from agman_lib.networks.backbones import build_backbone
from agman_lib.networks.imagenet import imagenet_weights
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone

OUT = Path(agman_lib.__file__).parent / "assets" / "feature_gap_pretrained.json"
SEEDS = (0, 1, 2)
FURTHER = ("kinds", "attributes", "random labels")
LEVELS = ("stage2", "stage3", "stage5", "stage5+low", "conv_head")
CONFIG: dict[str, Any] = {
    "backbone": "efficientnet_lite0",
    "image_size": 96,
    "steps": 60,
    "images_per_step": 64,
    "lr": 1e-3,
    "probe_training_labels": 400,
    "probe_test_labels": 250,
    "grid": 3,
}


def kinds_of(dataset: PreparedDataset) -> tuple[np.ndarray, int]:
    """The kind (N,) of every image, as a number, and how many kinds there are."""
    table = pd.read_csv(dataset.folder / "kinds.csv", dtype=str).set_index("image")["kind"]
    kinds = pd.Categorical(table.loc[dataset.images["image"]])
    return np.asarray(kinds.codes, np.int64), len(kinds.categories)


def with_kinds(labels: Labels, kinds: np.ndarray, attribute: int, n: int, seed: int) -> Labels:
    """At most n labels of each attribute, drawn, and n images' kinds as one more attribute."""
    images = np.unique(labels.image)
    every = Labels(
        np.concatenate([labels.image, images]),
        np.concatenate([labels.attribute, np.full(len(images), attribute)]),
        np.concatenate([labels.value, kinds[images]]),
    )
    kept = []
    for a in range(attribute + 1):
        rows = np.flatnonzero(every.attribute == a)
        kept.append(np.random.default_rng([seed, a]).permutation(rows)[:n])
    return every.where(np.sort(np.concatenate(kept)))


def new_backbone(weights: str, n_classes: int, seed: int) -> MultiLevelBackbone:
    """A trunk without AG-MAN's parts, with a linear layer on its last level."""
    torch.manual_seed(seed)
    backbone = build_backbone(CONFIG["backbone"], n_classes, multi_level=False)
    if weights == "imagenet":
        backbone.load_pretrained(imagenet_weights(CONFIG["backbone"]), "ImageNet weights")
    return backbone.to(memory_format=torch.channels_last)


def targets(
    which: str, labels: Labels, kinds: np.ndarray, n_values: list[int], seed: int
) -> tuple[Labels, list[int]]:
    """What an extractor is trained to name: a question and an answer an image; answers of each."""
    if which == "attributes":
        return labels, n_values
    if which == "kinds":
        answer, n = kinds[labels.image], int(kinds.max()) + 1
    else:
        n = sum(n_values)
        answer = np.random.default_rng([seed, 99]).integers(0, n, len(labels))
    return Labels(labels.image, np.zeros_like(labels.attribute), answer), [n]


def train_further(
    pixels: Pixels, labels: Labels, n_answers: list[int], seed: int, title: str
) -> tuple[MultiLevelBackbone, float]:
    """Train ImageNet's trunk to answer: a softmax over the answers of each image's question.

    Returns the trunk and the mean of its last ten losses.
    """
    backbone = new_backbone("imagenet", sum(n_answers), seed).train()
    optimizer = torch.optim.Adam(backbone.parameters(), lr=CONFIG["lr"])
    question = torch.repeat_interleave(torch.arange(len(n_answers)), torch.tensor(n_answers))
    first = np.cumsum(n_answers) - n_answers
    rng, losses = np.random.default_rng(seed), []
    for _ in bar(range(CONFIG["steps"]), title, unit="step"):
        rows = rng.choice(len(labels), CONFIG["images_per_step"], replace=False)
        batch = labels.where(rows)
        images = pixels.take(batch.image)
        mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5)
        images[mirrored] = images[mirrored].flip(3)
        logits = backbone.classify(backbone.stages(backbone.normalize(images))[1])
        others = question != torch.from_numpy(batch.attribute)[:, None]
        answer = torch.from_numpy(first[batch.attribute] + batch.value)
        loss = functional.cross_entropy(logits.masked_fill(others, -torch.inf), answer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return backbone, float(np.mean(losses[-10:]))


def probe(
    backbone: MultiLevelBackbone, pixels: Pixels, labels: tuple[Labels, Labels], names: list[str]
) -> pd.DataFrame:
    """The probes' accuracies as a long table: pool, attribute, level, accuracy."""
    images = np.unique(np.concatenate([part.image for part in labels]))
    levels = pooled_features(backbone.eval(), pixels, images, CONFIG["grid"])
    grid = {level: levels[level] for level in LEVELS}
    pools = {"global": {k: f.mean((2, 3)) for k, f in grid.items()}, "grid": grid}
    tables = []
    for pool, features in pools.items():
        table = probe_table(features, images, *labels, names)
        print(f"{pool}\n{table.round(1).to_string()}", flush=True)
        long = table.rename_axis("attribute").reset_index()
        long = long.melt("attribute", var_name="level", value_name="accuracy")
        tables.append(long.assign(pool=pool))
    return pd.concat(tables)


def measure(data: PreparedDataset, name: str) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """All extractors on one data set: the accuracies, and the losses at the end of training."""
    kinds, n_kinds = kinds_of(data)
    n_values = [len(a.values) for a in data.attributes]
    fit = "pad" if name == "photos" else "crop"
    pixels = Pixels(data, CONFIG["image_size"], fit, cache=True)
    train, test = data.split_labels("train"), data.split_labels("test", evaluated=True)
    a = data.n_attributes
    read = (
        with_kinds(train, kinds, a, CONFIG["probe_training_labels"], 0),
        with_kinds(test, kinds, a, CONFIG["probe_test_labels"], 1),
    )
    names, scores, losses = [*data.attribute_names, "kind"], [], []
    imagenet = probe(new_backbone("imagenet", n_kinds, 0), pixels, read, names)
    for seed in SEEDS:  # nothing in ImageNet's extractor depends on the seed
        scores.append(imagenet.assign(extractor="ImageNet", seed=seed))
        print(f"{name}, random weights, seed {seed}", flush=True)
        found = probe(new_backbone("none", n_kinds, seed), pixels, read, names)
        scores.append(found.assign(extractor="random weights", seed=seed))
        for which in FURTHER:
            title = f"{name}, trained on {which}, seed {seed}"
            asked, n_answers = targets(which, train, kinds, n_values, seed)
            backbone, loss = train_further(pixels, asked, n_answers, seed, title)
            print(title, f"loss {loss:.3f}", flush=True)
            losses.append({"data": name, "extractor": which, "seed": seed, "loss": loss})
            found = probe(backbone, pixels, read, names)
            scores.append(found.assign(extractor=which, seed=seed))
    return pd.concat(scores).assign(data=name), losses


def main(garments: str, photos: str) -> None:
    """Train, probe, write."""
    began, scores, losses, fingerprints = time.perf_counter(), [], [], {}
    for name, folder in (("garments", garments), ("photos", photos)):
        data = PreparedDataset.load(folder)
        fingerprints[name] = data.fingerprint
        table, ends = measure(data, name)
        scores.append(table)
        losses += ends
    by = ["data", "pool", "attribute", "level", "extractor"]
    rows = [
        dict(zip(by, key, strict=True)) | {"accuracy": s.round(3).tolist()}
        for key, s in pd.concat(scores).groupby(by, sort=False)["accuracy"]
    ]
    result = {
        "what": "accuracy (percent, each seed) of linear probes: levels, read for attributes",
        "command": "python figures/feature_gap_pretrained.py GARMENTS PHOTOS",
        "config": CONFIG,
        "seeds": list(SEEDS),
        "fingerprints": fingerprints,
        "last losses": losses,
        "rows": rows,
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - began),
    }
    write_json(OUT, result)


if __name__ == "__main__":
    with repeatable(threads=1, deterministic=True):
        main(sys.argv[1], sys.argv[2])
