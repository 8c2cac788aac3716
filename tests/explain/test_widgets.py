"""The explorers without a browser: what they show, how fast, and that nothing piles up."""

from __future__ import annotations

import gc
import io
import threading
import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from conftest import GARMENT_SIZE as SIZE
from conftest import OFFSET, hooks_and_gradients
from conftest import lively_network as network
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.explain.explainer import Explainer
from agman_lib.explain.maps import MAPS
from agman_lib.explain.overlays import overlay
from agman_lib.networks.build import build_model
from agman_lib.search.gallery import Gallery

pytest.importorskip("ipywidgets")

from agman_lib.explain.widgets import controls as widget_parts
from agman_lib.explain.widgets.attention_explorer import KEPT, AttentionExplorer
from agman_lib.explain.widgets.attribute_panel import WORKING
from agman_lib.explain.widgets.controls import uploaded
from agman_lib.explain.widgets.pictures import jpeg, png
from agman_lib.explain.widgets.retrieval_explorer import RetrievalExplorer


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)))


def drawn(seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3))
    return Image.fromarray(noise.astype(np.uint8))


def files_8(name: str, content: bytes) -> tuple:
    """What ipywidgets 8 puts into FileUpload.value."""
    modified = datetime(2026, 1, 1, tzinfo=UTC)
    return ({"name": name, "type": "image/png", "size": len(content),
             "content": memoryview(content), "last_modified": modified},)  # fmt: skip


def files_7(name: str, content: bytes) -> dict:
    """What ipywidgets 7 puts there."""
    return {name: {"metadata": {"name": name, "size": len(content)}, "content": content}}


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


def figure_pictures(explorer) -> list[np.ndarray]:
    return [a.images[0].get_array() for a in explorer.figure().axes if a.images]


# --------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("name", ["attention", "gate", "product", "grad_cam"])
def test_the_picture_on_screen_is_the_maps_overlay_and_the_figures(
    explorer, garments_gallery, garments_set, name
):
    panel = explorer.panels[0]
    explorer.map.value, explorer.opacity.value, panel.attribute.value = name, 0.4, "closure"
    explorer.wait()
    fresh = Explainer(garments_gallery, garments_set)
    photo = fresh.open(explorer.chooser.images[0])
    if name == "grad_cam":
        heat = fresh.grad_cam(photo, "closure", panel.found["image"].iloc[0])
    else:
        heat = fresh.explain(photo, "closure").maps[name]
    scale = explorer.scale(photo.picture)
    assert scale > 1
    expected = overlay(photo.picture, heat, OFFSET, 0.4, fresh.boxes(photo, "closure"), scale)
    assert np.array_equal(pixels(panel.picture.value), expected)
    assert np.array_equal(figure_pictures(explorer)[1], expected)
    found = fresh.search(photo, "closure", 3)
    assert panel.strip.images == list(found["image"])
    assert f"{found['score'].iloc[0]:.2f}" in panel.strip.captions[0]


def test_each_control_changes_the_picture_and_back(explorer, garments_set):
    image = garments_set.regions.query("attribute == 'lapel'")["image"].iloc[0]
    panel = explorer.panels[0]
    explorer.look_at(image)
    panel.attribute.value = "lapel"
    start = panel.picture.value
    for control, other in (
        (panel.attribute, "pattern"), (explorer.map, "gate"), (explorer.opacity, 0.1),
        (explorer.regions, False),
    ):  # fmt: skip
        before = control.value
        control.value = other
        assert panel.picture.value != start, control.description
        control.value = before
        assert panel.picture.value == start, control.description
    bars = panel.channels.value
    panel.attribute.value = "pattern"
    assert panel.channels.value != bars
    assert "pattern" in panel.about.value


def test_a_click_on_a_thumbnail_and_on_a_found_photo(explorer):
    panel = explorer.panels[0]
    explorer.chooser.strip.choose(2)
    assert explorer.photo("agman").row == explorer.gallery.row(explorer.chooser.images[2])
    target = panel.strip.images[1]
    panel.strip.choose(1)
    assert explorer.photo("agman").row == explorer.gallery.row(target)
    explorer.chooser.forth.click()
    first = explorer.chooser.images[widget_parts.PAGE]
    assert explorer.chooser.strip.images[0] == first
    explorer.chooser.back.click()
    assert explorer.chooser.strip.images[0] == explorer.chooser.images[0]
    assert explorer.chooser.back.disabled


