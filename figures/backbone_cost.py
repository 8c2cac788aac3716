"""What each backbone costs beside ResNet-18: agman_lib/assets/backbone_cost.json.

    python figures/backbone_cost.py

AG-MAN on each backbone, on one CPU core, with random weights and pictures: embedding photos under
every attribute, and a step of training. Rounds are interleaved and a cost is the median of the
ratios to ResNet-18 of the same round, so that a busy machine matters little. Do it on a quiet one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import agman_lib
from agman_lib.base.folders import write_json
from agman_lib.networks import build_model
from agman_lib.training.losses import same_attribute_loss

OUT = Path(agman_lib.__file__).parent / "assets" / "backbone_cost.json"
BACKBONES = ("resnet18", "efficientnet_lite0", "resnet50")
ATTRIBUTES, ROUNDS = 8, 7
IMAGES = {96: 32, 224: 8}


def works(name: str, size: int) -> dict[str, Callable[[], None]]:
    """The two things that are timed."""
    torch.manual_seed(0)
    model = build_model("agman", ATTRIBUTES, name).to(memory_format=torch.channels_last)
    images = torch.rand(IMAGES[size], 3, size, size).to(memory_format=torch.channels_last)
    asked = torch.arange(len(images)) % ATTRIBUTES
    optimizer = torch.optim.Adam(model.parameters())

    def embed() -> None:
        model.eval()
        with torch.no_grad():
            model.attend(model.trunk(images), torch.arange(ATTRIBUTES)[None])

    def step() -> None:
        model.train()
        features, logits = model.features_train(images)
        found = model.attribute_head(features, asked[:, None]).embedding
        assert logits is not None
        loss = same_attribute_loss(logits, asked) + (found[0] - found).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return {"embed": embed, "train step": step}


def seconds(work: Callable[[], None]) -> float:
    """Of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Time, print, write."""
    torch.set_num_threads(1)
    rows = []
    for size in IMAGES:
        timed = {name: works(name, size) for name in BACKBONES}
        for what in ("embed", "train step"):
            rounds = [[seconds(timed[b][what]) for b in BACKBONES] for _ in range(ROUNDS + 1)]
            found = np.array(rounds[1:])  # the first one warms up
            for i, backbone in enumerate(BACKBONES):
                ratio = found[:, i] / found[:, 0]
                rows.append({
                    "backbone": backbone,
                    "size": size,
                    "what": what,
                    "ratio": round(float(np.median(ratio)), 2),
                    "from": round(float(ratio.min()), 2),
                    "to": round(float(ratio.max()), 2),
                    "images a second": round(IMAGES[size] / float(np.median(found[:, i])), 1),
                })  # fmt: skip
                print(rows[-1], flush=True)
    write_json(
        OUT,
        {"command": "python figures/backbone_cost.py", "torch": torch.__version__, "rows": rows},
    )


if __name__ == "__main__":
    main()
