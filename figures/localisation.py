"""How often the maps of the compared networks mark the right place (notebook 07's table).

    python figures/localisation.py COMPARED [NAME ARM …]

COMPARED is a folder that `agman compare` made on garments, each ARM a line of that comparison, by
default the five networks. Writes agman_lib/assets/localisation-NAME.json (by default "garments").

Every run is measured with its best weights and as its training started (the untrained row), and
beside them a uniform map and the picture's centre.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from agman_lib.base.folders import write_json
from agman_lib.comparison.study import run_folder
from agman_lib.data.pixels import Pixels
from agman_lib.explain.localisation_scores import (
    THRESHOLD,
    by_attribute,
    localise,
    over_seeds,
    reference_rows,
)
from agman_lib.networks.model import NETWORKS
from agman_lib.training.run import Run, initial_model

ASSETS = Path(__file__).resolve().parents[1] / "agman_lib" / "assets"


def measured(compared: Path, arms: list[str]) -> dict[str, object]:
    """The whole result, from the runs of these arms in the folder of a comparison."""
    about = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    seeds = about["seeds"]
    runs = {name: [Run.load(run_folder(compared, name, s)) for s in seeds] for name in arms}
    config = runs[arms[-1]][0].config
    dataset = runs[arms[-1]][0].dataset()
    pixels = Pixels(dataset, config.image_size, config.fit, config.cache)
    table, seeds_apart, attributes = [], [], []
    for network, of_seeds in runs.items():
        for weights in ("trained", "untrained"):
            tables = []
            for run in of_seeds:
                trained = weights == "trained"
                model = run.model() if trained else initial_model(run.config, dataset)
                title = f"{network}, {weights}, seed {run.config.seed}"
                tables.append(localise(model, dataset, pixels, progress=title))
            key = {"network": network, "weights": weights}
            table += _rows(key, over_seeds(tables))
            attributes += _rows(key, by_attribute(tables))
            for seed, one in zip(seeds, tables, strict=True):
                seeds_apart += _rows(key | {"seed": seed}, over_seeds([one]))
    references = reference_rows(dataset, pixels)
    key = {"network": "none", "weights": "none"}
    return {
        "dataset": dataset.title,
        "split": "test",
        "queries": int(references["image"].nunique()),
        "seeds": seeds,
        "threshold of IoU": THRESHOLD,
        "table": table + _rows(key, over_seeds([references])),
        "of each seed": seeds_apart,
        "energy by attribute": attributes + _rows(key, by_attribute([references])),
        "MAP": {name: about["table"][name]["MAP"] for name in arms},
        "config": about["config"],
    }


def _rows(key: dict[str, object], table: pd.DataFrame) -> list[dict[str, object]]:
    """A table's rows, each with the key and its map; what is no number is left out."""
    return [
        key | {"map": name} | {c: round(float(v), 4) for c, v in row.items() if pd.notna(v)}
        for name, row in table.iterrows()
    ]


if __name__ == "__main__":
    if len(sys.argv) in (1, 3):
        raise SystemExit(__doc__)
    folder, name, *chosen = sys.argv[1:] if len(sys.argv) > 2 else [sys.argv[1], "garments"]
    file = ASSETS / f"localisation-{name}.json"
    write_json(file, measured(Path(folder), chosen or list(NETWORKS)))
    print(file.name)