def test_two_side_by_side_have_an_attribute_and_a_network_each(garments_gallery, garments_set):
    plain = Gallery.build(network("triplet"), garments_gallery.about, garments_set)
    explorer = AttentionExplorer({"agman": garments_gallery, "triplet": plain}, garments_set, k=2)
    assert len(explorer.children[2].children) == 1
    explorer.compare.value = True
    left, right = explorer.children[2].children
    assert (left.network.value, right.network.value) == ("agman", "triplet")
    assert "has no spatial attention" in right.status.value
    assert right.bars.layout.display == "none"
    assert len(figure_pictures(explorer)) == (2 + 1 + 2) + (1 + 2)
    explorer.map.value = "grad_cam"
    explorer.wait()
    assert left.picture.value != right.picture.value
    right.network.value = "agman"
    explorer.wait()
    right.attribute.value = left.attribute.value
    explorer.wait()
    assert left.picture.value == right.picture.value
    explorer.close()
    other = {**garments_gallery.about, "attributes": garments_gallery.about["attributes"][::-1]}
    odd = Gallery(
        garments_gallery.model,
        other,
        garments_gallery.items,
        garments_gallery.embeddings,
        garments_gallery.root,
    )
    for explorer, images, message in (
        (AttentionExplorer, [], "at least one"), (RetrievalExplorer, ["nowhere"], "unknown image"),
    ):  # fmt: skip
        with pytest.raises(AgmanError, match=message):
            explorer(garments_gallery, images=images)
    with pytest.raises(AgmanError, match="different attributes"):
        AttentionExplorer({"a": garments_gallery, "b": odd})


@pytest.mark.parametrize("files", [files_7, files_8])
def test_uploads_in_both_forms_of_ipywidgets(explorer, files):
    chooser, picture = explorer.chooser, drawn()
    content = png(np.asarray(picture))
    assert uploaded(files("a.png", content)) == ("a.png", content)
    assert uploaded(type(files("a", b""))()) is None
    chooser._uploaded({"new": files("mine.png", content)})
    assert "mine.png" in chooser.message.value
    photo = explorer.photo("agman")
    assert photo.row is None
    assert np.array_equal(photo.picture, np.asarray(picture))
    shown = explorer.panels[0].picture.value
    assert "neighbours" in explorer.panels[0].about.value
    chooser._uploaded({"new": files("<b>broken</b>.png", content[:200])})
    assert "cannot be used" in chooser.message.value
    assert "&lt;b&gt;broken" in chooser.message.value
    assert explorer.panels[0].picture.value == shown  # the explorer goes on
    explorer.panels[0].attribute.value = "pattern"
    assert explorer.panels[0].picture.value != shown


def test_the_upload_widget_itself(explorer):
    content = png(np.asarray(drawn(1)))
    if not isinstance(explorer.chooser.upload.value, tuple):
        pytest.skip("ipywidgets 7: its FileUpload cannot be filled from Python")
    for _ in range(2):  # the same file again
        explorer.look_at(explorer.chooser.images[0])
        explorer.chooser.upload.value = files_8("one.png", content)
        assert explorer.photo("agman").row is None
        assert explorer.chooser.upload.value == ()


def test_names_of_files_are_text_and_not_markup(tmp_path, garments_gallery):
    drawn().save(tmp_path / "<i>x.png")
    drawn(1).save(tmp_path / "b.png")
    small = Gallery.build(garments_gallery.model, garments_gallery.about, tmp_path)
    explorer = AttentionExplorer(small, k=1, buttons=True)
    assert explorer.chooser.strip.captions[0] == "<i>x.png"
    assert explorer.chooser.strip.texts[0].value == "<small>&lt;i&gt;x.png</small>"
    assert explorer.regions.disabled  # no data set, no true regions
    assert "not known" in explorer.panels[0].about.value
    explorer.close()


