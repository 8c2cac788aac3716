"""The paper's three sets end to end: a miniature raw download, prepared, trained with the paper's
preset (at a size of seconds), evaluated, and the table read back."""

from __future__ import annotations

import json
from pathlib import Path

import deepfashion_miniature
import fashionai_miniature
import numpy as np
import pytest
import test_zappos50k as zappos_miniature
from PIL import Image

from agman_lib.cli.commands import main

SMALL = ["--weights", "none", "--backbone", "resnet18", "--image-size", "32", "--epochs", "1",
         "--steps-per-epoch", "2", "--batch-size", "4", "--threads", "1",
         "--device", "cpu"]  # fmt: skip


def add_photos(raw: Path) -> None:
    """Real little photos where the miniature has empty files."""
    rng = np.random.default_rng(0)
    for file in raw.rglob("*.jpg"):
        pixels = rng.integers(0, 256, (24, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(file)


def fashionai(base: Path) -> list[str]:
    fashionai_miniature.make_raw(base / "raw", n=60)
    return [str(base / "raw")]


def deepfashion(base: Path) -> list[str]:
    deepfashion_miniature.make_raw(base / "raw", *deepfashion_miniature.clean(90))
    return [str(base / "raw")]


def zappos50k(base: Path) -> list[str]:
    lists = zappos_miniature.make_lists(base / "lists")
    return [str(zappos_miniature.make_folder(base / "raw")), "--triplets", str(lists)]


@pytest.mark.slow
@pytest.mark.parametrize("make", [fashionai, deepfashion, zappos50k])
def test_from_the_raw_download_to_the_table(make, tmp_path, capsys):
    name = make.__name__
    source = make(tmp_path)
    add_photos(tmp_path / "raw")
    data, run = str(tmp_path / "data"), str(tmp_path / "run")
    assert main(["prepare", name, *source, "--out", data]) == 0
    preset = ["--preset", f"paper-{name}"]
    assert main(["train", *preset, *SMALL, "--data", data, "--out", run]) == 0
    config = json.loads((Path(run) / "config.json").read_text())
    assert config["passes"] == "separate"
    assert config["lr"] == 1e-4
    capsys.readouterr()
    assert main(["evaluate", run]) == 0
    said = capsys.readouterr().out
    table = json.loads((Path(run) / "evaluate-test.json").read_text())["metrics"]["table"]
    key = "accuracy" if name == "zappos50k" else "MAP"
    for row, values in table.items():
        assert f"| {row} " in said
        assert 0 <= values[key] <= 100
        assert 0 < values["random"] <= 100
    expected = {
        "fashionai": {"skirt_length", "neck_design"},
        "deepfashion": {"shape-related"},
        "zappos50k": {"class", "closure", "gender", "heel"},
    }
    assert expected[name] <= set(table) - {"mean"}
    if name == "deepfashion":  # the honest relevance finds at least as many right
        assert main(["evaluate", run, "--relevance", "all", "--no-baselines"]) == 0
        report = json.loads((Path(run) / "evaluate-test-all.json").read_text())["metrics"]
        assert report["table"]["mean"]["random"] > table["mean"]["random"]
