"""Validation scores during trainings: agman_lib/assets/curves-NAME.json.

    python figures/curves.py COMPARED NAME

COMPARED is a folder that `agman compare` made; every epoch of every run gives a point.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import agman_lib
from agman_lib.base.folders import write_json
from agman_lib.comparison.study import run_folder
from agman_lib.training import Run

ASSETS = Path(agman_lib.__file__).parent / "assets"


def validation(compared: Path, arm: str, seeds: list[int]) -> tuple[list[int], list[list[float]]]:
    """The steps after which an arm's runs were validated, and the MAP of each seed there."""
    runs = [Run.load(run_folder(compared, arm, seed)) for seed in seeds]
    logs = [run.log.dropna(subset=["valid"]) for run in runs]
    steps = (logs[0]["epoch"] * runs[0].config.steps_per_epoch).tolist()
    return steps, [log["valid"].round(3).tolist() for log in logs]


def main(compared: Path, name: str) -> None:
    """Read the runs' logs and write the file."""
    about = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    arms: dict[str, Any] = {}
    for arm, row in about["table"].items():
        steps, of_seeds = validation(compared, arm, about["seeds"])
        arms[arm] = {
            "steps": steps,
            "validation MAP of each seed": of_seeds,
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
