"""A gallery: searched as a loop would, saved and loaded exactly, and every trouble in words."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.cli.commands import main
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.embedding import embed
from agman_lib.evaluation.report import model_facts
from agman_lib.networks.build import build_model
from agman_lib.networks.model import RetrievalModel
from agman_lib.networks.weights import save_model
from agman_lib.search import files as gallery_files
from agman_lib.search.gallery import Gallery

FILES = ["embeddings.npy", "gallery.json", "items.csv", "model.safetensors"]


@pytest.fixture(scope="module")
def network(squares: PreparedDataset) -> tuple[RetrievalModel, dict[str, Any]]:
    """An untrained network that is made to listen to the attribute."""
    torch.manual_seed(3)
    model = build_model("agman", 2, "resnet18")
    with torch.no_grad():
        model.attribute_head.attribute_embedding.weight.mul_(5)
    return model.eval(), model_facts(squares, 32, "crop")


@pytest.fixture(scope="module")
def gallery(network, squares) -> Gallery:
    return Gallery.build(*network, squares, batch_size=16)


@pytest.fixture(scope="module")
def saved(gallery, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "gallery"
    gallery.save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy of the saved gallery that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "gallery"))


def naive(gallery: Gallery, row: int, attribute: int) -> dict[str, float]:
    """Cosine with every other image, one after the other, best first."""
    vectors = gallery.embeddings[:, attribute].astype(float)
    found = {}
    for other in range(len(gallery)):
        if other != row:
            a, b = vectors[row], vectors[other]
            found[gallery.items["image"][other]] = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def assert_ranked(table: pd.DataFrame, expected: dict[str, float]) -> None:
    """The best of the expected, in order; only images that score alike may change places."""
    scores = list(expected.values())[: len(table)]
    np.testing.assert_allclose(table["score"], scores, atol=2e-5)
    np.testing.assert_allclose(table["score"], [expected[i] for i in table["image"]], atol=2e-5)
    assert table["image"].is_unique


# --------------------------------------------------------------------------- embeddings, search


def test_embeddings_are_those_of_embed(gallery, network, squares):
    n = len(squares.images)
    assert len(gallery) == n
    assert gallery.attribute_names == ["colour", "side"]
    pixels = Pixels(squares, 32, "crop")
    for attribute in range(2):
        expected = embed(network[0], pixels, np.arange(n), np.full(n, attribute))
        np.testing.assert_allclose(gallery.embeddings[:, attribute], expected, atol=1e-5)
    assert np.array_equal(gallery.embedding("i5", "side"), gallery.embeddings[5, 1])
    assert gallery.embedding(5).shape == (2, 512)


@pytest.mark.parametrize("attribute", [0, 1])
def test_search_equals_a_naive_loop(gallery, attribute):
    for row in (0, 17, np.int64(99)):
        table = gallery.search(row, gallery.attribute_names[attribute], k=12)
        assert list(table.columns) == ["rank", "image", "path", "score", "value"]
        assert table["rank"].tolist() == list(range(1, 13))
        assert_ranked(table, naive(gallery, int(row), attribute))
        assert f"i{row}" not in set(table["image"])
    assert len(gallery.search(0, "side", k=10_000)) == len(gallery) - 1


def test_values_are_the_known_names(gallery, squares):
    labels = squares.labels.set_index("image")
    table = gallery.search("i0", "colour", k=len(gallery))
    for row in table.itertuples():
        label = labels.loc[row.image]
        assert row.value == (label["value"] if label["attribute"] == "colour" else "")
    assert set(table["value"]) == {"red", "green", "blue", ""}


def test_the_figure_shows_the_query_and_what_is_nearest(gallery, squares):
    cells = [a for a in gallery.figure("i7", k=3).axes if a.images]
    for attribute in gallery.attribute_names:
        table = gallery.search("i7", attribute, k=3)
        row, cells = cells[:4], cells[4:]
        for cell, image in zip(row, ["i7", *table["image"]], strict=True):
            photo = Image.open(squares.paths[squares.image_index(image)])
            assert np.array_equal(cell.images[0].get_array(), np.asarray(photo))
        said = [f"{r.score:.2f} {r.value}" for r in table.itertuples()]
        assert [c.get_title() for c in row] == ["query", *said]
    assert not cells


def test_equal_scores_keep_the_order_of_the_items(gallery):
    same = Gallery(**gallery.__dict__ | {"embeddings": np.ones_like(gallery.embeddings)})
    assert same.search(3, "side", 4)["image"].tolist() == ["i0", "i1", "i2", "i4"]


@pytest.mark.parametrize("kind", ["bytes", "image", "sideways"])
def test_a_photo_of_the_gallery_ranks_as_its_row(gallery, squares, kind, tmp_path):
    path = squares.paths[7]
    photo: Any = path.read_bytes()
    if kind == "image":
        photo = Image.open(path)
    elif kind == "sideways":  # as a phone stores it: turned, with a note to turn it back
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = Image.open(path).transpose(Image.Transpose.ROTATE_90)
        turned.save(tmp_path / "turned.png", exif=exif)
        photo = Image.open(tmp_path / "turned.png")
    for attribute in gallery.attribute_names:
        by_row = gallery.search(7, attribute, k=99)
        by_photo = gallery.search(photo, attribute, k=21)
        assert by_photo["image"][0] == "i7"
        assert by_photo["score"][0] == pytest.approx(1, abs=1e-5)
        assert_ranked(by_photo[1:], dict(zip(by_row["image"], by_row["score"], strict=True)))


def test_a_file_of_the_gallery_is_its_row_and_left_out(gallery, squares, tmp_path, monkeypatch):
    expected = gallery.search(7, "side")
    path = squares.paths[7]
    (tmp_path / "link").symlink_to(squares.image_root)
    (tmp_path / "another name.png").symlink_to(path)
    monkeypatch.chdir(squares.image_root)
    for same in (path, str(path), "7.png", "../images/7.png", tmp_path / "link" / "7.png",
                 tmp_path / "another name.png"):  # fmt: skip
        pd.testing.assert_frame_equal(gallery.search(same, "side"), expected)
        pd.testing.assert_frame_equal(gallery.guess(same, "side"), gallery.guess(7, "side"))
    copied = shutil.copy(path, tmp_path / "7.png")  # another file, though of the same name
    assert gallery.row(copied) is None
    assert gallery.search(copied, "side")["image"][0] == "i7"


def test_a_text_that_names_a_file_means_the_file(network, squares, tmp_path, monkeypatch):
    """The user's 0.png and the gallery's image 0.png are two photos."""
    photos, here = tmp_path / "photos", tmp_path / "here"
    for folder in (photos, here):
        folder.mkdir()
    for n in range(4):
        shutil.copy(squares.paths[n], photos / f"{n}.png")
        shutil.copy(squares.paths[-1 - n], here / f"{n}.png")
    gallery = Gallery.build(*network, photos)
    assert gallery.items["image"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert gallery.row("0.png") == 0  # no file here has this name
    monkeypatch.chdir(here)
    assert gallery.row("0.png") is None
    assert gallery.row_of("0.png") == 0
    expected = gallery.search((here / "0.png").read_bytes(), "side")
    assert len(expected) == 4  # none of the gallery's is left out
    pd.testing.assert_frame_equal(gallery.search("0.png", "side"), expected)
    assert gallery.photo("0.png").tobytes() == Image.open("0.png").tobytes()
    # What is found is shown from the gallery.
    shown = [a.images[0].get_array() for a in gallery.figure("0.png", "side", 4).axes]
    own = [gallery.photo(gallery.row_of(image)) for image in expected["image"]]
    for picture, image in zip(shown, [Image.open("0.png"), *own], strict=True):
        assert np.array_equal(picture, np.asarray(image))
    with pytest.raises(AgmanError, match=r"unknown image '9\.png'"):
        gallery.row_of("9.png")


def test_guess_counts_the_votes_of_the_nearest_known(gallery):
    known = gallery.search("i0", "colour", k=len(gallery)).query("value != ''")["value"][:9]
    table = gallery.guess("i0", "colour", k=9)
    assert table.set_index("value")["votes"].to_dict() == known.value_counts().to_dict()
    assert table["votes"].is_monotonic_decreasing
    assert table["share"].sum() == pytest.approx(1)


def test_guess_recovers_values_that_the_embeddings_show(gallery):
    embeddings = np.zeros_like(gallery.embeddings)
    place = {"red": 0, "green": 1, "blue": 2, "": 3}
    for row, value in enumerate(gallery.items["colour"]):
        embeddings[row, :, place[value]] = 1
    clear = Gallery(**gallery.__dict__ | {"embeddings": embeddings})
    for row in range(0, 12, 2):
        table = clear.guess(row, "colour", k=3)
        assert table.to_dict("records") == [
            {"value": gallery.items["colour"][row], "votes": 3.0, "share": 1.0}
        ]


def test_an_image_with_several_values_splits_its_vote(network, squares_folder, tmp_path):
    folder = Path(shutil.copytree(squares_folder, tmp_path / "squares"))
    with open(folder / "labels.csv", "a") as file:
        file.write("i0,colour,blue,0\n")
    gallery = Gallery.build(*network, PreparedDataset.load(folder))
    assert gallery.items["colour"][0] == "red | blue"
    items = gallery.items.assign(colour=["red | blue", *[""] * (len(gallery) - 1)])
    table = Gallery(**gallery.__dict__ | {"items": items}).guess(1, "colour")
    assert table["value"].tolist() == ["red", "blue"]
    assert table["share"].tolist() == [0.5, 0.5]


# --------------------------------------------------------------------------- photos


def test_a_folder_is_searched_recursively_and_broken_photos_are_named(network, squares, tmp_path):
    photos = tmp_path / "photos"
    (photos / "below" / "deeper").mkdir(parents=True)
    (photos / ".thumbnails").mkdir()
    for place, n in (("a b.png", 0), ("below/ü\u202f1.png", 1), ("below/deeper/c,d.PNG", 2),
                     (".thumbnails/e.png", 3)):  # fmt: skip
        shutil.copy(squares.paths[n], photos / place)
    (photos / "below" / "half.png").write_bytes(squares.paths[3].read_bytes()[:600])
    (photos / "notes.txt").write_text("no picture")
    gallery = Gallery.build(*network, photos, batch_size=2)
    ids = ["a b.png", "below/deeper/c,d.PNG", "below/ü\u202f1.png"]
    assert gallery.items["image"].tolist() == ids
    assert (gallery.items[["colour", "side"]] == "").all(axis=None)
    assert set(gallery.left_out) == {"below/half.png", "notes.txt"}
    assert "half.png: cannot be decoded" in gallery.left_out["below/half.png"]
    whole = Gallery.build(*network, squares)
    np.testing.assert_allclose(gallery.embeddings, whole.embeddings[[0, 2, 1]], atol=1e-5)
    gallery.save(tmp_path / "gallery")
    loaded = Gallery.load(tmp_path / "gallery")
    assert loaded.left_out == gallery.left_out
    for query in ("below/ü\u202f1.png", 2):
        assert loaded.search(query, "side")["image"].tolist() in (ids[:2], ids[1::-1])
    with pytest.raises(AgmanError, match=r"no .other. item .* known value of side"):
        gallery.guess("a b.png", "side")


def test_a_list_of_files(network, squares, tmp_path):
    other = tmp_path / "other.png"
    shutil.copy(squares.paths[4], other)
    gone = tmp_path / "gone.png"
    gallery = Gallery.build(*network, [squares.paths[2], str(other), other, gone])
    assert [gallery.root / p for p in gallery.items["path"]] == [squares.paths[2], other]
    assert [why for why in gallery.left_out.values()] == [
        f"{gone}: no such file; restore it or leave the image out"
    ]


@pytest.mark.skipif(os.name == "nt", reason="such names do not exist there")
def test_a_name_that_is_no_text_is_named(network, squares, tmp_path):
    try:
        shutil.copy(squares.paths[0], os.fsencode(tmp_path) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system refuses such names")
    shutil.copy(squares.paths[1], tmp_path / "b.png")
    gallery = Gallery.build(*network, tmp_path)
    assert gallery.items["image"].tolist() == ["b.png"]
    assert "rename the file" in gallery.left_out["'caf\\udce9.png'"]


def test_no_photo_that_can_be_used(network, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(AgmanError, match=r"no usable photo; .*a.jpg: not an image"):
        Gallery.build(*network, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AgmanError, match=r"no usable photo; .*no files"):
        Gallery.build(*network, tmp_path / "empty")
    with pytest.raises(AgmanError, match="no such folder"):
        Gallery.build(*network, tmp_path / "gone")
    with pytest.raises(AgmanError, match="the list of photos is empty"):
        Gallery.build(*network, [])


def test_a_network_that_does_not_say_what_it_saw(network, squares):
    model, about = network
    with pytest.raises(AgmanError, match="lacks attributes, image_size, fit"):
        Gallery.build(model, {"source": "published.pth"}, squares)
    with pytest.raises(AgmanError, match="names 1 attributes and the network has 2"):
        Gallery.build(model, about | {"attributes": about["attributes"][:1]}, squares)


# --------------------------------------------------------------------------- wrong questions


@pytest.mark.parametrize(
    ("query", "attribute", "k", "said"),
    [
        ("i0", "color", 5, "unknown attribute 'color'; did you mean 'colour'?"),
        ("i4444", "side", 5, r"unknown image 'i4444'; did you mean .* \(nor is there a file"),
        (100, "side", 5, "row 100: the gallery has the rows 0 to 99"),
        (-1, "side", 5, "row -1"),
        ("i0", "side", 0, "k must be at least 1"),
        (Path("gone.jpg"), "side", 5, "gone.jpg: no such file"),
        (b"no picture", "side", 5, "image bytes: not an image of a known format"),
    ],
)
def test_wrong_questions(gallery, query, attribute, k, said):
    for ask in (gallery.search, gallery.guess):
        with pytest.raises(AgmanError, match=said):
            ask(query, attribute, k)


# --------------------------------------------------------------------------- files


def test_saved_and_loaded_exactly(gallery, saved, squares, monkeypatch, tmp_path):
    assert sorted(p.name for p in saved.iterdir()) == FILES
    assert not [p for p in saved.parent.iterdir() if p != saved]
    monkeypatch.chdir(tmp_path)  # nothing depends on where one is
    loaded = Gallery.load(saved)
    assert np.array_equal(loaded.embeddings, gallery.embeddings)
    pd.testing.assert_frame_equal(loaded.items, gallery.items, check_dtype=False)
    assert loaded.about == gallery.about
    assert not loaded.model.parts.class_branch
    photo = squares.paths[11]
    assert np.array_equal(loaded.embedding(photo), gallery.embedding(photo))
    for query in (11, "i11", photo):
        expected = gallery.search(query, "colour")
        pd.testing.assert_frame_equal(loaded.search(query, "colour"), expected, check_dtype=False)
    assert loaded.photo("i11").size == (40, 40)
    assert loaded.figure("i11", k=3).get_axes()


def test_a_person_may_write_names_into_the_table(folder):
    table = pd.read_csv(folder / "items.csv", dtype=str, keep_default_na=False)
    table["side"] = ["NA" if n % 2 else "" for n in range(len(table))]
    table.to_csv(folder / "items.csv", index=False)
    assert Gallery.load(folder).guess(0, "side")["value"].tolist() == ["NA"]


@pytest.mark.parametrize("moment", ["save_model", "write_json"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_an_interrupted_save_leaves_nothing(gallery, tmp_path, monkeypatch, moment, stop):
    def broken_off(*_: object) -> None:
        raise stop

    monkeypatch.setattr(gallery_files, moment, broken_off)
    with pytest.raises(stop):
        gallery.save(tmp_path / "a" / "gallery")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_what_is_there_is_not_overwritten(gallery, saved, tmp_path):
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    with pytest.raises(AgmanError, match="already exists"):
        gallery.save(saved)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    (tmp_path / "empty").mkdir()
    gallery.save(tmp_path / "empty")
    assert sorted(p.name for p in (tmp_path / "empty").iterdir()) == FILES


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def replace(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("gallery.json", Path.unlink, "not a gallery"),
        ("gallery.json", cut, "gallery.json: not valid JSON"),
        ("gallery.json", lambda f: edit(f, format="other"), "not of a gallery of this version"),
        ("gallery.json", lambda f: edit(f, images="many"), "lacks a usable 'images'"),
        ("gallery.json", lambda f: edit(f, attributes=["a", "b"]), "belongs to another gallery"),
        ("items.csv", Path.unlink, "items.csv: missing"),
        ("items.csv", cut, "items.csv: has .* lines of images, not 100"),
        ("items.csv", lambda f: f.write_bytes(b"\xff\xfe\x00"), "items.csv"),
        ("items.csv", lambda f: replace(f, "image,path", "id,path"), "line 1: the columns must be"),
        ("embeddings.npy", Path.unlink, "embeddings.npy: missing or damaged"),
        ("embeddings.npy", cut, "embeddings.npy: missing or damaged"),
        ("embeddings.npy", lambda f: f.write_bytes(b""), "embeddings.npy: missing or damaged"),
        ("embeddings.npy", lambda f: np.save(f, np.zeros((2, 9, 512), np.float32)), "holds float"),
        ("embeddings.npy", lambda f: np.save(f, np.zeros((2, 100, 512))), "holds float64"),
        ("model.safetensors", Path.unlink, "model.safetensors: no such weights file"),
        ("model.safetensors", cut, "model.safetensors: not a whole safetensors file"),
    ],
)  # fmt: skip
def test_damaged_folders(folder, file, damage, said):
    damage(folder / file)
    with pytest.raises(AgmanError, match=said):
        Gallery.load(folder)


def test_foreign_folders(squares_folder, tmp_path):
    for foreign in (squares_folder, tmp_path, tmp_path / "gone"):
        with pytest.raises(AgmanError, match="not a gallery"):
            Gallery.load(foreign)


# --------------------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(file, *network)
    return file


def refused(capsys, *args: object) -> str:
    capsys.readouterr()
    assert main([str(a) for a in args]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert "\n" not in said
    return said


def test_index_and_search(weights, squares_folder, squares, gallery, tmp_path, capsys):
    out = tmp_path / "gallery"
    assert main(["index", str(weights), str(squares_folder), "--out", str(out)]) == 0
    assert "100 images under colour, side" in capsys.readouterr().out
    picture = tmp_path / "found.png"
    args = ["search", str(out), "i7", "colour", "-k", "3", "--figure", str(picture)]
    assert main(args) == 0
    said = capsys.readouterr().out
    for row in gallery.search("i7", "colour", 3).itertuples():
        line = next(x for x in said.splitlines() if x.split()[0] == str(row.rank))
        assert line.split()[1:4] == [row.image, row.path, f"{row.score:.3f}"]
    assert "a vote, not a certainty" in said
    gallery.figure("i7", "colour", 3).savefig(tmp_path / "same.png", dpi=100)
    with Image.open(picture) as found, Image.open(tmp_path / "same.png") as same:
        assert found.tobytes() == same.tobytes()
    # The same photo by its file: it is left out of what is found, and of the vote.
    assert main(["search", str(out), "i7", "side", "--k", "9"]) == 0
    said = capsys.readouterr().out
    assert main(["search", str(out), str(squares.paths[7]), "side", "--k", "9"]) == 0
    assert capsys.readouterr().out == said
    assert " i7 " not in said


def test_index_of_a_folder_names_what_is_left_out(weights, squares, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "gallery"
    photos.mkdir()
    shutil.copy(squares.paths[0], photos / "good.png")
    for n in range(12):
        (photos / f"bad{n:02d}.jpg").write_bytes(b"no picture")
    assert main(["index", str(weights), str(photos), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "bad00.jpg: not an image of a known format" in said
    assert "left out: 12 in all" in said
    assert len(Gallery.load(out).left_out) == 12
    assert main(["search", str(out), "good.png", "side"]) == 0


def test_index_with_the_network_of_the_package(squares, tmp_path, capsys):
    out = tmp_path / "gallery"
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(squares.paths[0], photos)
    assert main(["index", "garments", str(photos), "--out", str(out)]) == 0
    assert "sleeve_length" in capsys.readouterr().out


def test_wrong_commands(weights, saved, squares_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = ["index", weights, squares_folder, "--out"]
    assert "already exists" in refused(capsys, *made, saved)
    assert "--batch-size must be at least 1" in refused(capsys, *made, "x", "--batch-size", 0)
    said = refused(capsys, "index", "garmets", squares_folder, "--out", "x")
    assert "no such run folder or weights file" in said
    said = refused(capsys, "index", squares_folder, squares_folder, "--out", "x")
    assert "not a run folder" in said
    assert "gone: no such folder" in refused(capsys, "index", weights, "gone", "--out", "x")
    assert "--out" in refused(capsys, "index", weights, squares_folder)
    assert "not a gallery" in refused(capsys, "search", squares_folder, "i0", "side")
    assert "did you mean 'side'" in refused(capsys, "search", saved, "i0", "sid")
    assert "unknown image" in refused(capsys, "search", saved, "gone.jpg", "side")
    said = refused(capsys, "search", saved, "i0", "side", "--figure", "found.doc")
    assert "found.doc: the picture must end in .png" in said
    monkeypatch.setattr(Gallery, "load", lambda _: pytest.fail("searched before it was refused"))
    said = refused(capsys, "search", saved, "i0", "side", "--figure", "nowhere/found.png")
    assert "there is no folder" in said
    assert "make it first" in said
    assert "ATTRIBUTE" in refused(capsys, "search", saved, "i0")
    assert list(tmp_path.iterdir()) == []
