"""Write the tables of the committed results into the documents, between their marks.

    python figures/tables.py

A mark is ``<!-- NAME -->`` in a page of `PAGES`, and the table ends at ``<!-- end -->``. A test
compares the pages with what this would write.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agman_lib.benchmark.report import duration, three_digits
from agman_lib.course import results
from agman_lib.evaluation.statistics import seed_interval

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "agman_lib" / "assets"
PAGES = ("README.md", "RESULTS.md", "docs/experiment.md", "docs/command_line.md")


def comparison(name: str) -> list[str]:
    """The arms of an experiment, one a line."""
    r = results(name)
    lines = [
        f"| arm | MAP ± seeds | 95 % over queries | difference to {r['baseline']} | over seeds |",
        "|---|---:|---:|---:|---:|",
        f"| random ranking | {r['random']['mean']:.1f} | | | |",
    ]
    for arm, row in r["table"].items():
        cells = [arm, f"{row['MAP']:.1f}{_half(row['seeds ±'])}"]
        cells.append(f"[{row['low']:.1f}, {row['high']:.1f}]")
        if arm != r["baseline"]:
            over = f"[{row['diff low']:+.1f}, {row['diff high']:+.1f}]"
            cells += [f"{row['difference']:+.1f} {over}", _half(row["diff seeds ±"]).strip()]
        else:
            cells += ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def laboratory(name: str) -> list[str]:
    """As `comparison`; the arms are called by what they are, not by the step of an ablation."""
    steps = {
        "+ scalars: AG-MAN's attention": "AG-MAN's attention",
        "+ multi-level backbone": "AG-MAN's attention + multi-level projection",
    }
    text = "\n".join(comparison(name))
    for step, whole in steps.items():
        text = text.replace(step, whole)
    return text.splitlines()


def effects(name: str) -> list[str]:
    """The effects of the factors, one a line."""
    lines = ["| effect on MAP | mean | over seeds | each seed |", "|---|---:|---:|---|"]
    for effect, row in results(name)["effects"].items():
        each = ", ".join(f"{value:+.1f}" for value in row["of seeds"])
        lines.append(f"| {effect} | {row['effect']:+.1f} | ± {row['±']:.1f} | {each} |")
    return lines


def rates(name: str) -> list[str]:
    """The learning rates that were tried from each start."""
    found = {arm: row["MAP"] for arm, row in results(name)["table"].items()}
    lines = ["| learning rate | random weights | ImageNet's weights |", "|---:|---:|---:|"]
    for rate in sorted({arm.split(", ")[1] for arm in found}, key=float):
        cells = [found.get(f"{start}, {rate}") for start in ("random", "ImageNet")]
        lines.append(f"| {rate} |" + "".join(f" {c:.1f} |" if c else " |" for c in cells))
    return lines


def curves(name: str) -> list[str]:
    """Validation MAP during longer trainings, and the test's at their end; the mean over seeds."""
    arms = results(name)["arms"]
    steps = next(iter(arms.values()))["steps"]
    lines = ["| arm | " + " | ".join(f"{step} steps" for step in steps) + " | test, at the end |"]
    lines.append("|---|" + "---:|" * (len(steps) + 1))
    for arm, row in arms.items():
        of_seeds = row["validation MAP of each seed"]
        cells = [f"{sum(found) / len(found):.1f}" for found in zip(*of_seeds, strict=True)]
        cells.append(f"{row['test MAP']:.1f} [{row['low']:.1f}, {row['high']:.1f}]")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return lines


def sampling(name: str) -> list[str]:
    """Validation MAP by images seen, of two ways to draw batches, and where one has caught up."""
    arms = results(name)["arms"]
    lines = ["| steps | " + " | ".join(arms) + " |", "|---:|" + "---:|" * len(arms)]
    steps = next(iter(arms.values()))["steps"]
    for i in [0, 1, 2, 3, 5, 8, len(steps) - 1]:
        cells = [str(steps[i])]
        for arm in arms.values():
            of_seeds = [seed[i] for seed in arm["validation MAP of each seed"]]
            cells.append(f"{np.mean(of_seeds):.1f}{_half(seed_interval(np.array(of_seeds)))}")
        lines.append("| " + " | ".join(cells) + " |")
    ends = [f"{arm['test MAP']:.1f} [{arm['low']:.1f}, {arm['high']:.1f}]" for arm in arms.values()]
    seen = [f"{arm['images seen']:,.0f}" for arm in arms.values()]
    lines.append("| **test, at the end** | " + " | ".join(ends) + " |")
    return [*lines, "| images seen in all | " + " | ".join(seen) + " |"]


