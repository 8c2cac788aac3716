from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from agman_lib import course
from agman_lib.base.errors import AgmanError
from agman_lib.cli.commands import main
from agman_lib.networks.build import build_model
from agman_lib.networks.model import without_class_branch
from agman_lib.networks.weights import load_model
from agman_lib.training.config import TrainConfig, preset
from agman_lib.training.loop import train
from data_prep.garments import ATTRIBUTES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AGMAN_WORK", str(tmp_path / "work"))
    monkeypatch.delenv("AGMAN_PROFILE", raising=False)
    return tmp_path / "work"


def test_profiles(folder, monkeypatch):
    assert course.sized(1, 2) == 1
    monkeypatch.setenv("AGMAN_PROFILE", "full")
    assert course.sized(1, 2) == 2
    monkeypatch.setenv("AGMAN_PROFILE", "ful")
    with pytest.raises(AgmanError, match=r"AGMAN_PROFILE.*did you mean 'full'"):
        course.profile()


def test_garments_are_drawn_once(folder):
    dataset = course.garments(14, 1, 2, seed=3, size=64)
    assert dataset.folder.parent == folder
    assert dataset.images["split"].eq("train").sum() == 14
    stamp = dataset.paths[0].stat().st_mtime_ns
    again = course.garments(14, 1, 2, seed=3, size=64)
    assert again.paths[0].stat().st_mtime_ns == stamp
    assert course.pictures(dataset, [0, 5])[1].shape == (64, 64, 3)


def test_the_shipped_model_is_what_its_config_says(folder):
    model, about = course.start_model()
    assert [a["name"] for a in about["attributes"]] == list(ATTRIBUTES)
    assert [tuple(a["values"]) for a in about["attributes"]] == list(ATTRIBUTES.values())
    trained_by = TrainConfig(**about["trained_by"]).changed(threads=1)
    scratch = preset("quick").changed(backbone="resnet18", weights="none", threads=1)
    assert trained_by.result_options == scratch.result_options
    assert course.start_weights().stat().st_size < 16e6
    # It has learned: same-valued test garments of a new drawing are nearer than others.
    dataset = course.garments(7, 6, 20, seed=77)
    from agman_lib.data.pixels import Pixels
    from agman_lib.evaluation.report import evaluate_model

    pixels = Pixels(dataset, about["image_size"], about["fit"])
    table = evaluate_model(model, dataset, "test", pixels)
    assert table.loc["mean", "MAP"] > table.loc["mean", "random"] + 25


def test_without_the_class_branch_the_embeddings_are_the_same():
    model = build_model("agman", 3, "resnet18").eval()
    small = without_class_branch(model)
    assert not small.training
    assert small.parts == replace(model.parts, class_branch=False)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(small.embed_all(images), model.embed_all(images), rtol=0, atol=0)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (small, model)]
    assert sizes[0] < sizes[1] / 2


def test_export_rounds_to_half_and_says_how_it_was_trained(tiny, tmp_path, capsys):
    run = train(tiny)
    out = tmp_path / "small.safetensors"
    assert main(["export", str(run.folder), str(out)]) == 0
    assert "MB" in capsys.readouterr().out
    small, about = load_model(out)
    assert about["trained_by"]["epochs"] == tiny.epochs
    assert "data" not in about["trained_by"]
    assert TrainConfig(**about["trained_by"]).result_options == tiny.result_options
    full = run.model("best")
    for name, value in small.state_dict().items():
        assert value.dtype == full.state_dict()[name].dtype
        assert value.equal(full.state_dict()[name].half().to(value.dtype)), name
    assert main(["export", str(run.folder), str(tmp_path / "small.pth")]) == 2
    assert "must end in .safetensors" in capsys.readouterr().err


def test_results_and_figures_say_what_is_wrong(folder, capsys):
    with pytest.raises(AgmanError, match="unknown result 'comparisn'"):
        course.results("comparisn")
    with pytest.raises(AgmanError, match="MAP is nan"):
        course.key_number("MAP", np.nan, 1)
    course.key_number("MAP", 12.345, 2)
    assert capsys.readouterr().out == "key number: MAP = 12.35 (elsewhere within 2)\n"


def test_a_figure_is_shown_with_its_description(monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(display, "display", lambda data, raw: shown.append(data))
    course.show(Figure(figsize=(1, 1)), 'a "small" square')
    assert shown[0]["text/plain"] == 'a "small" square'
    shape = r'<img alt="a &quot;small&quot; square" src="data:image/png;base64,([^"]+)" style=.*>'
    image = base64.b64decode(re.fullmatch(shape, shown[0]["text/html"])[1])
    assert Image.open(io.BytesIO(image)).size == (90, 90)


def test_the_machine_is_described(folder):
    table = course.machine()
    assert table.loc["PyTorch"].item() == torch.__version__
    assert int(table.loc["CPU cores to use"].item()) >= 1
