from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ATTRIBUTES, make_squares
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.cli.commands import main
from agman_lib.comparison import study as module
from agman_lib.comparison.arms import ABLATION, Entry, ablation_entries, network_entries
from agman_lib.comparison.published_scores import PublishedScore, published_scores
from agman_lib.comparison.result import comparison_text
from agman_lib.comparison.study import compare
from agman_lib.evaluation.statistics import bootstrap_interval, seed_interval, sign_flip_p
from agman_lib.networks.model import NETWORKS, NO_PARTS, Parts
from agman_lib.training.run import evaluate_run, initial_model


@pytest.fixture
def quick(tiny):
    return tiny.changed(class_branch=None, epochs=1, steps_per_epoch=2)


@pytest.mark.slow
def test_networks_at_equal_budget(quick, tmp_path, monkeypatch, capsys):
    out = tmp_path / "comparison"
    entries = network_entries(["asen_v2", "agman", "csn"])
    found = compare(quick, entries, [0, 1], out)
    assert list(found.table.index) == ["asen_v2", "agman", "csn"]
    assert (found.table["images seen"] == 2 * 4 * 3).all()
    assert found.table["parameters"].nunique() == 3
    for name in ("asen_v2", "agman", "csn"):
        alone = [
            evaluate_run(out / "runs" / f"{name.replace('_', '-')}-seed{s}", baselines=False)
            for s in (0, 1)
        ]
        maps = [t.loc["mean", "MAP"] for t in alone]
        assert found.table.loc[name, "MAP"] == pytest.approx(np.mean(maps))
        assert found.table.loc[name, "seeds ±"] == pytest.approx(
            12.70620 * np.std(maps, ddof=1) / 2**0.5
        )
        for attribute in ATTRIBUTES:
            expected = np.mean([t.loc[attribute.name, "MAP"] for t in alone])
            assert found.by_attribute.loc[name, attribute.name] == pytest.approx(expected)
    difference = found.table.loc["agman", "MAP"] - found.table.loc["asen_v2", "MAP"]
    assert found.table.loc["agman", "difference"] == pytest.approx(difference)
    assert found.table.loc["asen_v2", "difference"] == 0
    ours, theirs = (found.scores[n].mean(1) for n in ("agman", "asen_v2"))
    assert found.table.loc["agman", "diff seeds ±"] == pytest.approx(
        12.70620 * np.std(ours - theirs, ddof=1) / 2**0.5
    )
    assert np.isnan(found.table.loc["asen_v2", "p"])
    written = pd.read_csv(out / "comparison.csv", index_col="network")
    assert written.loc["agman", "MAP"] == pytest.approx(found.table.loc["agman", "MAP"])
    assert set(written["source"]) == {"measured"}
    text = (out / "comparison.md").read_text()
    assert "No published rows: nothing is published on squares." in text
    assert f"| agman | {found.table.loc['agman', 'MAP']:.1f} ±" in text
    assert text.splitlines()[2].startswith("| random ranking (expected) | ")
    assert found.random["mean"] == pytest.approx(alone[0].loc["mean", "random"])
    with Image.open(out / "comparison.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    kept = json.loads((out / "comparison.json").read_text())
    of_seeds = kept["MAP of each seed"]["csn"]
    assert np.mean(of_seeds) == pytest.approx(found.table.loc["csn", "MAP"])
    again = pd.DataFrame(kept["table"]).T.astype(float)
    pd.testing.assert_frame_equal(again, found.table.astype(float))
    pd.testing.assert_frame_equal(pd.DataFrame(kept["by attribute"]).T, found.by_attribute)
    assert kept["table"]["asen_v2"]["p"] is None

    # What is there is not trained again; what is new is.
    trained = []
    real = module.train
    monkeypatch.setattr(
        module, "train", lambda c, resume: trained.append(not _done(c)) or real(c, resume)
    )
    stamp = (out / "runs" / "csn-seed0" / "report.json").stat().st_mtime_ns
    again = compare(quick, [*entries, Entry("triplet", {"model": "triplet"})], [0, 1], out)
    assert trained.count(True) == 2
    assert (out / "runs" / "csn-seed0" / "report.json").stat().st_mtime_ns == stamp
    pd.testing.assert_frame_equal(again.table.iloc[:3], found.table)
    with pytest.raises(AgmanError, match=r"was started with --lr 0\.001, not 0\.5"):
        compare(quick.changed(lr=0.5), entries, [0], out)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_comparison_is_of_one_data_set(quick, tmp_path, capsys):
    """Scores are kept in the folder, so another data set there would be given the first one's."""
    out, other = tmp_path / "c", make_squares(tmp_path / "other", n_train=54)
    entries = network_entries(["triplet"])
    before = compare(quick, entries, [0], out).table
    files = everything_in(out)
    with pytest.raises(
        AgmanError, match=r"triplet-seed0: was started on squares .* choose another"
    ):
        compare(quick.changed(data=str(other)), entries, [0], out)
    # Nor may another network start beside it: nothing at all is written.
    with pytest.raises(AgmanError, match="was started on squares"):
        compare(quick.changed(data=str(other)), network_entries(["csn"]), [0], out)
    assert everything_in(out) == files

    # The same tables in another folder are the same data.
    moved = shutil.copytree(quick.data, tmp_path / "moved")
    pd.testing.assert_frame_equal(
        compare(quick.changed(data=str(moved)), entries, [0], out).table, before
    )


def test_kept_scores_that_are_cut_short_or_of_other_tables_are_computed_again(quick, tmp_path):
    out, entries = tmp_path / "c", network_entries(["triplet"])
    before = compare(quick, entries, [0], out).table
    file = out / "runs" / "triplet-seed0" / "scores-test.npz"
    whole = file.read_bytes()
    with np.load(file) as kept:
        stale = {**kept, "fingerprint": "of another data set", "values": kept["values"] * 0}
    for spoil in (
        lambda: file.write_bytes(whole[: len(whole) // 2]),
        lambda: file.write_bytes(b""),
        lambda: np.savez(file, **stale),
    ):
        spoil()
        pd.testing.assert_frame_equal(compare(quick, entries, [0], out).table, before)
        assert file.read_bytes() == whole


def test_runs_are_scored_on_the_accelerator_that_trains_them(quick, tmp_path, monkeypatch):
    asked, used = [], []

    def no_photos_there(model, *_, **__):
        used.append(next(model.parameters()).device.type)
        raise KeyboardInterrupt

    def elsewhere(device="auto", precision="no"):
        asked.append(device)
        return SimpleNamespace(device=torch.device("meta"))

    monkeypatch.setattr(module, "make_accelerator", elsewhere)
    monkeypatch.setattr(module, "embed", no_photos_there)
    with pytest.raises(KeyboardInterrupt):
        compare(quick, network_entries(["triplet"]), [0], tmp_path / "c")
    assert (asked, used) == (["cpu"], ["meta"])


def _done(config) -> bool:
    return (Path(config.out) / "report.json").exists()


def test_the_ablation_leads_from_asen_v2_to_agman(quick, squares):
    entries = ablation_entries()
    assert len(entries) == 8
    models = [initial_model(quick.changed(**e.changes), squares) for e in entries]
    assert models[0].parts == NO_PARTS
    assert models[-1].parts == Parts()
    for one, other in itertools.pairwise(models):
        changed = [k for k, v in one.parts.__dict__.items() if other.parts.__dict__[k] != v]
        assert len(changed) == 1
        assert other.parts.__dict__[changed[0]] is True
    all_on = quick.changed(model="asen_v2", **{switch: True for switch, _ in ABLATION})
    ours, theirs = initial_model(all_on, squares).state_dict(), models[-1].state_dict()
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert value.equal(theirs[key]), key


def test_published_rows_only_where_they_belong(quick, squares, tmp_path):
    def as_if(name, published=("valid", "test")):
        return replace(squares, name=name, published_splits=published)

    rows, why = published_scores(as_if("fashionai"), "test", 3600)
    assert not why
    assert {r.method: r.score for r in rows}["AG-MAN"] == 62.8788
    assert {len(r.by_attribute) for r in rows} == {0, 8}
    assert {r.source for r in rows} <= {"paper", "derived", "abstract", "readme", "recalled"}
    assert published_scores(as_if("deepfashion"), "test", 5525)[0]
    assert published_scores(as_if("zappos50k"), "test", 160_000)[0]
    for dataset, split, n, reason in [
        (squares, "test", 3600, "nothing is published on squares"),
        (as_if("fashionai"), "valid", 3600, "of the test split, not of valid"),
        (as_if("fashionai", ("valid",)), "test", 3600, "not the published one"),
        (as_if("fashionai"), "test", 3599, "3,599 test queries were scored"),
    ]:
        rows, why = published_scores(dataset, split, n)
        assert len(rows) == 0
        assert reason in why


def test_published_rows_are_marked_in_what_is_written(quick, tmp_path, monkeypatch):
    rows = [
        PublishedScore("AG-MAN", 62.8788, "paper"),
        PublishedScore("ASEN", 61.02, "recalled", (64.44, 54.63)),
    ]
    monkeypatch.setattr(module, "published_scores", lambda *_: (rows, ""))
    out = tmp_path / "c"
    found = compare(quick, network_entries(["asen_v2"]), [0], out)
    lines = comparison_text(found, "asen_v2").splitlines()
    assert lines[-2].startswith("| AG-MAN (published, paper) | 62.88 |")
    assert lines[-1].startswith("| ASEN (published, recalled) | 61.02 |")
    assert lines[-1].endswith("| 64.4 | 54.6 |")
    written = pd.read_csv(out / "comparison.csv", index_col="network")
    assert list(written["source"]) == ["measured", "paper", "recalled"]
    assert written.loc["ASEN (published)", "side"] == 54.63
    assert np.isnan(written.loc["AG-MAN (published)", "side"])


def test_the_command(quick, squares_folder, tmp_path, capsys):
    options = ["--data", str(squares_folder), "--out", str(tmp_path / "c"), "--device", "cpu"]
    options += ["--backbone", "resnet18", "--image-size", "32", "--epochs", "1", "--threads", "1"]
    options += ["--steps-per-epoch", "1", "--batch-size", "4", "--seeds", "3"]
    assert main(["compare", *options, "--networks", "triplet", "asen_v2"]) == 0
    said = capsys.readouterr().out
    assert "| triplet |" in said
    assert "| difference to asen_v2 |" in said
    assert main(["compare", *options, "--networks", "triplet"]) == 2
    assert "unknown baseline 'asen_v2'" in capsys.readouterr().err
    with pytest.raises(AgmanError, match="unknown network 'asn'"):
        network_entries([*NETWORKS, "asn"])


def test_statistics():
    rng = np.random.default_rng(0)
    attribute = np.repeat([0, 1], [30, 90])
    nothing = rng.normal(0, 1, 120)
    something = nothing + 0.5
    assert sign_flip_p(nothing - nothing.mean()) > 0.9
    assert sign_flip_p(something) < 0.01
    # Under the null the p values are uniform.
    ps = np.array([sign_flip_p(rng.normal(0, 1, 40), 500, seed) for seed in range(300)])
    assert 0.02 < (ps < 0.05).mean() < 0.09
    low, high = bootstrap_interval(something, attribute)
    assert low < something.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * something.std() / 120**0.5, rel=0.15)
    assert seed_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.302653 / 3**0.5)
    assert np.isnan(seed_interval(np.array([1.0])))