def leaderboard(name: str) -> list[str]:
    """As `comparison`, with what each arm costs."""
    r, lines = results(name), comparison(name)
    lines[0] += " parameters (M) | images seen | seconds |"
    lines[1] += "---:|---:|---:|"
    lines[2] += " | | |"
    for i, row in enumerate(r["table"].values(), start=3):
        costs = f" {row['parameters'] / 1e6:.1f} | {row['images seen']:,.0f} |"
        lines[i] += f"{costs} {row['seconds']:.0f} |"
    return lines


def ideas(name: str) -> list[str]:
    """Every idea's validation MAP, beside AG-MAN's attention and beside what it starts from."""
    r = results(name)
    start = r["table"]["AG-MAN's attention"]["MAP"]
    lines = ["| arm | validation MAP | difference to AG-MAN's attention |", "|---|---:|---:|"]
    lines.append(f"| random ranking | {r['random']['mean']:.1f} | |")
    for arm, row in r["table"].items():
        ahead = "" if arm == "AG-MAN's attention" else f"{row['MAP'] - start:+.1f}"
        lines.append(f"| {arm} | {row['MAP']:.1f} | {ahead} |")
    return lines


BUDGETS = {240: "low", 1200: "final", 2400: "high"}
"""Of the comparisons beyond AG-MAN: by the steps of 96 images that training had,"""
SHARES = {1: "labels-1", 5: "labels-5", 20: "labels-20", 100: "final"}
"""and by the share of the training labels, percent."""


def those_there(names: dict[int, str], data: str) -> dict[int, dict[str, Any]]:
    """The results of `BUDGETS` or `SHARES` on a data set, of those comparisons that were made."""
    files = {x: f"beyond-{name}-{data}" for x, name in names.items()}
    return {x: results(f) for x, f in files.items() if (ASSETS / f"{f}.json").is_file()}


def by_budget(data: str) -> list[str]:
    """MAP ± seeds by the steps of 96 images that training had."""
    return _side_by_side({f"{x:,} steps": r for x, r in those_there(BUDGETS, data).items()})


def by_labels(data: str) -> list[str]:
    """MAP by the share of the training labels."""
    return _side_by_side({f"{x} %": r for x, r in those_there(SHARES, data).items()})


def _side_by_side(found: dict[str, dict[str, Any]]) -> list[str]:
    """MAP ± seeds of the first result's arms, a result a column."""
    lines = ["| arm | " + " | ".join(found) + " |", "|---|" + "---:|" * len(found)]
    chance = [f"{r['random']['mean']:.1f}" for r in found.values()]
    lines.append("| random ranking | " + " | ".join(chance) + " |")
    for arm in next(iter(found.values()))["table"]:
        rows = [r["table"].get(arm) for r in found.values()]
        cells = [f"{row['MAP']:.1f}{_half(row['seeds ±'])}" if row else "" for row in rows]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return lines


def localisation(name: str) -> list[str]:
    """How often the maps of trained networks are right, percent."""
    columns = ("energy", "energy, others", "pointing", "IoU")
    lines = ["| map | energy | others | pointing | IoU |", "|---|---:|---:|---:|---:|"]
    rows = [row for row in results(name)["table"] if row["weights"] != "untrained"]
    for row in sorted(rows, key=lambda row: row["network"] != "none"):
        of = "" if row["network"] == "none" else f"{row['network']}: "
        cells = [f"{row[c]:.1f}{_half(row.get(f'{c} ±'))}" if c in row else "" for c in columns]
        lines.append(f"| {of}{row['map'].replace('_', '-')} | " + " | ".join(cells) + " |")
    return lines


def one_result(_: str) -> list[str]:
    """What the README shows of the experiment: the eight cells, and logistic regression."""
    garments, photos = (results(f"experiment-{data}") for data in ("garments", "photos"))
    lines = ["| start | network | drawn garments | real photos |", "|---|---|---:|---:|"]
    chance = [f"{r['random']['mean']:.1f}" for r in (garments, photos)]
    lines.append("| | random ranking | " + " | ".join(chance) + " |")
    for arm in [*garments["table"], "frozen trunk, logistic regression"]:
        start, network = arm.split(", ")
        network = network.replace("V2", "ASENet_V2").replace("branch", "class branch")
        rows = [r["table"].get(arm) for r in (garments, photos)]
        cells = [f"{row['MAP']:.1f}{_half(row['seeds ±'])}" if row else "" for row in rows]
        lines.append(f"| {start} | {network} | " + " | ".join(cells) + " |")
    return lines


