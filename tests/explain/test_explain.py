"""Attention as data, Grad-CAM against a gradient taken by hand, localisation against by hand."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import GARMENT_SIZE as SIZE
from conftest import OFFSET, hooks_and_gradients
from conftest import lively_network as network
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.cli.commands import main
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels, fit_boxes, fit_image
from agman_lib.evaluation.report import model_facts
from agman_lib.explain.cam import grad_cam
from agman_lib.explain.explainer import Explainer
from agman_lib.explain.figures import bars_of, explanation_row
from agman_lib.explain.localisation_scores import (
    MEASURES,
    by_attribute,
    centre_map,
    energy_inside,
    localisation,
    localise,
    over_seeds,
    reference_rows,
    region_mask,
)
from agman_lib.explain.maps import MAPS, explain
from agman_lib.explain.overlays import (
    DARKEST,
    TRUTH,
    channel_bars,
    explanation_grid,
    overlay,
    upsample,
)
from agman_lib.explain.widgets.attention_explorer import AttentionExplorer
from agman_lib.networks.build import build_model
from agman_lib.networks.model import NETWORKS
from agman_lib.search.gallery import Gallery


@pytest.fixture
def explainer(garments_gallery, garments_set) -> Explainer:
    return Explainer(garments_gallery, garments_set, keep=3)


# --------------------------------------------------------------------------- attention as data


@pytest.mark.parametrize("name", [*NETWORKS, "proxies"])
def test_what_is_explained_is_what_the_network_computes(name):
    model = network(name)
    images, c = torch.randn(1, 3, SIZE, SIZE), torch.tensor([3])
    with torch.no_grad():
        seen = explain(model, model.trunk(images), 3)
        np.testing.assert_allclose(seen.embedding, model(images, c)[0].numpy(), atol=1e-6)
        gated = name in ("agman", "proxies")
        expected = ["attention", "gate", "product"] if gated else ["attention"]
        assert list(seen.maps) == ([] if name in ("triplet", "csn") else expected)
        if "attention" in seen.maps:
            S = model.attention_maps(images, c)[0].numpy()
            np.testing.assert_allclose(seen.maps["attention"], S, atol=1e-7)
            width = 512 if name == "proxies" else model.embedding_size  # beside the probabilities
            assert seen.channel.shape == (width,)
    if name == "agman":
        np.testing.assert_array_equal(seen.maps["product"], seen.attention * seen.gate)
        assert ((seen.gate > 0) & (seen.gate < 1)).all()
    assert (seen.mask is not None) == (name in ("csn", "agman"))
    assert (bars_of(seen) is None) == (name == "triplet")


def test_map_names_are_those_that_the_network_has(garments_set):
    for name in [*NETWORKS, "proxies"]:
        model = network(name)
        garments_gallery = Gallery.build(
            model, model_facts(garments_set, SIZE, "crop"), garments_set.paths[:2]
        )
        explainer = Explainer(garments_gallery)
        maps = explainer.explain(explainer.open(0), "lapel").maps
        assert explainer.map_names == [*maps, "grad_cam"]
        assert set(explainer.map_names) <= set(MAPS)


# --------------------------------------------------------------------------- Grad-CAM


def by_hand(model, images, attributes, others) -> np.ndarray:
    """Grad-CAM with nothing but autograd: ReLU(sum_k mean(ds/dF_k) F_k), scaled to 0 … 1."""
    F = model.backbone(images).detach().requires_grad_()
    embedding = model.head(model.attribute_head.features(F), attributes)
    (gradient,) = torch.autograd.grad((embedding * others).sum(), F)
    maps = torch.relu((gradient.mean((2, 3), keepdim=True) * F).sum(1)).detach().numpy()
    low, high = (f(maps, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    return (maps - low) / np.maximum(high - low, 1e-30)


@pytest.mark.parametrize("name", [*NETWORKS, "proxies"])
def test_grad_cam_is_the_gradient_of_the_similarity_taken_by_hand(name):
    model = network(name)
    images, attributes = torch.randn(3, 3, SIZE, SIZE), torch.tensor([0, 3, 3])
    with torch.no_grad():
        others = model(torch.randn(3, 3, SIZE, SIZE), attributes)
    maps = grad_cam(model, images, attributes, others)
    expected = by_hand(model, images, attributes, others)
    assert maps.shape == (3, SIZE // 16, SIZE // 16)
    assert maps.min() >= 0
    assert maps.max() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(maps, expected, atol=2e-3)
    assert np.abs(maps - expected[::-1]).max() > 0.1  # another image's map would not do


def test_grad_cam_against_a_gradient_written_down_on_paper():
    """A triplet head with an identity layer: s = <mean F, o> / |mean F|, so ds/dF is known."""
    model = build_model("triplet", 1, "resnet18").eval()
    with torch.no_grad():
        model.attribute_head.embed.weight.copy_(torch.eye(256))
        model.attribute_head.embed.bias.zero_()
        images = torch.randn(1, 3, SIZE, SIZE)
        F = model.backbone(images)[0].double()
        other = torch.nn.functional.normalize(torch.rand(256, dtype=torch.double), dim=0)
        v = F.mean((1, 2))
        slope = (other - (v @ other) / v.norm() ** 2 * v) / v.norm()  # ds/dv; dv/dF = 1/hw
        expected = torch.relu((slope[:, None, None] * F).sum(0))
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    maps = grad_cam(model, images, torch.tensor([0]), other.float()[None])
    np.testing.assert_allclose(maps[0], expected.numpy(), atol=1e-3)


def test_grad_cam_leaves_nothing_on_the_network_and_works_where_gradients_are_off():
    model = network("agman").train()
    images, attributes = torch.randn(1, 3, SIZE, SIZE), torch.tensor([0])
    others = torch.nn.functional.normalize(torch.randn(1, 512), dim=1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for _ in range(3):
        grad_cam(model, images, attributes, others)
    assert hooks_and_gradients(model) == 0
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with pytest.raises(RuntimeError):
        grad_cam(model, images, torch.tensor([0, 0, 0]), torch.ones(1, 7))
    assert hooks_and_gradients(model) == 0
    with torch.no_grad():
        assert grad_cam(model, images, attributes, others).max() > 0


def test_a_photo_compared_with_itself_is_refused(explainer):
    photo = explainer.open(0)
    with pytest.raises(AgmanError, match="compare it with another photo"):
        explainer.grad_cam(photo, "lapel", 0)
    assert explainer.grad_cam(photo, "lapel", 1).max() == pytest.approx(1, abs=1e-4)


# --------------------------------------------------------------------------- photo after photo


def test_a_photo_goes_through_the_trunk_once(explainer, monkeypatch):
    passes = []
    trunk = type(explainer.model).trunk
    monkeypatch.setattr(
        type(explainer.model), "trunk", lambda self, x: passes.append(1) or trunk(self, x)
    )
    for attribute in explainer.gallery.attribute_names:
        photo = explainer.open(4)
        explainer.explain(photo, attribute)
        explainer.search(photo, attribute)
    assert len(passes) == 1
    for row in (5, 6, 7):  # three are kept
        explainer.open(row)
    explainer.open(4)
    assert len(passes) == 5


def test_an_upload_and_a_row_of_the_same_photo_agree(explainer, garments_set):
    row, own = explainer.open(3), explainer.open(garments_set.paths[3].read_bytes())
    assert (row.row, own.row) == (3, None)
    np.testing.assert_allclose(own.embeddings, explainer.gallery.embeddings[3], atol=1e-5)
    for a, b in zip(explainer.explain(row, "lapel").maps.values(),
                    explainer.explain(own, "lapel").maps.values(), strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert explainer.search(own, "lapel", 3)["image"].iloc[0] == row_name(explainer, 3)
    assert explainer.value(own, "lapel") == ""
    assert len(explainer.boxes(own, "lapel")) == 0


def row_name(explainer: Explainer, row: int) -> str:
    return explainer.gallery.items["image"][row]


@pytest.mark.parametrize(("below_one", "is_the_same"), [(5e-6, False), (2e-7, True)])
def test_what_grad_cam_takes_for_another_photo_is_what_is_drawn(
    garments_gallery, below_one, is_the_same
):
    """One closeness: a photo that Grad-CAM accepts is compared with, one that it refuses is not."""
    vectors, a = garments_gallery.embeddings.copy(), garments_gallery.attribute_index("lapel")
    first, random = vectors[0, a], np.random.default_rng(0).normal(size=vectors.shape[2])
    across = random - (random @ first) * first
    across /= np.linalg.norm(across)
    vectors[1, a] = (1 - below_one) * first + (2 * below_one) ** 0.5 * across
    explainer = Explainer(replace(garments_gallery, embeddings=vectors))
    photo = explainer.open(0)
    found = explainer.search(photo, "lapel", 2)["image"].tolist()
    assert found[0] == row_name(explainer, 1)
    if is_the_same:
        with pytest.raises(AgmanError, match="cannot tell"):
            explainer.grad_cam(photo, "lapel", 1)
    cam = explainer.grad_cam(photo, "lapel", explainer.gallery.row_of(found[is_the_same]))
    drawn, expected = (
        explanation_row(explainer, photo, "lapel", ["grad_cam"], k=2, cam=given).pictures
        for given in (None, cam)
    )
    assert np.array_equal(drawn["Grad-CAM"], expected["Grad-CAM"])


def test_values_and_boxes_go_by_the_file_and_not_by_its_name(garments_set, garments_gallery, tmp_path):  # noqa: E501  # fmt: skip
    region = garments_set.regions.iloc[0]
    path = garments_set.paths[garments_set.image_index(region["image"])]
    few = Gallery.build(garments_gallery.model, garments_gallery.about, garments_set.paths[:2])
    explainer = Explainer(few, garments_set)  # a photo of the data set that is not in the gallery
    photo = explainer.open(path)
    assert photo.row is None
    assert len(explainer.boxes(photo, region["attribute"])) > 0
    assert explainer.value(photo, region["attribute"]) != ""
    copied = Path(shutil.copytree(garments_set.folder, tmp_path / "copy"))
    other = Explainer(garments_gallery, PreparedDataset.load(copied))  # the same names elsewhere
    assert len(other.boxes(other.open(region["image"]), region["attribute"])) == 0
    with pytest.raises(AgmanError, match="none of the gallery's photos"):
        AttentionExplorer(garments_gallery, PreparedDataset.load(copied))
    with pytest.raises(AgmanError, match="different photos"):
        AttentionExplorer({"a": garments_gallery, "b": few})


def test_values_marks_and_boxes_are_those_of_the_data_set(explainer, garments_set):
    regions = garments_set.regions.iloc[0]
    photo = explainer.open(regions["image"])
    row = garments_set.image_index(regions["image"])
    expected = garments_set.boxes(row, garments_set.attribute_index(regions["attribute"]))
    np.testing.assert_array_equal(explainer.boxes(photo, regions["attribute"]), expected)
    labels = garments_set.labels[garments_set.labels["image"].eq(regions["image"])]
    for label in labels.itertuples():
        assert explainer.value(photo, label.attribute) == label.value
        assert explainer.right(photo, label.attribute, label.value) is True
        assert explainer.right(photo, label.attribute, f"{label.value} | x") is True
        assert explainer.right(photo, label.attribute, "x") is False
        assert explainer.right(photo, label.attribute, "") is None
    none = set(garments_set.attribute_names) - set(labels["attribute"])
    assert all(explainer.right(photo, name, "x") is None for name in none)


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("shape", [(40, 80), (80, 40), (48, 48)])
def test_boxes_are_where_the_fitted_picture_has_them(fit, shape):
    width, height = shape
    pixels = np.zeros((height, width, 3), np.uint8)
    box = np.array([[width // 2 - 8, height // 2 - 6, width // 2 + 8, height // 2 + 10]])
    x0, y0, x1, y1 = box[0]
    pixels[y0:y1, x0:x1] = 255
    fitted = fit_image(Image.fromarray(pixels), 96, fit)[0]
    if fit == "pad":  # the padding is white
        inside = fit_boxes(np.array([[0, 0, width, height]]), width, height, 96, fit)[0].round()
        a, b, c, d = inside.astype(int)
        fitted = np.where(region_mask(np.array([[a + 1, b + 1, c - 1, d - 1]]), 96), fitted, 0)
    ys, xs = np.nonzero(fitted > 127)
    found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    np.testing.assert_allclose(fit_boxes(box, width, height, 96, fit)[0], found, atol=1.5)


# --------------------------------------------------------------------------- pictures


def test_overlay_mixes_grey_and_heat_and_draws_boxes():
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    heat = np.zeros((2, 2))
    heat[0, 1] = 0.5
    assert np.array_equal(overlay(picture, None, 0), picture)
    grey = overlay(picture, heat, 0, 0.0)
    lightened = DARKEST + picture.mean(2) * (255 - DARKEST) / 255
    np.testing.assert_allclose(grey, np.stack([lightened] * 3, 2), atol=1)
    full = overlay(picture, heat, 0, 1.0, scale=3)
    assert full.shape == (24, 24, 3)
    assert full[0, -1].tolist() == [252, 255, 164]  # the map alone where it is largest
    np.testing.assert_allclose(full[-1, 0], lightened[-1, 0], atol=1)  # the picture where least
    half = overlay(picture, heat, 0, 0.5, scale=3)
    np.testing.assert_allclose(
        half[0, -1], 0.5 * lightened[0, -1] + 0.5 * full[0, -1].astype(float), atol=1
    )
    boxed = overlay(picture, None, 0, boxes=[[2, 3, 6, 7]], scale=2)
    blue = np.array([int(TRUTH[i : i + 2], 16) for i in (1, 3, 5)])
    marked = (boxed == blue).all(2)
    ys, xs = np.nonzero(marked)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (4, 11, 6, 13)
    assert not marked[9:11, 7:9].any()  # only the edge
    assert np.array_equal(picture, overlay(picture, None, 0))  # the picture itself is not touched


def test_a_flat_map_is_drawn_without_a_warning():
    picture = np.full((4, 4, 3), 100, np.uint8)
    flat = overlay(picture, np.full((2, 2), 0.25), 0, 1.0)
    np.testing.assert_array_equal(flat, overlay(picture, np.ones((2, 2)), 0, 0.0))


def test_a_dark_garment_stays_visible_under_a_map():
    """Its folds and its edge: greys of 0, 12 and 255 stay as far apart as an eye needs."""
    picture = np.repeat(np.uint8([0, 12, 255])[None, :, None], 3, 2).repeat(4, 0).repeat(4, 1)
    heat = np.zeros((1, 1))
    black, fold, white = overlay(picture, heat, 0)[0, [0, 4, 8], 0].astype(int)
    assert black >= 90
    assert fold - black >= 7
    assert white == 255


def test_channel_bars_are_as_high_as_the_means():
    values = np.concatenate([np.full(8, 0.25), np.full(8, 1.0)])
    bars = channel_bars(values, np.repeat([0.5, 0.0], 8), groups=2, height=64)
    blue = (bars[:, :, 2] == 176) & (bars[:, :, 0] == 76)
    assert blue[:, 4].sum() == 64 - 3  # full, but for the mark at its foot
    assert blue[:, 0].sum() == 16
    orange = (bars == (221, 132, 82)).all(2)
    assert np.flatnonzero(orange[:, 0]).tolist() == [32, 33, 34]  # at one half
    assert np.flatnonzero(orange[:, 4]).tolist() == [61, 62, 63]


def test_the_row_of_an_explanation_has_the_maps_and_the_found(explainer):
    photo = explainer.open(0)
    row = explanation_row(explainer, photo, "pattern", ["attention", "gate", "grad_cam"], k=3)
    found = explainer.search(photo, "pattern", 3)
    assert list(row.pictures)[1:] == ["spatial attention S", "spatial gate", "Grad-CAM"]
    seen = explainer.explain(photo, "pattern")
    expected = overlay(photo.picture, seen.maps["gate"], OFFSET)
    assert np.array_equal(row.pictures["spatial gate"], expected)
    cam = explainer.grad_cam(photo, "pattern", found["image"].iloc[0])
    assert np.array_equal(row.pictures["Grad-CAM"], overlay(photo.picture, cam, OFFSET))
    assert len(row.found) == len(row.right) == 3
    figure = explanation_grid([row], "title")
    shown = [a.images[0].get_array() for a in figure.axes if a.images]
    assert len(shown) == 4 + 1 + 3
    assert np.array_equal(shown[2], expected)


# --------------------------------------------------------------------------- localisation


def test_measures_by_hand():
    heat = np.array([[4.0, 1.0], [1.0, 2.0]])
    mask = np.array([[True, False], [False, False]])
    assert localisation(heat, mask) == {"pointing": 1, "energy": 0.5, "IoU": 0.5}
    assert localisation(heat, ~mask) == {"pointing": 0, "energy": 0.5, "IoU": 0.25}
    assert localisation(np.zeros((2, 2)), mask) == {"pointing": 0, "energy": 0, "IoU": 0}
    assert localisation(np.ones((2, 2)), mask) == {"pointing": 0.25, "energy": 0.25, "IoU": 0.25}
    assert energy_inside(heat, ~mask) == 0.5
    with pytest.raises(AgmanError, match="nothing to find"):
        localisation(heat, mask & False)
    with pytest.raises(AgmanError, match="negative"):
        localisation(-heat, mask)
    with pytest.raises(AgmanError, match="not a number"):
        localisation(heat * np.nan, mask)


def test_regions_are_half_open_and_join():
    mask = region_mask(np.array([[1, 0, 3, 2], [2, 1, 4, 2.4]]), 4)
    expected = [[0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert mask.astype(int).tolist() == expected
    centre = centre_map(9)
    assert centre.argmax() == 40
    np.testing.assert_allclose(centre, centre[::-1].T)


def test_localise_measures_each_map_of_each_query(garments_set, garments_gallery):
    model, pixels = garments_gallery.model, Pixels(garments_set, SIZE)
    table = localise(model, garments_set, pixels, batch_size=5)
    assert set(table["map"]) == {"attention", "gate", "product", "grad_cam"}
    queries = garments_set.images.query("split == 'test' and role == 'query'")["image"]
    regions = garments_set.regions[garments_set.regions["image"].isin(queries)]
    evaluated = garments_set.labels[garments_set.labels["evaluated"]]
    known = evaluated.merge(regions[["image", "attribute"]].drop_duplicates())
    assert len(table) == 4 * len(known)
    explainer = Explainer(garments_gallery, garments_set)
    line = table[table["map"].eq("product")].iloc[3]
    image = garments_set.images["image"].iloc[line["image"]]
    photo = explainer.open(image)
    mask = region_mask(explainer.boxes(photo, line["attribute"]), SIZE)
    maps = {
        name: upsample(explainer.explain(photo, name).maps["product"], SIZE, SIZE, OFFSET)
        for name in garments_set.attribute_names
    }
    own = maps.pop(line["attribute"])
    for measure, value in localisation(own, mask).items():
        assert line[measure] == pytest.approx(value, abs=1e-4)
    others = np.mean([energy_inside(heat, mask) for heat in maps.values()])
    assert line["energy, others"] == pytest.approx(others, abs=1e-4)


def test_references_and_the_table_over_seeds(garments_set, garments_gallery):
    pixels = Pixels(garments_set, SIZE)
    references = reference_rows(garments_set, pixels)
    uniform = references[references["map"].eq("uniform")]
    np.testing.assert_allclose(uniform["pointing"], uniform["energy"])
    np.testing.assert_allclose(uniform["IoU"], uniform["energy"])
    runs = [pd.DataFrame({"map": ["a", "a", "b"], "attribute": ["x", "y", "x"],
                          **{m: [0.1 * s, 0.3 * s, 0.5] for m in MEASURES}})
            for s in (1, 2, 3)]  # fmt: skip
    table = over_seeds(runs)
    assert table.loc["a", "energy"] == pytest.approx(40)
    assert table.loc["a", "energy ±"] == pytest.approx(4.302653 * 20 / 3**0.5)
    assert table.loc["b", "energy ±"] == pytest.approx(0, abs=1e-9)
    assert np.isnan(over_seeds(runs[:1]).loc["a", "energy ±"])
    lines = by_attribute(runs)
    assert lines.loc["a"].tolist() == pytest.approx([20, 60])


def test_a_data_set_without_regions_is_refused(squares):
    model = network("agman", 2)
    with pytest.raises(AgmanError, match="has a region in regions"):
        localise(model, squares, Pixels(squares, 32))


# --------------------------------------------------------------------------- agman explain


def png_sizes(folder) -> dict[str, tuple[int, int]]:
    sizes = {}
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            sizes[path.name] = picture.size
    return sizes


def test_explain_draws_a_picture_for_each_photo_and_names_what_is_broken(tmp_path, garments_set, capsys):  # noqa: E501  # fmt: skip
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for n, name in enumerate(["a.png", "b.png", "sub/a.png"]):
        (photos / name).write_bytes(garments_set.paths[n].read_bytes())
    (photos / "broken.jpg").write_bytes(garments_set.paths[0].read_bytes()[:500])
    words = ["explain", "garments", str(photos), "--out", str(tmp_path / "out"), "-k", "2"]
    assert main([*words, "--attributes", "lapel", "closure"]) == 0
    said = capsys.readouterr().out
    assert "broken.jpg: cannot be decoded" in said
    assert "3 pictures" in said
    assert "no Grad-CAM" not in said
    seconds = re.search(r"^about (\d+) s for 3 photos$", said, re.MULTILINE)
    assert 0 <= int(seconds[1]) < 100
    sizes = png_sizes(tmp_path / "out")
    assert list(sizes) == ["a.png", "b.png", "sub__a.png"]
    assert len(set(sizes.values())) == 1
    assert main([*words, "--attributes", "lapel"]) == 2  # the folder is there
    assert "already exists" in capsys.readouterr().err
    alone = ["explain", "garments", str(photos / "a.png"), "--attributes", "lapel", "closure"]
    assert main([*alone, "--out", str(tmp_path / "alone")]) == 0
    said = capsys.readouterr().out
    assert (
        said.count("a.png: no Grad-CAM, because it explains the similarity to another photo") == 1
    )
    assert "there is none; give a folder" in said
    assert "about" not in said  # it is through
    width, height = png_sizes(tmp_path / "alone")["a.png"]
    assert (width < sizes["a.png"][0], height) == (True, sizes["a.png"][1])  # none found


def test_explain_refuses_before_it_embeds_a_photo(tmp_path, garments_set, capsys, monkeypatch):
    monkeypatch.setattr(Gallery, "build", lambda *_: pytest.fail("embedded before it was refused"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    words = ["explain", "garments", str(garments_set.folder), "--out"]
    for out, more, message in (
        ("full", [], "already exists"),
        ("full/mine/out", [], "mine is not a folder"),
        ("new", ["--attributes", "lapels"], "did you mean 'lapel'"),
    ):
        assert main([*words, str(tmp_path / out), *more]) == 2
        assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "mine"]


def test_explain_searches_a_gallery(tmp_path, garments_gallery, garments_set, capsys):
    garments_gallery.save(tmp_path / "gallery")
    model, last = str(tmp_path / "gallery"), ["--attributes", "pattern"]
    image = garments_gallery.items["image"][2]
    assert main(["explain", model, image, "--out", str(tmp_path / "id"), *last]) == 0
    assert list(png_sizes(tmp_path / "id")) == [f"{image}.png"]
    prepared = ["explain", model, str(garments_set.folder), "--out", str(tmp_path / "set")]
    assert main([*prepared, "--most", "2", *last]) == 0
    n = len(garments_set.images)
    assert f"2 pictures (of {n}; --most draws more)" in capsys.readouterr().out
    marked = set(garments_set.regions["image"])  # those with a region come first
    assert {name.removesuffix(".png") for name in png_sizes(tmp_path / "set")} <= marked
    for words, message in (
        ([model, "nowhere.jpg"], "unknown image 'nowhere.jpg'"),
        ([model, image, "--attributes", "lapels"], "did you mean 'lapel'"),
        ([model, image, "-k", "0"], "at least 1"),
        (["nowhere", str(garments_set.folder)], "no such run folder"),
        (["garments", str(tmp_path / "nothing")], "no such folder"),
    ):
        assert main(["explain", *words, "--out", str(tmp_path / "new")]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "new").exists()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no")
    broken = ["explain", model, str(tmp_path / "broken.png"), "--out", str(tmp_path / "new")]
    assert main(broken) == 2
    said = capsys.readouterr()
    assert "left out: " in said.out
    assert "no usable photo" in said.err
    assert not (tmp_path / "new").exists()