def test_files_of_the_working_folder_are_not_taken_for_the_gallerys(
    tmp_path, garments_gallery, monkeypatch
):
    """The gallery's ids name its own photos, whatever files have these names where one works."""
    photos, here = tmp_path / "photos", tmp_path / "here"
    photos.mkdir()
    here.mkdir()
    for n in range(4):
        drawn(n).save(photos / f"{n}.png")
        drawn(90 + n).save(here / f"{n}.png")
    small = Gallery.build(garments_gallery.model, garments_gallery.about, photos)
    monkeypatch.chdir(here)
    attention, finder = AttentionExplorer(small, k=2), RetrievalExplorer(small, k=3)
    for made in (attention, finder):
        own = (np.asarray(drawn(n)) for n in range(4))
        assert [made.thumbnails(f"{n}.png") for n in range(4)] == [jpeg(p) for p in own]
    panel = attention.panels[0]
    assert np.array_equal(attention.photo("agman").picture, np.asarray(drawn(0)))
    attention.chooser.strip.choose(2)
    assert np.array_equal(attention.photo("agman").picture, np.asarray(drawn(2)))
    assert "2.png" not in panel.strip.images  # it is the query, so it is not found
    attention.map.value = "grad_cam"
    attention.wait()
    row = small.row_of(panel.found["image"][0])
    heat = Explainer(small).grad_cam(attention.photo("agman"), panel.attribute.value, row)
    assert np.array_equal(pixels(panel.picture.value), panel.overlaid(heat))
    finder.strip.choose(0)
    assert np.array_equal(finder.photo.picture, small.photo(finder.photo.row))
    found = [np.asarray(small.photo(small.row_of(image))) for image in finder.found["image"]]
    assert all(map(np.array_equal, figure_pictures(finder)[1:], found))
    finder.look_at("1.png")  # what a person writes is a file first
    assert np.array_equal(finder.photo.picture, np.asarray(drawn(91)))
    attention.close()


def test_one_lonely_photo_has_nothing_to_compare_with(tmp_path, garments_gallery):
    drawn().save(tmp_path / "a.png")
    explorer = AttentionExplorer(
        Gallery.build(garments_gallery.model, garments_gallery.about, tmp_path)
    )
    explorer.map.value = "grad_cam"
    assert "has no other" in explorer.panels[0].status.value
    assert len(figure_pictures(explorer)) >= 1
    explorer.close()


def test_a_photo_that_has_gone_is_said_and_the_rest_goes_on(tmp_path, garments_gallery):
    for n in range(3):
        drawn(n).save(tmp_path / f"{n}.png")
    small = Gallery.build(garments_gallery.model, garments_gallery.about, tmp_path)
    (tmp_path / "1.png").unlink()
    for made in (AttentionExplorer(small, k=2), RetrievalExplorer(small, k=2)):
        grey = made.thumbnails("1.png")
        assert grey != made.thumbnails("2.png")
        made.chooser.strip.choose(1)
        assert "1.png: no such file" in made.chooser.message.value
        made.chooser.strip.choose(2)
        assert made.chooser.message.value == ""
        strip = made.strip if hasattr(made, "strip") else made.panels[0].strip
        assert set(strip.images) == {"0.png", "1.png"}
        with pytest.raises(AgmanError, match="no such file"):
            made.look_at("1.png")
        with pytest.raises(AgmanError, match="no such file"):
            made.figure()
        made.close()


# --------------------------------------------------------------------------- Grad-CAM behind


def test_grad_cam_says_that_it_works_and_the_rest_goes_on(explorer, monkeypatch):
    panel, go = explorer.panels[0], threading.Event()
    real = Explainer.grad_cam

    def slow(self, *args):
        assert go.wait(20)
        return real(self, *args)

    monkeypatch.setattr(Explainer, "grad_cam", slow)
    explorer.map.value = "grad_cam"
    assert panel.status.value == WORKING
    plain = panel.picture.value
    explorer.map.value = "gate"  # while it works
    gate = panel.seen.maps["gate"]
    assert panel.status.value == f"spatial gate: from {gate.min():.3f} to {gate.max():.3f}"
    assert panel.picture.value != plain
    explorer.map.value = "grad_cam"
    panel.attribute.value = "pattern"
    assert panel.status.value == WORKING
    go.set()
    explorer.wait()
    assert panel.status.value.startswith("Grad-CAM of the similarity to")
    other = panel.found["image"].iloc[0]
    heat = real(panel.explainer, panel.photo, "pattern", other)
    assert np.array_equal(pixels(panel.picture.value), panel.overlaid(heat))
    wanted = [key[2] for key in explorer.cams]
    assert wanted[-1] == "pattern"


