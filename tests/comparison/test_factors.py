"""Effects of factors, arms from a file, and the baselines that train no network."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from agman_lib.base.errors import AgmanError
from agman_lib.comparison import study
from agman_lib.comparison.arms import Entry, arms_from_file, network_entries
from agman_lib.comparison.factors import factor_effects
from agman_lib.comparison.study import compare
from agman_lib.comparison.untrained import untrained_scores
from agman_lib.data.dataset import PreparedDataset
from agman_lib.evaluation.protocol import pairs_to_embed, per_query_scores
from agman_lib.evaluation.statistics import seed_interval


@pytest.fixture
def tiny(tiny, tmp_path):
    """On a copy of the data, where what the baselines keep in its cache goes."""
    return tiny.changed(data=str(shutil.copytree(tiny.data, tmp_path / "data")))


FACTORS = {"start": ("random", "ImageNet"), "attention": ("V2", "AG-MAN"), "branch": ("off", "on")}


def cells() -> dict[str, dict[str, str]]:
    made = itertools.product(*FACTORS.values())
    return {" ".join(c): dict(zip(FACTORS, c, strict=True)) for c in made}


def test_effects_are_found_again_whatever_the_seeds_have_in_common():
    """Scores that are made of known effects, and of what each seed does to all cells alike."""
    levels, rng = cells(), np.random.default_rng(0)
    seed = rng.normal(0, 20, 3)
    start = np.array([10.0, 12.0, 11.0])  # by seed
    scores = {}
    for name, cell in levels.items():
        sign = {f: 1 if cell[f] == FACTORS[f][1] else -1 for f in FACTORS}
        scores[name] = (
            50 + seed + start / 2 * sign["start"] - 1.5 * sign["branch"]
            - 2.0 * sign["start"] * sign["branch"]
        )  # fmt: skip
    found = factor_effects(scores, levels)
    assert found.loc["start", "effect"] == pytest.approx(11)
    assert found.loc["start", "of seeds"] == pytest.approx(start.tolist())
    assert found.loc["start", "±"] == pytest.approx(seed_interval(start))
    assert found.loc["branch", "effect"] == pytest.approx(-3)
    assert found.loc["branch", "±"] == pytest.approx(0, abs=1e-9)
    # The branch costs 3 + 4 from ImageNet and gains 4 - 3 from random weights: half the difference.
    assert found.loc["start x branch", "effect"] == pytest.approx(-4)
    rest = set(found.index) - {"start", "branch", "start x branch"}
    assert rest == {
        "attention", "start x attention", "attention x branch", "start x attention x branch"
    }  # fmt: skip
    assert found.loc[sorted(rest), "effect"].abs().max() < 1e-9


def test_what_is_no_factorial_is_refused():
    levels = cells()
    scores = {name: [1.0, 2.0] for name in levels}
    missing = dict(list(levels.items())[1:])
    with pytest.raises(
        AgmanError, match="7 cells are not a factorial design of start, attention, branch"
    ):
        factor_effects(scores, missing)
    twice = levels | {"again": levels["random V2 off"]}
    with pytest.raises(AgmanError, match="9 cells are not a factorial design"):
        factor_effects(scores | {"again": [1.0, 2.0]}, twice)
    third = {name: cell | {"start": "other"} for name, cell in levels.items()}
    with pytest.raises(AgmanError, match="'start' has 1 levels, and needs two"):
        factor_effects(scores, third)


ARMS = """
steps_per_epoch = 2
[arms."ASENet_V2"]
model = "asen_v2"
factors = {branch = "off"}
[arms."with the branch"]
model = "asen_v2"
class_branch = true
lr = 0.01
factors = {branch = "on"}
[arms."frozen trunk"]
untrained = "pooled"
backbone = "efficientnet_lite0"
weights = "imagenet"
"""


def test_arms_from_a_file(tiny, tmp_path):
    file = tmp_path / "arms.toml"
    file.write_text(ARMS)
    assert arms_from_file(file, tiny) == [
        Entry("ASENet_V2", {"steps_per_epoch": 2, "model": "asen_v2"}, "", {"branch": "off"}),
        Entry(
            "with the branch",
            {"steps_per_epoch": 2, "model": "asen_v2", "class_branch": True, "lr": 0.01},
            "",
            {"branch": "on"},
        ),
        Entry(
            "frozen trunk",
            {"steps_per_epoch": 2, "backbone": "efficientnet_lite0", "weights": "imagenet"},
            "pooled",
            {},
        ),
    ]
    some = arms_from_file(file, tiny, ["frozen trunk", "ASENet_V2"])
    assert [entry.name for entry in some] == ["ASENet_V2", "frozen trunk"]
    with pytest.raises(AgmanError, match="unknown arm 'ASENet'; did you mean 'ASENet_V2'"):
        arms_from_file(file, tiny, ["ASENet"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[arms."a"]\nmodell = "agman"', "arm 'a': unknown option 'modell'; did you mean 'model'"),
        ('[arms."a"]\nmodel = "agmn"', "arm 'a': unknown value of option model 'agmn'"),
        ('[arms."a"]\nlr = -1.0', "arm 'a': option --lr must be above 0"),
        ('[arms."a"]\nuntrained = "pool"', "arm 'a': unknown baseline 'pool'"),
        ('[arms."a"]\nout = "x"', "unknown option 'out'"),
        ('model = "agman"', "lists no arms"),
        ("[arms", "not a readable file of arms"),
    ],
)
def test_wrong_arms_are_named(tiny, tmp_path, text, message):
    file = tmp_path / "arms.toml"
    file.write_text(text)
    with pytest.raises(AgmanError, match=message):
        arms_from_file(file, tiny)


@pytest.mark.slow
def test_a_factorial_with_a_baseline_goes_from_the_file_to_the_table(tiny, tmp_path, monkeypatch):
    file, out = tmp_path / "arms.toml", tmp_path / "compared"
    file.write_text(ARMS)
    config = tiny.changed(epochs=1)
    entries = arms_from_file(file, config)
    found = compare(config, entries, [0, 1], out)
    each = found.scores["with the branch"].mean(1) - found.scores["ASENet_V2"].mean(1)
    assert found.effects.loc["branch", "of seeds"] == pytest.approx(each.tolist())
    assert list(found.effects.index) == ["branch"]
    assert "| branch | " in (out / "comparison.md").read_text()
    assert json.loads((out / "comparison.json").read_text())["effects"]["branch"]
    assert np.isnan(found.table.loc["frozen trunk", "seeds ±"])  # it has no seeds
    assert found.table.loc["frozen trunk", "parameters"] == 0
    with np.load(out / "scores.npz") as kept:
        for name, scores in found.scores.items():
            np.testing.assert_allclose(kept[name], scores, rtol=1e-6)
        assert kept["attribute"].tolist() == found.attribute.tolist()
    monkeypatch.setattr(study, "untrained_scores", None)  # what is there is not computed again
    again = compare(config, entries, [0, 1], out)
    pd.testing.assert_frame_equal(again.table, found.table)


def test_the_baselines_read_the_frozen_levels(tiny):
    """The squares' side and colour can be read off an average by anything that is fitted."""
    config, squares = tiny.changed(image_size=64), PreparedDataset.load(tiny.data)
    attribute, pooled, cost = untrained_scores("pooled", config, squares, "test")
    fitted_attribute, fitted, report = untrained_scores("logistic", config, squares, "test")
    assert attribute.tolist() == fitted_attribute.tolist()
    assert fitted.mean() > pooled.mean() + 0.05
    assert cost["images_seen"] == 0
    assert report["images_seen"] == squares.images["split"].eq("train").sum()
    assert report["parameters"] == 5 * (128 + 256 + 512 + 1)
    pairs = pairs_to_embed(squares, "test")
    noise = np.random.default_rng(0).standard_normal((len(pairs[0]), 8))
    assert pooled.mean() > per_query_scores(squares, "test", noise)[1].mean() - 0.05


def test_the_softmax_network_is_a_line_like_any_other(tiny, tmp_path):
    config = tiny.changed(epochs=1, sampler="batch", values_per_attribute=2, images_per_value=2)
    found = compare(config, network_entries(["softmax", "csn"]), [0], tmp_path / "c")
    assert list(found.table.index) == ["softmax", "csn"]
    with pytest.raises(AgmanError, match="--model softmax needs --sampler batch"):
        compare(tiny, network_entries(["softmax"]), [0], tmp_path / "d")


@pytest.mark.parametrize("file", sorted((ROOT / "figures" / "arms").glob("*.toml")), ids=str)
def test_the_committed_arms_can_be_trained(tiny, file):
    entries = arms_from_file(file, tiny.changed(sampler="batch", values_per_attribute=2))
    assert len(entries) >= 6
    levels = {e.name: e.levels for e in entries if e.levels}
    if levels:
        assert len(factor_effects({name: [0.0, 1.0] for name in levels}, levels)) == 7
