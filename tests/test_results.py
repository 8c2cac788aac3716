"""The committed results: whole, and the numbers that the README prints."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from agman_lib import course
from agman_lib.comparison.study import ablation_entries
from agman_lib.evaluation.statistics import seed_interval
from agman_lib.networks.model import NETWORKS

COMPARISONS = ["comparison-photos", "comparison-garments", "ablation-garments"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_is_whole(name):
    r = course.results(name)
    expected = [e.name for e in ablation_entries()] if "ablation" in name else list(NETWORKS)
    assert list(r["table"]) == list(r["MAP of each seed"]) == list(r["by attribute"]) == expected
    assert len(r["seeds"]) >= 3
    assert len({row["images seen"] for row in r["table"].values()}) == 1  # the same budget
    for entry, row in r["table"].items():
        of_seeds = np.array(r["MAP of each seed"][entry])
        assert len(of_seeds) == len(r["seeds"])
        assert row["MAP"] == pytest.approx(of_seeds.mean())
        assert row["seeds ±"] == pytest.approx(seed_interval(of_seeds))
        assert row["low"] < row["MAP"] < row["high"]
        difference = row["MAP"] - r["table"][r["baseline"]]["MAP"]
        assert row["difference"] == pytest.approx(difference)


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_readme_prints_these_numbers(name):
    r = course.results(name)
    section = README.split(f"<!-- {name} -->")[1].split("<!--")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    for (entry, row), line in zip(r["table"].items(), lines[2:], strict=True):
        cells = [c.strip() for c in line.strip("|").split("|")]
        assert cells[0].strip("`") == entry
        assert cells[1] == f"{row['MAP']:.1f} ± {row['seeds ±']:.1f}"
        assert cells[2] == f"[{row['low']:.1f}, {row['high']:.1f}]"
        if entry != r["baseline"]:
            assert cells[3] == (
                f"{row['difference']:+.1f} [{row['diff low']:+.1f}, {row['diff high']:+.1f}]"
            )
            assert cells[4] == f"± {row['diff seeds ±']:.1f}"
    assert f"| random ranking | {r['random']['mean']:.1f} |" in lines[1]


def test_the_quickstart_of_the_readme_is_the_committed_one():
    import json

    table = json.loads((ROOT / "figures" / "quickstart.json").read_text())["metrics"]["table"]
    for attribute, row in table.items():
        name = r"\*\*mean\*\*" if attribute == "mean" else attribute
        text = f"{row['MAP']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
        assert re.search(rf"\| {name} \| \**{re.escape(text)}", README), attribute


def test_the_localisation_table_is_the_committed_result():
    r = course.results("localisation-garments")
    section = README.split("<!-- localisation-garments -->")[1].split("<!--")[0]
    names = {"attention": "S", "gate": "gate", "product": "S × gate", "grad_cam": "Grad-CAM"}
    networks = dict(zip(NETWORKS, ("triplet", "CSN", "ASEN", "ASENet_V2", "AG-MAN"), strict=True))
    apart = pd.DataFrame(r["of each seed"])
    assert len(r["seeds"]) >= 3
    printed = [line for line in section.splitlines() if line.startswith("| ")][1:]
    trained = [row for row in r["table"] if row["weights"] == "trained"]
    assert len(printed) == len(trained) + 2
    assert {row["network"] for row in trained} == set(NETWORKS)
    for row, line in zip(trained, printed[2:], strict=True):
        same = apart["weights"].eq("trained") & apart["network"].eq(row["network"])
        of_seeds = apart[same & apart["map"].eq(row["map"])]
        cells = [f"{networks[row['network']]}: {names[row['map']]}"]
        for measure in ("energy", "energy, others", "pointing", "IoU"):
            assert row[measure] == pytest.approx(of_seeds[measure].mean(), abs=1e-3)
            interval = seed_interval(of_seeds[measure].to_numpy())
            assert row[f"{measure} ±"] == pytest.approx(interval, abs=1e-3)
            cells.append(f"{row[measure]:.1f} ± {row[f'{measure} ±']:.1f}")
        assert line == f"| {' | '.join(cells)} |"
    for row, line in zip(r["table"][-2:], printed, strict=False):
        assert row["weights"] == "none"
        assert f"| {row['energy']:.1f} | {row['energy, others']:.1f} |" in line
