"""Beyond AG-MAN: the comparisons of RESULTS.md, section 9, into agman_lib/assets, and their plots.

    python figures/beyond.py COMPARED

COMPARED holds the folders ``photos`` and ``garments``, and each of them the folders that
`agman compare` made with the commands at the end of that section. Of every arm the validation MAP
after each epoch is kept, too. Where there are folders NAME-first, the first look, and
NAME-again-0, -1, …, one for each seed, their arms join those of NAME as "…, second look".
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from curves import validation
from matplotlib.figure import Figure
from tables import BUDGETS, SHARES, those_there

import agman_lib
from agman_lib.base.folders import write_json
from agman_lib.base.pictures import save_picture
from agman_lib.comparison.result import comparison_table, table_rows
from agman_lib.comparison.study import run_folder
from agman_lib.course import results

ROOT = Path(agman_lib.__file__).resolve().parents[1]
ASSETS = ROOT / "agman_lib" / "assets"
DATA = ("photos", "garments")
COLOURS = {
    "AG-MAN's attention": "C1", "softmax on pooled F3": "C2", "ASENet_V2": "C3",
    "logistic regression": "k",
}  # fmt: skip
"""Of the arms in the plots; proxies are C0."""
SECOND = ", second look"


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a comparison found, and the scores of its arms (S, Q), with the attribute (Q,)."""
    about = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    with np.load(folder / "scores.npz") as scores:
        return about, dict(scores)


def with_curves(about: dict[str, Any], compared: Path) -> dict[str, Any]:
    """A comparison's results, and the steps and validation MAP of each seed of its runs."""
    curves = {}
    for arm in about["table"]:
        if (run_folder(compared, arm, about["seeds"][0]) / "log.csv").is_file():  # it was trained
            steps, of_seeds = validation(compared, arm, about["seeds"])
            curves[arm] = {"steps": steps, "of each seed": of_seeds}
    return about | {"validation MAP": curves}


def with_second_look(
    about: dict[str, Any], scores: dict[str, np.ndarray], compared: Path
) -> dict[str, Any]:
    """The same with the arms of the second look, whose queries are the same, in the same order.

    They cost what both looks cost. Each seed has a first look of its own.
    """
    again = [compared.with_name(f"{compared.name}-again-{seed}") for seed in about["seeds"]]
    if not again[0].is_dir():
        return about
    attribute = scores.pop("attribute")
    (row,) = read(compared.with_name(f"{compared.name}-first"))[0]["table"].values()
    first = costs(row)
    reports = {arm: [costs(row)] for arm, row in about["table"].items()}
    parts = [read(folder) for folder in again]
    for arm in parts[0][0]["table"]:
        rows = [of["table"][arm] for of, _ in parts]
        scores[arm + SECOND] = np.concatenate([s[arm] for _, s in parts])
        reports[arm + SECOND] = [{k: row[k] + first[k] for k in first} for row in map(costs, rows)]
    for (of, found), seed in zip(parts, about["seeds"], strict=True):
        assert (of["seeds"], of["split"]) == ([seed], about["split"])
        assert np.array_equal(found["attribute"], attribute), "these are other queries"
    table = comparison_table(scores, attribute, reports, about["baseline"])
    of_seeds = {arm: s.mean(1).tolist() for arm, s in scores.items()}
    return about | {"table": table_rows(table), "MAP of each seed": of_seeds}


def costs(row: dict[str, Any]) -> dict[str, Any]:
    """What `comparison_table` wants to know of a run."""
    names = {"parameters": "parameters", "images_seen": "images seen", "seconds": "seconds"}
    return {name: row[column] for name, column in names.items()}


# --------------------------------------------------------------------------- plots


def curves() -> Figure:
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


def budgets() -> Figure:
    """Test MAP over the images seen, and over the share of the labels; seeds as bars."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    for row, (label, names, scale) in zip(
        figure.subplots(2, 2),
        (("images seen", BUDGETS, 96), ("% of the labels", SHARES, 1)),
        strict=True,
    ):
        for axes, data in zip(row, DATA, strict=True):
            found = {scale * x: r for x, r in those_there(names, data).items()}
            final = results(f"beyond-final-{data}")["table"]
            for arm in final:
                here = {x: r["table"][arm] for x, r in found.items() if arm in r["table"]}
                if len(here) > 1:
                    of_seeds = [of["seeds ±"] or 0 for of in here.values()]
                    maps = [of["MAP"] for of in here.values()]
                    colour = COLOURS.get(arm, "C0")
                    axes.errorbar(list(here), maps, of_seeds, color=colour, marker="o", label=arm)
            chance = next(iter(found.values()))["random"]["mean"]
            axes.axhline(chance, color="#999", lw=1, ls=":", label="random ranking")
            if names is BUDGETS:
                alone = final["logistic regression"]["MAP"]
                axes.axhline(alone, color="k", ls="--", lw=1, label="logistic regression")
            axes.set(xscale="log", xlabel=label, ylabel="test MAP", title=data)
            axes.set_xticks(list(found), [f"{x:,}" for x in found])
            axes.minorticks_off()
            axes.set_ylim(bottom=0)
            axes.legend(loc="lower right", edgecolor="none", fontsize=7, ncols=2)
    return figure


def main(folder: Path) -> None:
    """Copy every comparison that is there, and draw."""
    for data in DATA:
        for compared in sorted(p.parent for p in folder.glob(f"{data}/*/comparison.json")):
            if not re.search(r"-first$|-again-\d+$", compared.name):
                about, scores = read(compared)
                about = with_second_look(with_curves(about, compared), scores, compared)
                write_json(ASSETS / f"beyond-{compared.name}-{data}.json", about)
    for name, plot in (("beyond", curves), ("beyond_budgets", budgets)):
        save_picture(plot(), ROOT / "figures" / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
