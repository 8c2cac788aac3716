"""What the class branch has learned of new images: agman_lib/assets/branch_loss.json.

    python figures/branch_loss.py ARM COMPARED [COMPARED …]

Each COMPARED is a folder that `agman compare` made on data whose images are labelled by kind, and
ARM is a line of it that has a class branch. The loss on the test images is set beside three levels:

- *nothing*: the loss of someone who knows how often each attribute is asked for, and no image;
- *kind*: the loss of someone who is told the image's kind, and knows which attributes it has;
- the loss on the images of training, in the last epoch (from the run's log).

As in training, attributes are asked for equally often, and values of an attribute too. An image of
a kind may be labelled for any of the kind's attributes. Below *kind* there is only the sampler's
habit to be learned: an image with a rare value of an attribute is asked for that attribute more
often.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

import agman_lib
from agman_lib.base.folders import write_json
from agman_lib.data.dataset import Labels, PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.embedding import each_batch
from agman_lib.evaluation.statistics import seed_interval
from agman_lib.training import Run

OUT = Path(agman_lib.__file__).parent / "assets" / "branch_loss.json"


def shares(labels: Labels) -> np.ndarray:
    """How often each label (L,) is asked for: attributes equally often, values, then images."""
    table = pd.DataFrame({"a": labels.attribute, "v": labels.value})
    of_value = table.groupby(["a", "v"])["a"].transform("size")
    values = table.groupby("a")["v"].transform("nunique")
    share = 1 / (of_value * values * table["a"].nunique())
    return share.to_numpy()


def entropy(p: np.ndarray) -> np.ndarray:
    """Of yes and no with probability p, in nats."""
    q = np.clip(p, 1e-12, 1 - 1e-12)
    return -(q * np.log(q) + (1 - q) * np.log(1 - q))


def floors(labels: Labels, share: np.ndarray, group: np.ndarray, n_attributes: int) -> float:
    """The lowest mean loss of someone who knows each image's group (L,) and nothing more."""
    asked = np.zeros((group.max() + 1, n_attributes))
    np.add.at(asked, (group, labels.attribute), share)
    of_group = asked.sum(1)
    given = asked / np.maximum(of_group, 1e-12)[:, None]
    return float((of_group * entropy(given).mean(1)).sum())


def kinds_of(data: PreparedDataset, images: np.ndarray) -> np.ndarray:
    """The kind (L,) of images, as a number."""
    table = pd.read_csv(data.folder / "kinds.csv", dtype=str).set_index("image")["kind"]
    return np.asarray(pd.Categorical(table.loc[data.images["image"].iloc[images]]).codes, np.int64)


def measured(run: Run, data: PreparedDataset, labels: Labels, share: np.ndarray) -> float:
    """The mean loss of a run's branch on labelled images."""
    model, losses = run.model("last"), np.zeros(len(labels))
    pixels = Pixels(data, run.config.image_size, run.config.fit, run.config.cache)

    def work(part: slice, images: Tensor) -> None:
        logits = model.attribute_logits(images)
        asked = functional.one_hot(torch.from_numpy(labels.attribute[part]), logits.shape[1])
        loss = functional.binary_cross_entropy_with_logits(logits, asked.float(), reduction="none")
        losses[part] = loss.mean(1).numpy()

    each_batch(model, len(labels), lambda part: pixels.take(labels.image[part]), work)
    return float((share * losses).sum())


def main(arm: str, compared: list[Path]) -> None:
    """Measure every seed of the arm, and write the file."""
    rows: list[dict[str, Any]] = []
    for folder in compared:
        about = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        slug = "".join(c if c.isalnum() else "-" for c in arm).strip("-")
        runs = [Run.load(folder / "runs" / f"{slug}-seed{seed}") for seed in about["seeds"]]
        data = runs[0].dataset()
        labels = data.split_labels("test", evaluated=True)
        share, a = shares(labels), data.n_attributes
        new = np.array([measured(run, data, labels, share) for run in runs])
        seen = [run.log.groupby("epoch")["classification"].mean().iloc[-1] for run in runs]
        rows.append({
            "dataset": data.title,
            "fingerprint": data.fingerprint,
            "arm": arm,
            "seeds": about["seeds"],
            "nothing": round(floors(labels, share, np.zeros(len(labels), np.int64), a), 4),
            "kind": round(floors(labels, share, kinds_of(data, labels.image), a), 4),
            "new images": [round(float(loss), 4) for loss in new],
            "±": round(seed_interval(new), 4),
            "last epoch of training": [round(float(loss), 4) for loss in seen],
        })  # fmt: skip
        print(json.dumps(rows[-1], indent=2))
    write_json(OUT, {"command": "python figures/branch_loss.py", "rows": rows})


if __name__ == "__main__":
    main(sys.argv[1], [Path(folder) for folder in sys.argv[2:]])
