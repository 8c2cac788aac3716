"""The committed results: whole, and the numbers that RESULTS.md and the README print.

And what the other documents name: commands, options, presets, files.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from agman_lib import course
from agman_lib.cli import commands
from agman_lib.cli.compare import CompareOptions
from agman_lib.comparison import published_rows
from agman_lib.comparison.arms import ablation_entries
from agman_lib.comparison.factors import factor_effects
from agman_lib.comparison.result import comparison_table
from agman_lib.evaluation.statistics import seed_interval
from agman_lib.networks.model import NETWORKS
from agman_lib.training.config import PRESETS, TrainConfig

MARGIN = {"photos": 8, "garments": 25}  # points of MAP, predicted in docs/experiment.md
COMPARISONS = ["comparison-photos", "comparison-garments", "ablation-garments"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
DOCS_EXPERIMENT = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8")
COMMAND_LINE = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
_spec = importlib.util.spec_from_file_location("tables", ROOT / "figures" / "tables.py")
assert _spec is not None
assert _spec.loader is not None
tables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tables)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data_prep/*.md")])


def one_line(text: str) -> str:
    return " ".join(text.split())


def table(text: str, name: str) -> list[list[str]]:
    """The cells of the table that is marked with a name, without its head."""
    section = text.split(f"<!-- {name} -->")[1].split("<!--")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


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
def test_a_comparison_is_printed_as_it_is(name):
    r = course.results(name)
    chance, *printed = table(RESULTS, name)
    assert chance[:2] == ["random ranking", f"{r['random']['mean']:.1f}"]
    for (entry, row), cells in zip(r["table"].items(), printed, strict=True):
        assert cells[0].strip("`") == entry
        assert cells[1] == f"{row['MAP']:.1f} ± {row['seeds ±']:.1f}"
        assert cells[2] == f"[{row['low']:.1f}, {row['high']:.1f}]"
        if entry != r["baseline"]:
            assert cells[3] == (
                f"{row['difference']:+.1f} [{row['diff low']:+.1f}, {row['diff high']:+.1f}]"
            )
            assert cells[4] == f"± {row['diff seeds ±']:.1f}"
        assert cells[5:] == [f"{row['parameters'] / 1e6:.1f}", f"{row['seconds']:.0f}"]


def test_the_sentences_about_the_comparisons():
    photos, garments = (course.results(n) for n in COMPARISONS[:2])
    for r, queries in ((photos, "3,373 test"), (garments, "350 test")):
        assert f"{r['queries']:,} test" == queries
        assert queries in one_line(RESULTS)
        assert f"{r['table']['agman']['images seen']:,.0f} training images" in RESULTS
    ahead = {
        name: np.subtract(*(r["MAP of each seed"][n] for n in ("agman", "asen_v2")))
        for name, r in (("photos", photos), ("garments", garments))
    }
    assert "({}, {}, {} by seed".format(*(f"{d:+.1f}" for d in ahead["photos"])) in RESULTS
    assert "(by {:.1f}, {:.1f} and {:.1f} points)".format(*ahead["garments"]) in RESULTS
    best = max(photos["MAP of each seed"]["csn"])
    worst = min(photos["MAP of each seed"]["asen_v2"])
    assert f"the best CSN run ({best:.1f})" in RESULTS
    assert f"the worst ASENet_V2 run ({worst:.1f})" in RESULTS
    *_, before, after = course.results("ablation-garments")["MAP of each seed"].values()
    added = np.subtract(after, before)
    assert f"adds {added.min():.0f} to {added.max():.0f} points, in every seed" in one_line(RESULTS)
    *_, before, _ = course.results("ablation-garments")["table"].values()
    cost = f"{-before['difference']:.1f} points"
    assert f"*cost* {cost} (interval over seeds ± {before['diff seeds ±']:.1f})" in one_line(
        RESULTS
    )


def test_the_quickstart_is_printed_as_it_is():
    file = ROOT / "figures" / "quickstart.json"
    result = json.loads(file.read_text(encoding="utf-8"))["metrics"]["table"]
    assert list(result)[-1] == "mean"
    for (attribute, row), cells in zip(result.items(), table(RESULTS, "quickstart"), strict=True):
        assert cells[0].strip("*") == attribute
        assert cells[1].strip("*") == f"{row['MAP']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
        rest = [f"{row[c]:.1f}" for c in ("random", "recall@1", "untrained", "colour")]
        rest.insert(2, str(int(row["queries"])))
        assert cells[2:] == rest, attribute
    mean = result["mean"]
    assert f"MAP of {mean['MAP']:.1f} %" in one_line(README)
    assert f"random ranking has {mean['random']:.1f} %" in one_line(README)


def test_the_localisation_is_printed_as_it_is():
    r = course.results("localisation-garments")
    names = {"attention": "S", "gate": "gate", "product": "S × gate", "grad_cam": "Grad-CAM"}
    networks = dict(zip(NETWORKS, ("triplet", "CSN", "ASEN", "ASENet_V2", "AG-MAN"), strict=True))
    apart = pd.DataFrame(r["of each seed"])
    assert len(r["seeds"]) >= 3
    printed = table(RESULTS, "localisation-garments")
    trained = [row for row in r["table"] if row["weights"] == "trained"]
    assert {row["network"] for row in trained} == set(NETWORKS)
    for row, cells in zip(trained, printed[2:], strict=True):
        same = apart["weights"].eq("trained") & apart["network"].eq(row["network"])
        of_seeds = apart[same & apart["map"].eq(row["map"])]
        expected = [f"{networks[row['network']]}: {names[row['map']]}"]
        for measure in ("energy", "energy, others", "pointing", "IoU"):
            assert row[measure] == pytest.approx(of_seeds[measure].mean(), abs=1e-3)
            interval = seed_interval(of_seeds[measure].to_numpy())
            assert row[f"{measure} ±"] == pytest.approx(interval, abs=1e-3)
            expected.append(f"{row[measure]:.1f} ± {row[f'{measure} ±']:.1f}")
        assert cells == expected
    for row, cells in zip(r["table"][-2:], printed[:2], strict=True):
        assert row["weights"] == "none"
        measures = ("energy", "energy, others", "pointing", "IoU")
        assert cells[1:] == [f"{row[measure]:.1f}" for measure in measures]


def test_the_sentences_about_the_localisation():
    r = course.results("localisation-garments")
    apart = pd.DataFrame(r["of each seed"])
    apart = apart[apart["weights"].eq("trained") & apart["map"].eq("attention")]
    text = one_line(RESULTS)
    assert f"the {r['queries']} test queries that have a region" in text
    energy = apart.pivot_table(index="seed", columns="network", values="energy")
    further = energy["agman"] - energy["asen_v2"]
    assert "by {:.1f}, {:.1f} and {:.1f} points".format(*further) in text
    pointing = apart[apart["network"].eq("agman")].sort_values("seed")["pointing"]
    centre = r["table"][-1]["pointing"]
    assert "({:.1f}, {:.1f} and {:.1f} against {:.1f})".format(*pointing, centre) in text


def test_the_sentences_about_the_feature_gap():
    rows = {
        tuple(cells[:3]): [re.findall(r"[-+]?[\d.]+", cell) for cell in cells[3:]]
        for cells in table(RESULTS, "feature-gap")
    }
    text = one_line(RESULTS)

    def gap(data: str, level: str) -> list[str]:
        return [rows[data, level, pool][1][0] for pool in ("global", "grid")]

    stage5 = "{} and {} points on garments, {} and {} on photos".format(
        *gap("garments", "stage5"), *gap("photos", "stage5")
    )
    assert f"we found no gap**: {stage5}" in text
    assert "on garments ({} and {})".format(*gap("garments", "conv_head")) in text
    kinds = [-float(row[2][0]) for key, row in rows.items() if key[1] == "conv_head"]
    assert f"by {min(kinds):.0f} to {max(kinds):.0f} points" in text
    said = one_line(DOCS_EXPERIMENT)
    for data in ("garments", "photos"):
        for column in (1, 2, 3):  # attributes, kinds, random labels
            value, half = rows[data, "stage5", "global"][column]
            assert f"{value} ± {half}" in said, (data, column)


def test_the_published_scores_are_printed_as_they_are():
    expected: dict[str, list[str]] = {}
    for column, dataset in enumerate(("fashionai", "deepfashion", "zappos50k")):
        for row in published_rows(dataset):
            cells = expected.setdefault(row.method, [""] * 3)
            cells[column] = f"{row.score:.2f} ({row.source})"
    assert {cells[0]: cells[1:] for cells in table(RESULTS, "published")} == expected


@pytest.mark.parametrize("data", ["photos", "garments"])
def test_the_best_learning_rate_on_validation_is_used(data):
    r = course.results(f"rates-{data}")
    assert r["split"] == "valid"
    found = {name: row["MAP"] for name, row in r["table"].items()}
    arms = tomllib.loads((ROOT / "figures" / "arms" / f"{data}.toml").read_text())["arms"]
    for start, weights in (("random", "none"), ("ImageNet", "imagenet")):
        rates = {name: value for name, value in found.items() if name.startswith(start)}
        best = float(max(rates, key=rates.__getitem__).split(", ")[1])
        trained = [arm for arm in arms.values() if "untrained" not in arm]
        used = {arm["lr"] for arm in trained if arm.get("weights", "none") == weights}
        assert used == {best}


@pytest.mark.parametrize("name", [
    "experiment-photos", "experiment-garments", "experiment-photos-224",
    "laboratory-photos", "laboratory-garments", "laboratory-photos-seeds",
])  # fmt: skip
def test_the_experiments_tables_follow_from_the_scores_of_every_query(name):
    r = course.results(name)
    data_set = name.split("-")[1]
    assert r["fingerprint"] == course.results(f"rates-{data_set}")["fingerprint"]
    with np.load(ROOT / "figures" / "scores" / f"{name}.npz") as kept:
        scores = {name: kept[name].astype(float) for name in kept.files}
    attribute = scores.pop("attribute").astype(int)
    costs = {
        arm: {"parameters": row["parameters"], "images_seen": row["images seen"], "seconds": 0}
        for arm, row in r["table"].items()
    }
    table = comparison_table(scores, attribute, {a: [c] for a, c in costs.items()}, r["baseline"])
    assert list(table.index) == list(r["table"])
    for arm, row in table.drop(columns="seconds").iterrows():
        expected = pd.Series(r["table"][arm], dtype=float)[row.index]
        np.testing.assert_allclose(row.to_numpy(float), expected, atol=1e-3, err_msg=arm)
    for arm, row in r["table"].items():  # nothing that was trained is at chance
        assert row["low"] > r["random"]["mean"], arm
    if not r.get("effects"):
        return  # not all cells of the factorial
    arms = tomllib.loads((ROOT / "figures" / "arms" / f"{data_set}.toml").read_text())["arms"]
    levels = {arm: options["factors"] for arm, options in arms.items() if "factors" in options}
    effects = factor_effects({arm: scores[arm].mean(1) for arm in levels}, levels)
    assert list(effects.index) == list(r["effects"])
    for effect, row in effects.iterrows():
        assert row["effect"] == pytest.approx(r["effects"][effect]["effect"], abs=1e-4)
        assert row["±"] == pytest.approx(r["effects"][effect]["±"], abs=1e-3)
    start = r["effects"]["start"]
    assert start["effect"] - start["±"] > MARGIN[data_set]


@pytest.mark.parametrize("page", tables.PAGES)
def test_the_tables_of_committed_results_are_those_that_the_script_writes(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text == tables.filled(text)[0]


def test_the_readme_says_what_the_experiment_found():
    photos, garments = (course.results(f"experiment-{data}") for data in ("photos", "garments"))
    text = one_line(README)
    for r, data in ((photos, "photos"), (garments, "garments")):
        start = r["effects"]["start"]
        points = "points " if data == "photos" else ""
        assert f"{start['effect']:+.1f} ± {start['±']:.1f} {points}on {data}" in text
    for factor in ("attention", "branch"):
        row = photos["effects"][factor]
        assert f"{row['effect']:+.1f} ± {row['±']:.1f}" in text
    cost = garments["table"]["ImageNet, V2 + branch"]
    assert f"costs {-cost['difference']:.1f} ± {cost['diff seeds ±']:.1f} points" in text
    branch = course.results("branch_loss")["rows"][0]
    new = branch["new images"]
    assert f"({min(new):.3f} to {max(new):.3f})" in text
    assert f"told the kind ({branch['kind']:.3f})" in text
    ahead = photos["table"]["frozen trunk, logistic regression"]
    assert f"is {ahead['difference']:.0f} points ahead" in text
    longer = course.results("curves-photos")["arms"]
    v2, agman = (longer[arm]["test MAP"] for arm in ("ImageNet, V2", "AG-MAN"))
    assert f"ASENet_V2 reaches {v2:.1f} on photos and AG-MAN {agman:.1f}" in text


def test_the_sentences_about_224_pixels():
    r = course.results("experiment-photos-224")
    found = {arm: row["MAP"] for arm, row in r["table"].items()}
    start = [found[f"ImageNet, V2{b}"] - found[f"random, V2{b}"] for b in ("", " + branch")]
    branch = [found[f"{s}, V2 + branch"] - found[f"{s}, V2"] for s in ("ImageNet", "random")]
    assert r["config"]["image_size"] == 224
    text = one_line(RESULTS)
    assert "{:+.1f} points without the branch, {:+.1f} with it".format(*start) in text
    assert f"the branch costs {-branch[0]:.1f} points; from random weights it adds" in text
    assert f"it adds {branch[1]:.1f}." in text
    at_96 = course.results("curves-photos")["arms"]["ImageNet, V2"]["test MAP"]
    both = (found["ImageNet, V2"], at_96)
    assert (
        "at 224 pixels lead to {:.1f}, and 500 steps at 96 pixels led to {:.1f}".format(*both)
        in text
    )


def test_the_sentences_about_the_quick_laboratory():
    many, garments = (course.results(f"laboratory-{n}") for n in ("photos-seeds", "garments"))
    attention, text = "+ scalars: AG-MAN's attention", one_line(RESULTS)
    row = many["table"][attention]
    ahead = f"by {row['difference']:+.1f} ± {row['diff seeds ±']:.1f} over ten seeds"
    assert len(many["seeds"]) == 10
    won = np.subtract(*(many["MAP of each seed"][n] for n in (attention, "ASENet_V2"))) > 0
    assert won.sum() == 8
    assert f"{ahead}, in eight of the ten" in text
    row = garments["table"][attention]
    assert f"it is not ({row['difference']:.1f} ± {row['diff seeds ±']:.1f})" in text
    of_csn = [course.results(f"laboratory-{n}")["table"]["CSN"] for n in ("photos", "garments")]
    lost = [-row["difference"] for row in of_csn]
    assert "is {:.1f} points below ASENet_V2 on photos and {:.1f}".format(*lost) in text
    older = course.results("experiment-photos")["table"]
    assert (
        "triplet {:.1f}, CSN {:.1f} (".format(*(older[n]["MAP"] for n in ("triplet", "csn")))
        in text
    )


def test_the_sentences_about_street_photos():
    r = course.results("street_photos")
    uniform, centre = r["references"]["uniform"], r["references"]["centre"]
    trained = [row for row in r["table"] if row["weights"] == "trained"]
    share = {
        kind: [row for row in trained if row["map"] == "attention" and row["kind"] == kind]
        for kind in r["photos"]
    }
    assert all(min(row["of seeds"]) > centre["bottom"] for row in share["bottom"])
    assert all(row["share"] > row["others"] for row in share["bottom"])
    assert all(row["share"] < centre["top"] for row in share["top"])
    for kind in ("shoe", "bag"):
        assert all(row["share"] < uniform[kind] for row in share[kind])
    for row in share["accessory"]:
        assert abs(row["share"] - uniform["accessory"]) < row["±"]
    cams = [row for row in trained if row["map"] == "grad_cam" and row["kind"] == "shoe"]
    assert len(cams) == 2
    assert all(min(row["of seeds"]) > uniform["shoe"] for row in cams)
    assert max(r["photos"].values()) < 1004  # of the photos that the text counts


def test_every_table_that_the_script_makes_is_printed():
    pages = [(ROOT / page).read_text(encoding="utf-8") for page in tables.PAGES]
    printed = [mark for text in pages for mark in tables.filled(text)[1]]
    assert sorted(set(printed)) == sorted(tables.TABLES)


# --------------------------------------------------------------------------- other documents


def test_every_command_and_option_is_described():
    known = commands.COMMANDS | {f"prepare {name}": c for name, c in commands.PREPARE.items()}
    of_runs = [f.name for f in fields(TrainConfig)]
    own = {
        "train": ["preset", "resume", *of_runs],
        "compare": ["preset", *(f.name for f in fields(CompareOptions))],
    }
    for name, command in known.items():
        if name == "prepare":
            continue
        section = COMMAND_LINE.split(f"\n### agman {name}\n")[1].split("\n### ")[0]
        options = own.get(name) or inspect.signature(command).parameters
        for option in options:
            if option == "config":  # the options of `agman train`
                continue
            dashed = option.replace("_", "-")
            named = {f"--{dashed}", option.upper(), f"-{option}"}
            words = set(re.findall(r"-{0,2}[\w-]+", section))
            assert words & named, f"agman {name}: {option}"


def test_the_presets_are_printed_as_they_are():
    head, *printed = [
        [cell.strip("` ") for cell in line.strip("|").split("|")]
        for line in COMMAND_LINE.split("<!-- presets -->")[1].split("<!--")[0].splitlines()
        if line.startswith("| ")
    ]
    assert head[1:] == list(PRESETS)
    default = TrainConfig()
    differ = [
        f.name
        for f in fields(TrainConfig)
        if f.name != "workers"  # of this machine's cores
        and any(getattr(p, f.name) != getattr(default, f.name) for p in PRESETS.values())
    ]
    assert [cells[0] for cells in printed] == [f"--{name.replace('_', '-')}" for name in differ]
    for name, cells in zip(differ, printed, strict=True):
        words = {True: "yes", False: "no", None: "the network's own"}
        values = [getattr(p, name) for p in PRESETS.values()]
        assert cells[1:] == [words.get(v, str(v)) if isinstance(v, bool | None) else str(v)
                             for v in values]  # fmt: skip


def test_the_new_import_paths_are_right():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (`.+`) \| `[\w.]+` \| `([\w.]+)` \|$", text)
    assert len(rows) > 20
    for names, package in rows:
        module = importlib.import_module(package)
        for name in re.findall(r"`(\w+)`", names):
            assert hasattr(module, name), f"{package}.{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    text = re.sub(r"(?s)```.*?```", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file) if file else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", linked.read_text(encoding="utf-8"))
            slugs = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, target


def test_files_that_are_named_are_there():
    pages = [ROOT / name for name in ("README.md", "RESULTS.md", "CONTRIBUTING.md", "ERRATA.md")]
    pages += ROOT.glob("docs/*.md")
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    folders = "agman_lib|data_prep|docs|figures|notebooks|tests"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", text))
    assert len(named) > 10
    assert [file for file in named if not (ROOT / file).exists()] == []


def test_the_sentences_about_fewer_images():
    r = course.results("curves-sampling")
    published, batches = r["arms"].values()
    assert batches["images seen"] <= published["images seen"]
    needed = []
    for seed in r["seeds"]:
        best = max(published["validation MAP of each seed"][seed])
        curve = batches["validation MAP of each seed"][seed]
        needed.append(batches["steps"][next(i for i, v in enumerate(curve) if v >= best)])
    text = one_line(RESULTS)
    assert f"need {min(needed)} to {max(needed)} of the {batches['steps'][-1]:,} steps" in text
    ends = (np.array(a["test MAP of each seed"]) for a in (batches, published))
    ahead = np.subtract(*ends)
    assert f"they are {ahead.mean():+.1f} ± {seed_interval(ahead):.1f} points ahead" in text
    tried = {arm: row["MAP"] for arm, row in course.results("rates-sampling")["table"].items()}
    for arm in r["arms"]:
        how = arm.split(",")[0]
        assert arm == max((a for a in tried if a.startswith(how)), key=tried.__getitem__)
    assert r["fingerprint"] == course.results("rates-sampling")["fingerprint"]


def seeds_apart(result: dict, arm: str, other: str) -> str:
    """The difference of two arms, mean and half of its interval over seeds."""
    a, b = (np.array(result["MAP of each seed"][name]) for name in (arm, other))
    return f"{(a - b).mean():+.1f} ± {seed_interval(a - b):.1f}"


def test_the_sentences_about_what_goes_beyond():
    text = one_line(RESULTS)
    photos, garments = (course.results(f"beyond-final-{data}") for data in ("photos", "garments"))
    best = "proxies on F3, F2 and F4"
    over = seeds_apart(photos, best, "AG-MAN's attention")
    simple = seeds_apart(photos, best, "logistic regression")
    assert f"{over} relative to AG-MAN's attention, and {simple} relative to the logistic" in text
    for name in ("softmax on pooled F3", "logistic regression", "AG-MAN's attention"):
        assert photos["table"][best]["MAP"] > photos["table"][name]["MAP"] + 3
    close, alone = "proxies on F3 and F2, second look", "proxies on F3 and F2"
    by_detail, by_simple, by_loss, by_triplets = (
        seeds_apart(garments, arm, other)
        for arm, other in (
            (close, "AG-MAN's attention"),
            (close, "logistic regression"),
            (alone, "AG-MAN's attention"),
            ("AG-MAN's attention, second look", "AG-MAN's attention"),
        )
    )
    assert f"with proxies {by_detail} relative to AG-MAN's attention and {by_simple} rel" in text
    assert f"not ahead of AG-MAN's attention there ({by_loss})" in text
    assert f"with AG-MAN's own triplets ({by_triplets})" in text
    assert garments["table"][close]["images seen"] == garments["table"][alone]["images seen"]
    for name in ("AG-MAN's attention", "logistic regression", alone):
        assert garments["table"][close]["MAP"] > garments["table"][name]["MAP"] + 3
    short = one_line(README)
    assert f"it is {over} points ahead of AG-MAN's attention and {simple} ahead" in short
    assert f"There it is {by_detail} points ahead of AG-MAN's attention" in short
    for data, r in (("photos", photos), ("garments", garments)):
        unseen = course.results(f"beyond-unseen-{data}")
        assert all(f"{row['MAP']:.1f}" in text for row in unseen["table"].values())
        assert unseen["fingerprint"] != r["fingerprint"]
        assert r["split"] == "test"
        assert course.results(f"beyond-ideas-{data}")["split"] == "valid"
        tried = course.results(f"beyond-rates-{data}")
        assert (tried["split"], tried["fingerprint"]) == ("valid", r["fingerprint"])
        rates = {arm: row["MAP"] for arm, row in tried["table"].items()}
        for name, used in (
            ("AG-MAN's attention", 0.001),
            ("ASENet_V2", 0.001),
            (best, 0.002 if data == "photos" else 0.001),
        ):
            top = max(found for arm, found in rates.items() if arm.startswith(f"{name}, rate"))
            assert top - rates[f"{name}, rate {used}"] <= (0 if name == best else 0.5)
    agman, regression = "AG-MAN's attention", "logistic regression"
    for data, arm, sentence in (
        (
            "garments",
            agman,
            "AG-MAN's attention is {} points ahead of the logistic regression; the",
        ),
        ("garments", "proxies on F3 and F2", "the proxies are {} ahead."),
        ("photos", best, "On photos the proxies are {} ahead of the regression"),
        ("photos", agman, "and AG-MAN's attention is {} ahead of the regression"),
    ):
        unseen = course.results(f"beyond-unseen-{data}")
        assert sentence.format(seeds_apart(unseen, arm, regression)) in text
    ahead = gains("garments", "proxies on F3 and F2, second look", "AG-MAN's attention")
    assert f"it is {ahead[1:]} points ahead of AG-MAN's attention" in text
    searched = pd.read_csv(ROOT / "figures" / "scores" / "beyond-search.csv")
    assert f"{len(searched)} runs of a throw-away script" in text


def gains(data: str, arm: str, other: str) -> str:
    """Of one arm over another, in points of validation MAP."""
    table = course.results(f"beyond-ideas-{data}")["table"]
    return f"{table[arm]['MAP'] - table[other]['MAP']:+.1f}"


def test_the_sentences_about_each_idea():
    text = one_line(RESULTS)
    agman, f3, f32 = "AG-MAN's attention", "proxies on F3", "proxies on F3 and F2"
    f324, look, copies = "proxies on F3, F2 and F4", ", second look", ", distorted copies"
    photos, garments = (
        lambda arm, other, data=data: gains(data, arm, other) for data in ("photos", "garments")
    )
    both = [
        ("on the same F3: {} and {}.", (f3, agman), (f3, agman)),
        ("beside F3: {} and {} for proxies", (f32, f3), (f32, f3)),
        ("beside both: {} and {} for proxies", (f324, f32), (f324, f32)),
        ("as in RPF: {} and {} for proxies", (f324 + look, f324), (f32 + look, f32)),
        ("for proxies, {} and {} for triplets", (agman + look, agman), (agman + look, agman)),
        ("weights**: {} and {}.", (f324 + ", averaged", f324), (f32 + ", averaged", f32)),
    ]
    both += [
        (sentence, (arm, agman), (arm, agman))
        for sentence, arm in (
            ("in place of triplets: {} and {}.", "supervised contrast"),
            ("as published instead: {} and {}.", "triplets drawn as published"),
            ("as ASEN++ does: {} and {}.", "triplets, the negative's value first"),
        )
    ]
    both.append(("ASENet_V2's**: {} and {}.", (agman, "ASENet_V2"), (agman, "ASENet_V2")))
    for sentence, one, other in both:
        assert sentence.format(photos(*one), garments(*other)) in text, sentence
    for sentence in (
        f"{garments('triplets on F3 and F2', agman)} for triplets on garments",
        f"{photos('triplets on F3, F2 and F4', agman)} for triplets on photos",
        f"{garments(f32 + copies, f32)} for proxies and {garments(agman + copies, agman)} for trip",
        f"with copies another {garments(f32 + copies + look, f32 + look)}.",
    ):
        assert sentence in text, sentence
