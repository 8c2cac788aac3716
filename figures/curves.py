"""Validation scores during trainings: agman_lib/assets/curves-NAME.json.

    python figures/curves.py COMPARED NAME

COMPARED is a folder that `agman compare` made; every epoch of every run gives a point.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import agman_lib
from agman_lib.base.folders import write_json
from agman_lib.comparison.study import run_folder
from agman_lib.training import Run

ASSETS = Path(agman_lib.__file__).parent / "assets"


def main(compared: Path, name: str) -> None:
    """Read the runs' logs and write the file."""
    about = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    arms = {}
    for arm, row in about["table"].items():
        runs = [Run.load(run_folder(compared, arm, seed)) for seed in about["seeds"]]
        logs = [run.log.dropna(subset=["valid"]) for run in runs]
        arms[arm] = {
            "steps": (logs[0]["epoch"] * runs[0].config.steps_per_epoch).tolist(),
            "validation MAP of each seed": [log["valid"].round(3).tolist() for log in logs],
            "images seen": row["images seen"],
            "test MAP": row["MAP"],
            "test MAP of each seed": about["MAP of each seed"][arm],
            "low": row["low"],
            "high": row["high"],
        }
    kept = ("dataset", "fingerprint", "seeds", "random")
    write_json(ASSETS / f"curves-{name}.json", {key: about[key] for key in kept} | {"arms": arms})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