def test_a_failure_behind_is_shown_and_not_swallowed(explorer, monkeypatch):
    def broken(self, *args):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Explainer, "grad_cam", broken)
    explorer.map.value = "grad_cam"
    explorer.wait()
    assert explorer.panels[0].status.value == "Grad-CAM failed: out of memory"


def test_an_upload_that_is_in_the_gallery_is_not_compared_with_itself(explorer, garments_set):
    explorer.look_at(Image.open(garments_set.paths[3]))
    explorer.map.value = "grad_cam"
    explorer.wait()
    assert "to itself" in explorer.panels[0].status.value
    shown = [a.get_title() for a in explorer.figure().axes]
    assert "Grad-CAM" not in shown  # the figure shows no other map than the screen
    explorer.against.value = 2
    explorer.wait()
    assert "similarity to" in explorer.panels[0].status.value


# --------------------------------------------------------------------------- retrieval


def test_retrieval_follows_what_is_clicked_and_comes_back(garments_gallery, garments_set):
    finder = RetrievalExplorer(garments_gallery, k=4)
    finder.attribute.value = "closure"
    assert finder.strip.images == list(garments_gallery.search(0, "closure", 4)["image"])
    assert finder.back.disabled
    target = finder.strip.images[2]
    finder.strip.choose(2)
    assert np.array_equal(pixels(finder.query.value), Explainer(garments_gallery).picture(target))
    assert finder.strip.images == list(garments_gallery.search(target, "closure", 4)["image"])
    finder.back.click()
    assert finder.strip.images == list(garments_gallery.search(0, "closure", 4)["image"])
    finder.k.value = 9
    assert len(finder.strip.images) == 9
    assert len(finder.strip.shown) == len(finder.strip.captions) == 9
    assert len(figure_pictures(finder)) == 1 + 9
    value = finder.explainer.value(finder.photo, "closure")
    if value:
        assert value.replace("_", " ") in finder.about.value
    with pytest.raises(AgmanError, match="1 to 24"):
        RetrievalExplorer(garments_gallery, k=25)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"gallery": "a path"}, "gallery must be a Gallery, from Gallery.load.*; not str"),
        ({"gallery": torch.nn.Identity()}, "gallery must be a Gallery, .*; not Identity"),
        ({"gallery": None}, "gallery must be a Gallery, .*; not NoneType"),
        ({"images": 3}, r"images must be a list of image ids, such as .*; not int"),
        ({"images": "test_query_00000"}, "images must be a list of image ids, .*; not str"),
        ({"images": [3]}, "images must be a list of image ids, .*; not list of int"),
        ({"k": 2.5}, "k must be a whole number, .*, not 2.5"),
        ({"k": "3"}, "k must be a whole number, .*, not '3'"),
        ({"k": 0}, "k must be a whole number, .*, not 0"),
        ({"k": True}, "k must be a whole number, .*, not True"),
        ({"gallery": {}}, "no gallery is given|not dict"),
        ({"gallery": {"a": "a path"}}, "gallery must be a Gallery, .*; not (str|dict)"),
    ],
)
@pytest.mark.parametrize("explorer", [AttentionExplorer, RetrievalExplorer])
def test_an_argument_of_a_wrong_type_is_answered_in_a_line(
    explorer, arguments, said, garments_gallery
):
    gallery = arguments.get("gallery", garments_gallery)
    more = {name: value for name, value in arguments.items() if name != "gallery"}
    with pytest.raises(AgmanError, match=said) as caught:
        explorer(gallery, **more)
    assert "\n" not in str(caught.value)


def test_a_path_in_place_of_a_data_set_is_answered_in_a_line(garments_gallery):
    with pytest.raises(AgmanError, match=r"dataset must be a PreparedDataset, from .*; not str"):
        AttentionExplorer(garments_gallery, "a path")