def branch_loss(name: str) -> list[str]:
    """The class branch's loss on new images, beside what one knows without it."""
    lines = [
        "| data | knowing nothing | knowing the kind | last epoch | new images, by seed |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in results(name)["rows"]:
        trained, new = row["last epoch of training"], row["new images"]
        cells = [row["dataset"], f"{row['nothing']:.3f}", f"{row['kind']:.3f}"]
        cells += [f"{sum(trained) / len(trained):.3f}", ", ".join(f"{loss:.3f}" for loss in new)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def street_photos(name: str) -> list[str]:
    """The share of maps that lies on a kind's pixels, for attributes of that kind and of others."""
    r = results(name)
    found = {(row["arm"], row["weights"], row["map"], row["kind"]): row for row in r["table"]}
    titles = {
        "ImageNet, V2": "ASENet_V2",
        "ImageNet, AG-MAN's attention + branch": "AG-MAN's attention + branch",
    }
    heads = (
        "network, pixels of, photos, uniform, centre, S untrained, S, S of other kinds, Grad-CAM"
    )
    lines = ["| " + heads.replace(", ", " | ") + " |", "|---|---|" + "---:|" * 7]
    for arm in dict.fromkeys(row["arm"] for row in r["table"]):
        title = titles.get(arm, arm)
        for kind, photos in r["photos"].items():
            own = found[arm, "trained", "attention", kind]
            start = found[arm, "untrained", "attention", kind]
            cam = found[arm, "trained", "grad_cam", kind]
            cells = [title, kind, str(photos)]
            cells += [f"{r['references'][name][kind]:.1f}" for name in ("uniform", "centre")]
            cells += [f"{start['share']:.1f}", f"{own['share']:.1f}{_half(own['±'])}"]
            cells += [f"{own['others']:.1f}", f"{cam['share']:.1f}{_half(cam['±'])}"]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def feature_gap(name: str) -> list[str]:
    """Probes of ImageNet's trunk, and what training it further changes, level by level."""
    r = results(name)
    found = {
        (row["data"], row["level"], row["pool"], row["extractor"], row["attribute"]): row
        for row in r["rows"]
    }
    others = ("attributes", "kinds", "random labels", "random weights")
    lines = ["| data | level | pooled | ImageNet | " + " | ".join(others) + " |"]
    lines.append("|---|---|---|" + "---:|" * (1 + len(others)))
    for data in dict.fromkeys(row["data"] for row in r["rows"]):
        names = dict.fromkeys(a for d, _, _, _, a in found if d == data and a != "kind")
        for level in ("stage2", "stage5", "conv_head"):
            for pool in ("global", "grid"):
                of = {
                    extractor: np.mean(
                        [found[data, level, pool, extractor, a]["accuracy"] for a in names], axis=0
                    )
                    for extractor in ("ImageNet", *others)
                }
                cells = [data, level, pool, f"{of['ImageNet'].mean():.1f}"]
                for extractor in others:
                    points = of[extractor] - of["ImageNet"]
                    cells.append(f"{points.mean():+.1f}{_half(seed_interval(points))}")
                lines.append("| " + " | ".join(cells) + " |")
    return lines


def backbone_cost(name: str) -> list[str]:
    """What a backbone costs, as a multiple of ResNet-18."""
    rows = results(name)["rows"]
    kinds = list(dict.fromkeys((row["what"], row["size"]) for row in rows))
    lines = ["| backbone | " + " | ".join(f"{what}, {size} px" for what, size in kinds) + " |"]
    lines.append("|---|" + "---:|" * len(kinds))
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        found = {(r["what"], r["size"]): r for r in rows if r["backbone"] == backbone}
        cells = [
            f"{r['ratio']:.2f} [{r['from']:.2f}, {r['to']:.2f}]" for r in map(found.get, kinds) if r
        ]
        lines.append(f"| {backbone} | " + " | ".join(cells) + " |")
    return lines


def benchmark(name: str) -> list[str]:
    """What the library costs beside the straightforward way: the rows that have both."""
    lines = ["| section | what | beside | size | × as fast [quartiles] | time | memory |"]
    lines.append("|---|---|---|---:|---:|---:|---:|")
    for row in results(name)["rows"]:
        if row["faster"] is None:
            continue
        ratio = three_digits(row["faster"])
        spread = f"[{three_digits(row['low'])}, {three_digits(row['high'])}]"
        size = "" if row["size"] is None else f"{row['size']:,}"
        memory = "" if row["memory"] is None else f"{row['memory'] / 1e6:,.1f} MB"
        cells = [row["section"], row["what"], row["beside"], size, f"{ratio} {spread}"]
        lines.append("| " + " | ".join([*cells, duration(row["seconds"]), memory]) + " |")
    return lines


def large_gallery(name: str) -> list[str]:
    """Exact and approximate search by the gallery's size, with the noise of real neighbours."""
    lines = [
        "| photos | exact search | approximate search | of the ten nearest, found |"
        " lists made in |",
        "|---:|---:|---:|---:|---:|",
    ]
    for row in results(name)["approximate"]:
        if row["noise"] == "neighbours":
            times = [f"{row[f'{how}, ms CPU']:.1f} ms" for how in ("exact", "approximate")]
            cells = [f"{row['items']:,}", *times, f"{100 * row['recall@10']:.1f} %"]
            cells.append(f"{row['build the lists, s CPU']:.0f} s")
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _half(value: float | None) -> str:
    return "" if value is None else f" ± {value:.1f}"


TABLES: dict[str, tuple[Callable[[str], list[str]], str]] = {
    "one-result": (one_result, ""),
    "rates-photos": (rates, "rates-photos"),
    "rates-garments": (rates, "rates-garments"),
    "experiment-photos": (comparison, "experiment-photos"),
    "experiment-garments": (comparison, "experiment-garments"),
    "effects-photos": (effects, "experiment-photos"),
    "effects-garments": (effects, "experiment-garments"),
    "curves-photos": (curves, "curves-photos"),
    "curves-sampling": (sampling, "curves-sampling"),
    "laboratory-photos": (laboratory, "laboratory-photos"),
    "laboratory-garments": (laboratory, "laboratory-garments"),
    "laboratory-photos-seeds": (laboratory, "laboratory-photos-seeds"),
    "experiment-photos-224": (comparison, "experiment-photos-224"),
    "street-photos": (street_photos, "street_photos"),
    "feature-gap": (feature_gap, "feature_gap_pretrained"),
    "branch-loss": (branch_loss, "branch_loss"),
    "backbone-cost": (backbone_cost, "backbone_cost"),
    "beyond-final-photos": (leaderboard, "beyond-final-photos"),
    "beyond-final-garments": (leaderboard, "beyond-final-garments"),
    "beyond-ideas-photos": (ideas, "beyond-ideas-photos"),
    "beyond-ideas-garments": (ideas, "beyond-ideas-garments"),
    "beyond-unseen-photos": (leaderboard, "beyond-unseen-photos"),
    "beyond-unseen-garments": (leaderboard, "beyond-unseen-garments"),
    "beyond-every-photos": (leaderboard, "beyond-every-photos"),
    "beyond-budgets-photos": (by_budget, "photos"),
    "beyond-budgets-garments": (by_budget, "garments"),
    "beyond-labels-photos": (by_labels, "photos"),
    "beyond-labels-garments": (by_labels, "garments"),
    "beyond-unseen-second-garments": (comparison, "beyond-unseen-second-garments"),
    "localisation-beyond": (localisation, "localisation-beyond"),
    "benchmark": (benchmark, "benchmark"),
    "large-gallery": (large_gallery, "large_gallery"),
}
"""Of each mark: what makes its table, and the file of `agman_lib/assets` that it is made from."""


def filled(text: str) -> tuple[str, list[str]]:
    """A page with every table of `TABLES` made anew, and the marks that it has."""
    marks = []

    def made(match: re.Match[str]) -> str:
        name = match[1]
        if name not in TABLES:
            return match[0]
        marks.append(name)
        make, file = TABLES[name]
        return "\n".join([f"<!-- {name} -->", *make(file), "<!-- end -->"])

    return re.sub(r"(?s)<!-- ([\w-]+) -->\n.*?<!-- end -->", made, text), marks


def main() -> None:
    """Write them all."""
    for page in PAGES:
        file: Any = ROOT / page
        text, marks = filled(file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
        print(f"{page}: {', '.join(marks)}")


if __name__ == "__main__":
    main()
