"""Rows of pictures: what a click does, without anywidget too; and what is seen at once."""

from __future__ import annotations

import io
import sys
import threading

import numpy as np
import pytest
from conftest import GARMENT_SIZE as SIZE
from conftest import OFFSET
from PIL import Image

from agman_lib.explain.explainer import Explainer
from agman_lib.explain.overlays import OPACITY, overlay

pytest.importorskip("ipywidgets")

from agman_lib.explain.widgets.attention_explorer import AttentionExplorer
from agman_lib.explain.widgets.attribute_panel import LOOKING
from agman_lib.explain.widgets.picture_buttons import PictureButtons
from agman_lib.explain.widgets.picture_row import picture_row
from agman_lib.explain.widgets.pictures import THUMBNAIL, jpeg
from agman_lib.explain.widgets.retrieval_explorer import RetrievalExplorer


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)))


def drawn(seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3))
    return Image.fromarray(noise.astype(np.uint8))


@pytest.fixture(params=[False, True], ids=["clickable pictures", "buttons beneath"])
def buttons(request) -> bool:
    if not request.param:
        pytest.importorskip("anywidget")
    return request.param


@pytest.fixture
def explorer(garments_gallery, garments_set, buttons):
    test = garments_set.images.query("split == 'test'")["image"]
    made = AttentionExplorer(garments_gallery, garments_set, list(test), k=3, buttons=buttons)
    yield made
    made.close()


# --------------------------------------------------------------------------- rows of pictures


def test_a_message_from_a_picture_chooses_it_and_is_answered(monkeypatch):
    pytest.importorskip("anywidget")
    chosen: list[str] = []
    row = picture_row("photo", chosen.append, label="photos")
    answers: list[dict] = []
    monkeypatch.setattr(row, "send", lambda content, *_: answers.append(content))
    row.show(["a", "b_1"], [b"first", b"second"], ["0.9 v_neck", "0.8 round"], [True, False])
    assert row.shown == [b"first", b"second"]
    assert row.captions == ["✓ 0.9 v neck", "✗ 0.8 round"]
    assert [c["label"] for c in row.cells] == [
        "photo 1: 0.9 v neck, right", "photo 2: 0.8 round, wrong",
    ]  # fmt: skip
    row._handle_custom_msg({"chosen": "b_1"}, [])  # as a click in the browser sends it
    assert chosen == ["b_1"]
    assert answers == [{"done": True}]


def test_without_anywidget_there_are_buttons(monkeypatch, garments_gallery, garments_set):
    """In its place is what Python finds where it is not installed: nothing."""
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "agman_lib.explain.widgets.clickable_pictures", raising=False)
    explorer = AttentionExplorer(garments_gallery, garments_set, k=2)
    finder = RetrievalExplorer(garments_gallery, k=2)
    panel = explorer.panels[0]
    for row in (explorer.chooser.strip, panel.maps, panel.strip, finder.chooser.strip,
                finder.strip):  # fmt: skip
        assert isinstance(row, PictureButtons)
    explorer.chooser.strip.buttons[2].click()
    assert explorer.photo("agman").row == explorer.gallery.row(explorer.chooser.images[2])
    button = panel.maps.buttons[garments_gallery.attribute_names.index("closure")]
    assert button.description == "closure"
    button.click()
    assert panel.attribute.value == "closure"
    assert [b.button_style for b in panel.maps.buttons].count("info") == 1
    assert button.button_style == "info"
    target = finder.strip.images[1]
    finder.strip.buttons[1].click()
    assert finder.photo.row == garments_gallery.row(target)
    finder.k.value = 1
    assert [c.layout.display for c in finder.strip.children] == [None, "none"]
    explorer.close()


# --------------------------------------------------------------------------- every attribute


