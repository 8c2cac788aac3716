"""Beyond AG-MAN: the comparisons of RESULTS.md, section 9, into agman_lib/assets, and their plot.

    python figures/beyond.py COMPARED

COMPARED holds the folders ``photos`` and ``garments``, and each of them the folders that
`agman compare` made with the commands at the end of that section. Of every arm the validation MAP
after each epoch is kept, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from curves import validation
from matplotlib.figure import Figure

import agman_lib
from agman_lib.base.folders import write_json
from agman_lib.base.pictures import save_picture
from agman_lib.comparison.study import run_folder
from agman_lib.course import results

ROOT = Path(agman_lib.__file__).resolve().parents[1]
ASSETS = ROOT / "agman_lib" / "assets"
DATA = ("photos", "garments")
COLOURS = {"AG-MAN's attention": "C1", "softmax on pooled F3": "C2"}
"""Of the arms in the plot; the recipe is C0."""


def with_curves(compared: Path) -> dict[str, Any]:
    """A comparison's results, and the steps and validation MAP of each seed of its runs."""
    about = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    curves = {}
    for arm in about["table"]:
        if (run_folder(compared, arm, about["seeds"][0]) / "log.csv").is_file():  # it was trained
            steps, of_seeds = validation(compared, arm, about["seeds"])
            curves[arm] = {"steps": steps, "of each seed": of_seeds}
    return about | {"validation MAP": curves}


def plot() -> Figure:
    """Validation MAP over the images seen: every seed of the last comparisons."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, data in zip(figure.subplots(1, 2), DATA, strict=True):
        for arm, curve in results(f"beyond-final-{data}")["validation MAP"].items():
            seen = [96 * step for step in curve["steps"]]
            for i, seed in enumerate(curve["of each seed"]):
                colour = COLOURS.get(arm, "C0")
                axes.plot(seen, seed, color=colour, lw=1, label=None if i else arm)
        logistic = results(f"beyond-ideas-{data}")["table"]["logistic regression"]["MAP"]
        axes.axhline(logistic, color="k", ls="--", lw=1, label="logistic regression")
        axes.set(xlabel="images seen", ylabel="validation MAP", title=data)
        axes.legend(edgecolor="none", framealpha=1, fontsize=8)
    return figure


def main(folder: Path) -> None:
    """Copy every comparison that is there, and draw."""
    for data in DATA:
        for compared in sorted(p.parent for p in folder.glob(f"{data}/*/comparison.json")):
            write_json(ASSETS / f"beyond-{compared.name}-{data}.json", with_curves(compared))
    save_picture(plot(), ROOT / "figures" / "beyond.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
