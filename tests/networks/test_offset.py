"""A map is drawn and scored where the network looks: measured, stretched, drawn, localised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import lively_network
from PIL import Image

from agman_lib.data.pixels import Pixels
from agman_lib.explain import localisation_scores as localisation
from agman_lib.explain.overlays import overlay, upsample
from agman_lib.networks.backbones import BACKBONES, build_backbone
from agman_lib.networks.imagenet import imagenet_weights
from agman_lib.networks.multi_level_backbone import STRIDE

CELL = (2, 3)  # row and column of the one cell that is hot


def hot(height: int = 6, width: int = 6) -> np.ndarray:
    heat = np.zeros((height, width), np.float32)
    heat[CELL] = 1
    return heat


def looks_from(name: str, seed: int, size: int = 320, n: int = 4) -> np.ndarray:
    """Where n inner positions of F look, in pixels from `STRIDE` times their indices (n, 2).

    The centre of the squared gradient of a random mix of a position's channels by the pixels.
    """
    torch.manual_seed(seed)
    backbone = build_backbone(name, class_branch=False).eval().requires_grad_(False)
    if name == "efficientnet_lite0":  # whose weights lean to one side
        backbone.load_pretrained(imagenet_weights(name), name)
    images = torch.randn(n, 3, size, size, requires_grad=True)
    cells = torch.randint(8, size // STRIDE - 8, (n, 2))
    picture = torch.arange(n)
    F = backbone(images)[picture, :, cells[:, 0], cells[:, 1]]
    (F * torch.randn_like(F)).sum().backward()
    weight = images.grad.square().sum(1).double()
    weight /= weight.sum((1, 2), keepdim=True)
    at = torch.arange(size, dtype=torch.double)
    centres = torch.stack([weight.sum(2) @ at, weight.sum(1) @ at], 1)
    return (centres - STRIDE * cells).numpy()


LARGE = ("resnet34", "resnet50", "convnext_tiny")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in BACKBONES]
)
def test_the_gradient_by_the_pixels_is_centred_where_the_offset_says(name):
    measured = np.concatenate([looks_from(name, seed) for seed in range(2)])
    np.testing.assert_allclose(measured.mean(0), BACKBONES[name].offset, atol=2)


@pytest.mark.parametrize("offset", [0.0, 5.0, 7.5])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_cell_is_brightest_where_it_looks(offset, scale):
    large = upsample(hot(6, 8), scale * 96, scale * 128, offset)
    drawn = overlay(np.zeros((96, 128, 3), np.uint8), hot(6, 8), offset, 1.0, scale=scale)
    for picture in (large, drawn.astype(float).sum(2)):
        ys, xs = np.nonzero(picture == picture.max())
        middle = (np.array([ys.mean(), xs.mean()]) + 0.5) / scale - 0.5  # in the input's pixels
        np.testing.assert_allclose(middle, STRIDE * np.array(CELL) + offset, atol=0.5)


def test_stretching_is_the_usual_one_at_the_middle_of_16_pixels():
    heat = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    for height, width in ((80, 112), (200, 280)):
        usual = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(upsample(heat, height, width, 7.5), usual, atol=1e-5)
    pair = np.stack([heat, heat**2])
    at_once = upsample(pair, 80, 112, 0.0)
    for one, alone in zip(at_once, pair, strict=True):
        np.testing.assert_array_equal(one, upsample(alone, 80, 112, 0.0))
    np.testing.assert_array_equal(at_once[:, ::STRIDE, ::STRIDE], pair)  # each value at its pixel
    assert (upsample(np.full((5, 7), 0.3), 333, 99, 1.7) == np.float32(0.3)).all()


@pytest.mark.parametrize("offset", [0.0, 7.5])
def test_localisation_scores_a_map_where_the_network_looks(squares, monkeypatch, offset):
    model, size = lively_network("agman", 2), 96
    model.backbone.offset = offset
    right, elsewhere = (STRIDE * np.array(CELL) + o for o in (offset, 7.5 - offset))

    def found(middle: np.ndarray) -> pd.DataFrame:
        """What a map of one hot cell scores against 6 x 6 pixels about a place, row and column."""
        y, x = (middle + 0.5) * 40 / size  # the files have 40 pixels
        half = 3 * 40 / size
        boxes = squares.labels[["image", "attribute"]].assign(
            x0=x - half, y0=y - half, x1=x + half, y1=y + half
        )
        dataset = replace(squares, regions=boxes)
        return localisation.localise(model, dataset, Pixels(dataset, size))

    monkeypatch.setattr(
        localisation,
        "_all_maps",
        lambda model, images, others: {"hot": np.tile(hot(), (len(images), 2, 1, 1))},
    )
    at, beside = found(right), found(elsewhere)
    assert len(at) > 0
    assert (at["pointing"] == 1).all()
    assert (beside["pointing"] == 0).all()
    assert (at["energy"] > 2 * beside["energy"]).all()