@pytest.mark.parametrize("name", ["attention", "gate"])
def test_the_small_maps_are_those_of_every_attribute_and_one_opens(
    explorer, garments_gallery, garments_set, name
):
    panel, fresh = explorer.panels[0], Explainer(garments_gallery, garments_set)
    explorer.map.value = name
    for image in explorer.chooser.images[:2]:
        explorer.look_at(image)
        photo = fresh.open(image)
        assert panel.maps.images == garments_gallery.attribute_names
        for attribute, shown in zip(panel.maps.images, panel.maps.shown, strict=True):
            heat, boxes = fresh.explain(photo, attribute).maps[name], fresh.boxes(photo, attribute)
            assert shown == jpeg(overlay(photo.picture, heat, OFFSET, boxes=boxes, scale=2))
    explorer.regions.value = False
    plain = overlay(photo.picture, heat, OFFSET, scale=2)
    assert panel.maps.shown[-1] == jpeg(plain)
    assert len(pixels(panel.maps.shown[0])) >= THUMBNAIL
    n = panel.maps.images.index("closure")
    panel.maps.choose(n)
    assert panel.attribute.value == "closure"
    heat = fresh.explain(photo, "closure").maps[name]
    expected = overlay(photo.picture, heat, OFFSET, OPACITY, scale=explorer.scale(photo.picture))
    assert np.array_equal(pixels(panel.picture.value), expected)
    assert panel.strip.images == list(fresh.search(photo, "closure", 3)["image"])


def test_grad_cam_is_in_the_small_maps_of_the_attributes_that_were_opened(explorer):
    panel = explorer.panels[0]
    explorer.regions.value = False
    explorer.map.value = "grad_cam"
    panel.attribute.value = "closure"
    explorer.wait()
    photo, offset = panel.photo, panel.explainer.offset
    plain = jpeg(overlay(photo.picture, None, offset, scale=2))
    opened = {key[2]: heat for key, heat in explorer.cams.items()}
    assert "closure" in opened
    for attribute, shown in zip(panel.maps.images, panel.maps.shown, strict=True):
        heat = opened.get(attribute)
        assert shown == (
            plain if heat is None else jpeg(overlay(photo.picture, heat, offset, scale=2))
        )
    assert plain in panel.maps.shown


def test_the_chosen_photo_and_attribute_are_marked(explorer, buttons):
    panel, strip = explorer.panels[0], explorer.chooser.strip

    def marked(row) -> list[str]:
        if not buttons:
            return [image for image in row.images if image == row.selected]
        styled = zip(row.images, row.buttons, strict=False)
        return [image for image, button in styled if button.button_style == "info"]

    strip.choose(1)
    panel.maps.choose(2)
    assert marked(strip) == [strip.images[1]]
    assert marked(panel.maps) == [panel.maps.images[2]] == [panel.attribute.value]
    assert marked(panel.strip) == []
    explorer.look_at(explorer.chooser.images[0])
    assert marked(strip) == [strip.images[0]]
    explorer.look_at(drawn())
    assert marked(strip) == []  # a photo of one's own is none of these


def test_a_photo_is_seen_before_the_network_has_looked(explorer, monkeypatch):
    seen = []
    through = Explainer._through_trunk

    def slow(self, *given):
        panel = explorer.panels[0]
        seen.append((pixels(explorer.plain.value), pixels(panel.picture.value), panel.status.value))
        return through(self, *given)

    monkeypatch.setattr(Explainer, "_through_trunk", slow)
    picture = drawn(5)
    explorer.look_at(picture)
    (plain, large, said), picture = seen[0], np.asarray(picture)
    assert np.array_equal(plain, picture)
    scale = explorer.scale(picture)
    assert np.array_equal(large, picture.repeat(scale, 0).repeat(scale, 1))
    assert said == LOOKING
    assert explorer.panels[0].status.value != LOOKING


def test_a_query_is_seen_before_the_network_has_looked(garments_gallery, monkeypatch):
    finder, seen = RetrievalExplorer(garments_gallery, k=2), []
    through = Explainer._through_trunk

    def slow(self, *given):
        seen.append(pixels(finder.query.value))
        return through(self, *given)

    monkeypatch.setattr(Explainer, "_through_trunk", slow)
    finder.look_at(drawn(5))
    assert np.array_equal(seen[0], np.asarray(drawn(5)))


def test_a_map_of_the_photo_before_never_covers_the_next(explorer, monkeypatch):
    """It is ready while the next photo goes through the network."""
    panel, go = explorer.panels[0], threading.Event()
    cam, through = Explainer.grad_cam, Explainer._through_trunk

    def held(self, *given):
        assert go.wait(20)
        return cam(self, *given)

    def slow(self, *given):
        before = panel.picture.value
        go.set()
        explorer.wait()
        assert panel.picture.value == before
        return through(self, *given)

    explorer.map.value = "attention"
    monkeypatch.setattr(Explainer, "grad_cam", held)
    explorer.map.value = "grad_cam"
    monkeypatch.setattr(Explainer, "_through_trunk", slow)
    explorer.look_at(drawn(5))
    assert go.is_set()
