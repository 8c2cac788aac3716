"""What EfficientNet-Lite0, untouched, calls real photos: agman_lib/assets/imagenet_names.json.

    python figures/imagenet_names.py FASHION_PRODUCTS

The argument is the prepared folder of ``agman prepare fashion-products``. Of four kinds of products
the first 400 photos (by their number) are padded to a square and resized, and the share is counted
whose ImageNet class is among the five that the classifier finds likeliest: at 224 pixels, for which
it was trained, and at the smaller sizes that a CPU can train with. It shows that the weights are
what they should be, and what small pictures cost. A few minutes of one core.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch.nn import functional

from agman_lib.base.folders import write_json
from agman_lib.data import Pixels, PreparedDataset
from agman_lib.networks import build_backbone, imagenet_weights

OUT = Path(__file__).resolve().parents[1] / "agman_lib" / "assets" / "imagenet_names.json"
PHOTOS = 400
SIZES = (64, 96, 128, 160, 192, 224)
CLASSES = {
    "Sunglasses": ("sunglass", "sunglasses"),
    "Sports Shoes": ("running shoe",),
    "Tshirts": ("jersey",),
    "Backpacks": ("backpack",),
}
"""The shop's types, and ImageNet's names for them."""


@torch.no_grad()
def shares(dataset: PreparedDataset, size: int) -> dict[str, float]:
    """For each type the share of its photos that are named rightly, percent."""
    state = imagenet_weights("efficientnet_lite0")
    backbone = build_backbone("efficientnet_lite0", multi_level=False).eval()
    backbone.load_pretrained(state, "ImageNet weights")
    weight, bias = list(state.values())[-2:]
    categories = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    pixels, labels = Pixels(dataset, size, "pad"), dataset.labels
    found = {}
    for value, names in CLASSES.items():
        known = labels[labels["attribute"].eq("articleType") & labels["value"].eq(value)]["image"]
        chosen = sorted(known, key=int)[:PHOTOS]
        images = backbone.normalize(pixels.take(np.array([dataset.image_index(i) for i in chosen])))
        last = backbone.run(backbone.rest, backbone(images)).mean(dim=(2, 3))
        first = functional.linear(last, weight, bias).topk(5).indices
        right = [any(categories[k] in names for k in row) for row in first.tolist()]
        found[value] = round(100 * float(np.mean(right)), 2)
    return found


def main(folder: str) -> None:
    """Write the file."""
    dataset = PreparedDataset.load(folder)
    table = {str(size): shares(dataset, size) for size in SIZES}
    about = {"photos": PHOTOS, "among": 5, "classes": {k: list(v) for k, v in CLASSES.items()}}
    write_json(OUT, {"dataset": dataset.title, **about, "share": table})
    print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1])