def test_marks_are_right_where_both_values_are_known(garments_gallery, garments_set):
    finder = RetrievalExplorer(garments_gallery, k=24)
    marks = set()
    for attribute in garments_gallery.attribute_names:
        finder.attribute.value = attribute
        own = finder.explainer.value(finder.photo, attribute)
        for value, caption in zip(finder.found["value"], finder.strip.captions, strict=True):
            expected = "" if not own or not value else "✓" if own == value else "✗"
            assert caption.startswith(expected or tuple("0123456789-"))
            marks.add(expected)
    assert marks == {"", "✓", "✗"}


def test_every_control_has_words(explorer, garments_gallery, buttons):
    import ipywidgets as w

    controls = (w.Button, w.ToggleButtons, w.FloatSlider, w.IntSlider, w.Checkbox, w.Dropdown,
                w.FileUpload)  # fmt: skip

    def below(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from below(child)

    finder = RetrievalExplorer(garments_gallery, buttons=buttons)
    every = [x for made in (explorer, finder) for x in below(made)]
    found = [x for x in every if isinstance(x, controls)]
    assert len(found) > (40 if buttons else 12)
    assert all(x.description for x in found)
    rows = [x for x in every if hasattr(x, "cells") and not buttons]
    assert len(rows) == (0 if buttons else 3 + 2)
    assert all(row.label and all(c["label"] for c in row.cells) for row in rows)


# --------------------------------------------------------------------------- speed and memory


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Gallery:
    """ResNet-50 at 224 pixels, and a few photos."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(6):
        drawn(n).resize((224, 224)).save(folder / f"{n}.png")
    torch.manual_seed(0)
    model = build_model("agman", 8, "resnet50")
    attributes = [{"name": f"a{n}", "values": ["x", "y"]} for n in range(8)]
    about = {"attributes": attributes, "image_size": 224, "fit": "crop"}
    return Gallery.build(model, about, folder)


def test_a_switch_computes_no_trunk(large):
    """Of ResNet-50 at 224 pixels it takes most of a second, and no switch needs it again."""
    explorer = AttentionExplorer(large)
    panel, computed = explorer.panels[0], []
    hook = large.model.backbone.register_forward_hook(lambda *_: computed.append(1))
    for n in range(1, 9):
        before = panel.picture.value
        panel.attribute.value = f"a{n % 8}"
        assert panel.picture.value != before
        explorer.map.value = ("gate", "attention")[n % 2]
        explorer.opacity.value = 0.05 * n
    assert not computed
    explorer.look_at(explorer.chooser.images[1])
    assert len(computed) == 1
    hook.remove()
    explorer.close()


def test_switching_answers_while_grad_cam_of_resnet50_works(large):
    explorer = AttentionExplorer(large)
    panel = explorer.panels[0]
    explorer.map.value = "grad_cam"
    answered = 0
    while panel.status.value == WORKING and answered < 50:
        explorer.opacity.value = 0.3 + 0.01 * answered
        answered += 1
    assert answered > 1  # the explorer was not blocked
    explorer.wait()
    assert panel.status.value.startswith("Grad-CAM of the similarity")
    explorer.close()


@pytest.mark.slow
def test_memory_and_hooks_stay_flat_over_500_switches(explorer):
    panel, names = explorer.panels[0], explorer.gallery.attribute_names

    def switch(times: int) -> None:
        for n in range(times):
            explorer.map.value = list(MAPS)[n % 3]
            panel.attribute.value = names[n % len(names)]
            if n % 50 == 0:
                explorer.map.value = "grad_cam"
                explorer.wait()
            if n % 10 == 0:
                explorer.chooser.strip.choose(n // 10 % 3)

    switch(100)  # caches fill
    gc.collect()
    tracemalloc.start()
    hooks, tensors = hooks_and_gradients(explorer.gallery.model), count_tensors()
    before = tracemalloc.get_traced_memory()[0]
    switch(500)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert hooks_and_gradients(explorer.gallery.model) == hooks == 0
    assert count_tensors() - tensors < 100
    assert grown < 8e6, f"{grown / 1e6:.1f} MB"
    assert len(explorer.cams) <= KEPT


def count_tensors() -> int:
    return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())


def test_pictures_as_bytes():
    picture = np.asarray(drawn())
    assert np.array_equal(pixels(png(picture)), picture)
    assert jpeg(picture)[:2] == b"\xff\xd8"
