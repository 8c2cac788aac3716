"""A frozen trunk: its maps are kept, and the head that is trained on them is the network's own."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import torch

from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.embedding import embed
from agman_lib.evaluation.protocol import pairs_to_embed
from agman_lib.networks.backbones import build_backbone
from agman_lib.training.frozen_levels import FrozenLevels
from agman_lib.training.loop import train
from agman_lib.training.run import evaluate_run, initial_model


@pytest.fixture
def frozen(tiny, squares_folder, tmp_path):
    """A run of AG-MAN with a frozen trunk, on a copy of the data, where its cache goes."""
    data = shutil.copytree(squares_folder, tmp_path / "data")
    return tiny.changed(
        data=str(data), freeze_trunk=True, flip=False, sampler="batch", values_per_attribute=2,
        images_per_value=2, backbone="efficientnet_lite0", weights="imagenet", class_branch=True,
    )  # fmt: skip


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_packed_levels_are_the_levels(name, coarse):
    parts = {"class_branch": not coarse, "coarse_level": coarse}
    backbone, images = build_backbone(name, **parts).eval(), torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        levels = backbone.levels(images)
        assert len(levels) == 2 + coarse
        packed = backbone.pack(*levels)
        assert packed.shape[1] == sum(math.prod(s) for s in backbone.level_shapes(96))
        again = backbone.levels(backbone.normalize(packed))
        assert all(a.equal(b) for a, b in zip(again, levels, strict=True))
        assert backbone(packed).equal(backbone(images))


@pytest.mark.parametrize("coarse", [False, True])
def test_only_the_head_is_trained_and_what_is_kept_gives_the_same_ranking(frozen, coarse):
    if coarse:
        frozen = frozen.changed(coarse_level=True, class_branch=False)
    run = train(frozen)
    dataset = PreparedDataset.load(frozen.data)
    start, model = initial_model(frozen, dataset).state_dict(), run.model("last")
    backbone = model.backbone
    trunk = tuple(f"backbone.{s}." for s in backbone.trunk_stages)
    for name, value in model.state_dict().items():
        if name.startswith(trunk):
            assert value.equal(start[name]), name
        elif name.endswith("weight"):
            assert not value.equal(start[name]), name
    pixels = Pixels(dataset, 32)
    pairs = pairs_to_embed(dataset, "test")
    kept = embed(model, FrozenLevels(pixels, backbone), *pairs)
    live = embed(model, pixels, *pairs)
    assert ((kept * live).sum(1) > 0.9999).all()
    assert np.abs(kept @ kept.T - live @ live.T).max() < 1e-3
    table = evaluate_run(run.folder, split="valid", baselines=False)
    assert table.loc["mean", "MAP"] == pytest.approx(run.metrics["valid"]["mean"]["MAP"], abs=1)


def test_the_levels_belong_to_the_weights_and_the_photos(frozen):
    dataset = PreparedDataset.load(frozen.data)
    pixels = Pixels(dataset, 32)
    backbone = build_backbone("resnet18").train()
    norm = backbone.stem[1].running_mean.clone()
    taken = FrozenLevels(pixels, backbone).take(np.array([3, 1]))
    assert backbone.training
    assert backbone.stem[1].running_mean.equal(norm)
    with torch.no_grad():
        levels = backbone.eval().levels(backbone.normalize(pixels.take(np.array([3, 1]))))
        assert taken.equal(backbone.pack(*levels).half())
        backbone.layer3[0].conv1.weight += 0.1
    other = FrozenLevels(pixels, backbone).take(np.array([3, 1]))
    assert not other.equal(taken)


def test_mirrored_photos_have_maps_of_their_own(frozen):
    """Beside those of the photos as they are, whose cache stays when the other is made."""
    dataset = PreparedDataset.load(frozen.data)
    pixels, backbone = Pixels(dataset, 32), build_backbone("resnet18").eval()
    plain = FrozenLevels(pixels, backbone).take(np.array([3, 1, 0]))
    both = FrozenLevels(pixels, backbone, mirrored=True)
    taken = both.take(np.array([3, 1, 0]), np.array([True, False, True]))
    assert both.take(np.array([3, 1, 0])).equal(plain)
    assert taken[1].equal(plain[1])
    with torch.no_grad():
        images = pixels.take(np.array([3, 0])).flip(3)
        expected = backbone.pack(*backbone.levels(backbone.normalize(images))).half()
    assert taken[[0, 2]].equal(expected)
    assert not taken[0].equal(plain[0])
    assert len(list((dataset.folder / "cache").glob("*levels-*.npy"))) == 2


@pytest.mark.parametrize("flip", [False, True])
def test_distorted_copies_have_maps_of_their_own(frozen, flip):
    """Of the training photos alone; what is kept is what the network would see."""
    dataset = PreparedDataset.load(frozen.data)
    pixels, backbone = Pixels(dataset, 32), build_backbone("resnet18").eval()
    kept = FrozenLevels(pixels, backbone, mirrored=flip, distort=2)
    images = np.array([3, 1, 3, 3, 59])
    mirrored, copies = np.array([0, 1, 1, 0, 0]) * flip > 0, np.array([0, 0, 2, 1, 2])
    taken = kept.take(images, mirrored, copies)
    with torch.no_grad():
        photos = backbone.normalize(pixels.take(images, mirrored, copies))
        assert taken.equal(backbone.pack(*backbone.levels(photos)).half())
    assert len(taken.unique(dim=0)) == 5
    assert kept.take(images).equal(FrozenLevels(pixels, backbone).take(images))
    (file,) = (dataset.folder / "cache").glob("distorted-*.npy")
    assert len(np.load(file, mmap_mode="r")) == (len(dataset.images) + 2 * 60) * (1 + flip)
    with pytest.raises(AssertionError, match="made without"):
        kept.take(np.array([60]), np.array([False]), np.array([1]))  # a photo of validation


@pytest.mark.parametrize("more", [{"flip": True}, {"distort": 2}])
def test_a_frozen_trunk_is_trained_with_mirrored_photos_and_copies(frozen, more):
    straight, other = train(frozen), train(frozen.changed(out=f"{frozen.out}-2", **more))
    heads = [run.model("last").attribute_head.project.weight for run in (straight, other)]
    assert not heads[0].equal(heads[1])
    again = train(frozen.changed(out=f"{frozen.out}-3", **more))
    assert again.model("last").attribute_head.project.weight.equal(heads[1])
