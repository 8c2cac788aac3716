from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Labels, PreparedDataset
from agman_lib.data.pixels import Pixels, normalize
from agman_lib.evaluation import levels
from agman_lib.evaluation.embedding import each_batch
from agman_lib.evaluation.levels import level_maps, pooled_features
from agman_lib.explain.probes import fit_probe, probe_table
from agman_lib.networks.backbones import build_backbone


def planted(n: int, d: int, classes: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Features that hold the target along random directions, under noise, at odd scales."""
    rng = np.random.default_rng(1)
    target = rng.integers(classes, size=n)
    signal = np.eye(classes)[target] @ rng.normal(size=(classes, d))
    return (signal + noise * rng.normal(size=(n, d))) * rng.uniform(0.1, 9, d) + 3, target


def test_a_planted_signal_is_found_and_shuffled_labels_are_not():
    x, y = planted(400, 300, 4, 3.0)
    fit, new = slice(0, 300), slice(300, None)
    assert (fit_probe(x[fit], y[fit]).predict(x[new]) == y[new]).mean() > 0.9
    shuffled = np.random.default_rng(2).permutation(y)
    chance = (fit_probe(x[fit], shuffled[fit]).predict(x[new]) == shuffled[new]).mean()
    assert 0.1 < chance < 0.4


def test_a_feature_that_never_changes_does_no_harm_and_one_class_is_refused():
    x, y = planted(80, 6, 3, 0.3)
    x[:, 2] = 5.0
    assert (fit_probe(x, y).predict(x) == y).mean() > 0.9
    with pytest.raises(AgmanError, match="two classes"):
        fit_probe(x, np.zeros(80, int))


def test_level_maps_end_in_what_the_backbone_gives():
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", 3).eval()
    images = torch.randn(2, 3, 64, 96)
    maps = level_maps(backbone, images)
    f, x = backbone.stages(images)
    torch.testing.assert_close(maps["F"], f)
    logits = backbone.attribute_classifier(maps["layer4"].mean((2, 3)))
    torch.testing.assert_close(logits, backbone.classify(x))
    assert maps["layer1"].shape == (2, 64, 16, 24)
    assert maps["layer3+low"].shape == (2, 384, 4, 6)
    plain = level_maps(build_backbone("resnet18", 3, False, False), images)
    assert list(plain) == ["stem", "layer1", "layer2", "layer3", "layer3+low"]


def test_pooled_features_are_means_over_cells(
    squares: PreparedDataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(levels, "each_batch", partial(each_batch, batch_size=2))
    torch.manual_seed(0)
    backbone, pixels = build_backbone("resnet18", 2), Pixels(squares, 64)
    images = np.array([3, 0, 7])
    grid = pooled_features(backbone, pixels, images, grid=4)
    assert backbone.training
    with torch.no_grad():
        maps = level_maps(backbone.eval(), normalize(pixels.take(images)))
    cell = maps["layer1"][:, :, 4:8, 12:16].mean((2, 3))
    np.testing.assert_allclose(grid["layer1"][:, :, 1, 3], cell, atol=1e-5)
    assert grid["layer4"].shape == (3, 512, 2, 2)
    whole = pooled_features(backbone, pixels, images)["F"]
    np.testing.assert_allclose(whole[:, :, 0, 0], maps["F"].mean((2, 3)), atol=1e-5)


def test_probe_table_scores_every_attribute_on_its_own_labels():
    rng = np.random.default_rng(0)
    images = np.arange(10, 130)
    value = rng.integers(3, size=(120, 2))
    known = np.eye(3)[value[:, 0]] + 0.1 * rng.normal(size=(120, 3))
    features = {"knows": known.reshape(120, 3, 1, 1), "blind": rng.normal(size=(120, 5))}
    every = Labels(np.tile(images, 2), np.repeat([0, 1], 120), value.T.ravel())
    train, test = every.where(every.image < 90), every.where(every.image >= 90)
    table = probe_table(features, images, train, test, ["first", "second"])
    assert table.loc["first", "knows"] == 100
    assert table.loc["second", "knows"] < 60
    assert table["blind"].max() < 60
    share = np.bincount(value[80:, 0]).max() / 40
    assert table.loc["first", "majority"] == pytest.approx(100 * share)
    fewer = probe_table(features, images, train, test, ["first", "second"], n_train=12)
    again = probe_table(features, images, train, test, ["first", "second"], n_train=12)
    assert fewer.equals(again)
    assert not fewer.equals(table)
