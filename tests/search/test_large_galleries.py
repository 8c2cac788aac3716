"""What a large gallery needs: embeddings in their file, float16, order on the disk, candidates."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, make_squares

from agman_lib.base.errors import AgmanError
from agman_lib.cli.commands import main
from agman_lib.data.dataset import PreparedDataset
from agman_lib.evaluation.report import model_facts
from agman_lib.networks.build import build_model
from agman_lib.networks.model import RetrievalModel
from agman_lib.networks.weights import save_model
from agman_lib.search import approximate
from agman_lib.search.gallery import Gallery

NAMES = ["colour", "side"]
HALF = 1e-3  # how far float16 may change a score


@pytest.fixture(scope="module")
def network() -> RetrievalModel:
    torch.manual_seed(3)
    return build_model("csn", 2, "resnet18").eval()


def without_photos(network: RetrievalModel, embeddings: np.ndarray) -> Gallery:
    """A gallery of made embeddings (N, A, D); every third image has a known colour."""
    ids = [f"i{row}" for row in range(len(embeddings))]
    items = pd.DataFrame({"image": ids, "path": ids, "colour": "", "side": ""}, dtype=object)
    items.loc[::3, "colour"] = "red"
    about = {"attributes": [{"name": n} for n in NAMES], "image_size": 32, "fit": "crop"}
    return Gallery(network, about, items, embeddings, Path("nowhere"))


def made(n: int, a: int = 2, d: int = 256, groups: int = 300) -> np.ndarray:
    """Unit embeddings (n, a, d) in loose groups, other groups under each attribute."""
    random = np.random.default_rng(5)
    middles = random.normal(size=(groups, a, d))
    group = random.integers(groups, size=(n, a))
    embeddings = middles[group, np.arange(a)] + 1.5 * random.normal(size=(n, a, d))
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    return embeddings.astype(np.float32)


def memory_map(array: np.ndarray) -> np.memmap | None:
    """The mapped file that an array is a view of."""
    seen: object = array
    while seen is not None and not isinstance(seen, np.memmap):
        seen = getattr(seen, "base", None)
    return seen


def assert_near(table: pd.DataFrame, vectors: np.ndarray, asked: np.ndarray, off: float) -> None:
    """The best of all, in order, up to images whose scores are nearly the same."""
    exact = pd.Series(vectors.astype(float) @ asked.astype(float), [f"i{r}" for r in range(len(vectors))])  # noqa: E501  # fmt: skip
    best = exact.sort_values(ascending=False)[: len(table)]
    np.testing.assert_allclose(table["score"], exact[table["image"]], atol=off)
    np.testing.assert_allclose(exact[table["image"]], best, atol=2 * off)
    assert table["image"].is_unique
    assert table["score"].is_monotonic_decreasing


# --------------------------------------------------------------------------- the file


def test_the_file_is_mapped_and_has_an_attribute_in_one_piece(network, squares, tmp_path):
    """So a search reads what it needs, in the disk's order, and opening reads nothing."""
    facts = model_facts(squares, 32, "crop")
    built = Gallery.build(network, facts, squares, batch_size=7)
    built.save(tmp_path / "gallery")
    loaded = Gallery.load(tmp_path / "gallery")
    stored = np.load(tmp_path / "gallery" / "embeddings.npy")
    assert stored.shape == (2, 100, 256)
    assert np.array_equal(stored.transpose(1, 0, 2), built.embeddings)
    for gallery in (built, loaded):
        assert gallery.embeddings.shape == (100, 2, 256)
        assert all(gallery.embeddings[:, a].flags.c_contiguous for a in range(2))
    assert memory_map(built.embeddings) is None
    assert memory_map(loaded.embeddings) is not None
    assert not loaded.embeddings.flags.writeable
    assert loaded.embedding(3).flags.writeable  # a copy, which PyTorch may be given
    # A gallery that was opened can be saved again, to another folder.
    loaded.save(tmp_path / "again")
    for file in ("embeddings.npy", "gallery.json", "items.csv"):
        content = (tmp_path / "gallery" / file).read_bytes()
        assert (tmp_path / "again" / file).read_bytes() == content


def test_a_gallery_of_the_first_format_is_read(network, tmp_path):
    gallery = without_photos(network, made(60))
    gallery.save(tmp_path / "new")
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    description = json.loads((tmp_path / "new" / "gallery.json").read_text())
    assert description["format"] == "agman-gallery-2"
    description["format"] = "agman-gallery-1"
    (tmp_path / "old" / "gallery.json").write_text(json.dumps(description))
    with pytest.raises(AgmanError, match=r"embeddings.npy: holds .*, not .* \(60, 2, 256\)"):
        Gallery.load(tmp_path / "old")
    np.save(tmp_path / "old" / "embeddings.npy", gallery.embeddings)
    old = Gallery.load(tmp_path / "old")
    assert np.array_equal(old.embeddings, gallery.embeddings)
    for name in NAMES:
        expected = gallery.search(7, name, 59)
        pd.testing.assert_frame_equal(old.search(7, name, 59), expected, check_dtype=False)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers(network, tmp_path, value):
    """Refused when written; in a file, they are found by the search that meets them."""
    gallery = without_photos(network, made(60))
    embeddings = gallery.embeddings.copy()
    embeddings[41, 1, 9] = value
    broken = replace(gallery, embeddings=embeddings)
    with pytest.raises(AgmanError, match="image 'i41': its embedding holds values that are not"):
        broken.save(tmp_path / "gallery")
    assert not list(tmp_path.iterdir())
    gallery.save(tmp_path / "gallery")
    np.save(tmp_path / "gallery" / "embeddings.npy", embeddings.transpose(1, 0, 2).copy())
    for opened in (broken, Gallery.load(tmp_path / "gallery")):
        assert len(opened.search(0, "colour")) == 5
        with pytest.raises(AgmanError, match=r"embeddings.npy: row 41 .* not numbers; make the ga"):
            opened.search(0, "side")
        with pytest.raises(AgmanError, match="the query's embedding holds values that are not num"):
            opened.search(41, "side")


def test_an_exact_search_takes_little_longer_than_the_product(network):
    """A wide margin, and the best of many: to copy what is searched takes several times as long."""
    stored = np.random.default_rng(0).standard_normal((2, 60_000, 256), dtype=np.float32)
    gallery = without_photos(network, stored.transpose(1, 0, 2))
    vectors, asked = stored[1], np.ascontiguousarray(gallery.embeddings[5])
    bare, search = [], []
    for _ in range(15):
        began = time.perf_counter()
        np.argpartition(-(vectors @ asked[1]), 100)[:100]
        between = time.perf_counter()
        gallery.search(asked, "side", 100)
        bare.append(between - began)
        search.append(time.perf_counter() - between)
    assert min(search) < 2 * min(bare)


# --------------------------------------------------------------------------- float16


def test_float16_changes_scores_by_less_than_a_thousandth(network, squares, tmp_path):
    embeddings = made(1300)
    embeddings[700:] = embeddings[:600]  # ties
    full = without_photos(network, embeddings)
    full.save(tmp_path / "half", precision="float16")
    half = Gallery.load(tmp_path / "half")
    assert half.embeddings.dtype == np.float16
    sizes = [(tmp_path / "half" / "embeddings.npy").stat().st_size, embeddings.nbytes]
    assert sizes[0] == sizes[1] // 2 + 128
    for row in (0, 650, 1299):
        for a, name in enumerate(NAMES):
            table = half.search(embeddings[row], name, 1300)
            assert_near(table, embeddings[:, a], embeddings[row, a], HALF)
            assert_near(half.search(embeddings[row], name, 10), embeddings[:, a], embeddings[row, a], HALF)  # noqa: E501  # fmt: skip
    assert half.embedding(4, "side").dtype == np.float32
    half.save(tmp_path / "same")
    assert Gallery.load(tmp_path / "same").embeddings.dtype == np.float16
    # Built so, it is the same as saved so.
    facts = model_facts(squares, 32, "crop")
    built = Gallery.build(network, facts, squares, precision="float16")
    assert built.embeddings.dtype == np.float16
    in_full = Gallery.build(network, facts, squares).embeddings
    assert np.array_equal(built.embeddings, in_full.astype(np.float16))
    for wrong in (lambda p: full.save(tmp_path / "x", precision=p),
                  lambda p: Gallery.build(network, facts, squares, precision=p)):  # fmt: skip
        with pytest.raises(AgmanError, match="unknown precision 'half'"):
            wrong("half")


def test_the_largest_error_of_float16_is_below_the_promise():
    """Numbers that all lie in the middle between two of float16's are rounded the furthest."""
    from agman_lib.search.ranking import cosines

    near = (1 + 2**-11) * 2.0**-5  # 1024 of them have length 1.0005; half way to the next number
    vector = np.full((1, 1024), near, np.float32)
    vector /= np.linalg.norm(vector)
    worst = abs(float(cosines(vector.astype(np.float16), vector[0])[0]) - 1)
    assert worst < HALF / 2  # the query may be rounded as much


# --------------------------------------------------------------------------- candidates


@pytest.fixture(scope="module")
def large(network) -> Gallery:
    return without_photos(network, made(4000))


@pytest.fixture(scope="module")
def with_lists(large, tmp_path_factory) -> Path:
    """Of fewer images and with smaller codes than in use, which takes less time."""
    folder = tmp_path_factory.mktemp("lists") / "gallery"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approximate, "LEAST", 4000)
        patch.setattr(approximate, "BYTES", 32)
        large.save(folder, approximate=True)
    return folder


@pytest.fixture
def folder(with_lists, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(with_lists, tmp_path / "gallery"))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_approximate_search_finds_most_and_scores_exactly(large, with_lists, tmp_path, precision):  # noqa: E501  # fmt: skip
    loaded = Gallery.load(with_lists)
    if precision == "float16":
        embeddings = large.embeddings.astype(np.float16)
        loaded = replace(loaded, embeddings=embeddings)
    for name in NAMES:
        hits = 0
        for row in range(0, 4000, 100):
            exact = loaded.search(row, name, 10).set_index("image")["score"]
            table = loaded.search(row, name, 10, approximate=True)
            assert table["rank"].tolist() == list(range(1, 11))
            assert f"i{row}" not in set(table["image"])
            assert table["score"].is_monotonic_decreasing
            both = table[table["image"].isin(exact.index)]
            np.testing.assert_allclose(both["score"], exact[both["image"]], atol=1e-6)
            hits += len(both)
        assert hits / 400 >= 0.95, name
        # A query from outside finds its own copy, and ties keep the order of the items.
        table = loaded.search(large.embeddings[77], name, 3, approximate=True)
        assert table["image"][0] == "i77"


def test_lists_are_looked_through_and_not_all(large, with_lists, monkeypatch):
    """What is no candidate is not found; where candidates are too few, all are searched."""
    loaded = Gallery.load(with_lists)
    assert loaded.lists is not None
    monkeypatch.setattr(type(loaded.lists), "candidates", lambda *_: np.array([3, 9, 12]))
    found = loaded.search(9, "side", 2, approximate=True)
    assert set(found["image"]) == {"i3", "i12"}
    pd.testing.assert_frame_equal(
        loaded.search(9, "side", 3, approximate=True), loaded.search(9, "side", 3)
    )
    votes = loaded.guess(9, "colour", 2, approximate=True)
    assert votes["votes"].tolist() == [2.0]
    monkeypatch.undo()
    assert len(loaded.search(0, "side", 3999, approximate=True)) == 3999
    few = loaded.lists.candidates(0, large.embeddings[0, 0], 5)
    assert len(few) == len(set(few)) == approximate.CANDIDATES
    assert (np.diff(few) > 0).all()


def test_lists_are_the_same_whenever_they_are_made(monkeypatch):
    for name, value in {"BYTES": 4, "LEAST": 300, "TRAINING_A_LIST": 10}.items():
        monkeypatch.setattr(approximate, name, value)  # so a part of the images is learned from
    vectors = made(500, a=1)[:, 0]
    first, again, half = (
        faiss.serialize_index(approximate.make_lists(v))
        for v in (vectors, vectors, vectors.astype(np.float16))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, half)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "1.faiss").unlink(), "1.faiss: missing or damaged"),
        (lambda f: (f / "1.faiss").write_bytes((f / "1.faiss").read_bytes()[:4000]),
         "1.faiss: missing or damaged"),
        (lambda f: shutil.rmtree(f), "no lists for approximate search; make them with .agman ind"),
    ],
)  # fmt: skip
def test_damaged_lists(folder, damage, said):
    damage(folder / "approximate")
    loaded = Gallery.load(folder)
    with pytest.raises(AgmanError, match=said) as caught:
        loaded.search(0, "side", approximate=True)
    assert "\n" not in str(caught.value)
    assert len(loaded.search(0, "side")) == 5


def test_lists_of_another_gallery(network, folder, tmp_path):
    without_photos(network, made(60)).save(tmp_path / "small")
    shutil.copytree(folder / "approximate", tmp_path / "small" / "approximate")
    with pytest.raises(AgmanError, match="holds 4000 images with 256 numbers each, not 60 with"):
        Gallery.load(tmp_path / "small").search(0, "side", approximate=True)


def test_without_faiss_and_with_too_few_images(network, with_lists, large, tmp_path, monkeypatch):
    few = without_photos(network, made(60))
    with pytest.raises(AgmanError, match=r"at least 10,000 images, and the gallery has 60"):
        few.save(tmp_path / "few", approximate=True)
    monkeypatch.setattr(approximate, "LEAST", 4000)
    monkeypatch.setitem(sys.modules, "faiss", None)
    loaded = Gallery.load(with_lists)
    assert len(loaded.search(0, "side")) == 5
    for ask in (lambda: loaded.search(0, "side", approximate=True),
                lambda: large.save(tmp_path / "x", approximate=True)):  # fmt: skip
        with pytest.raises(AgmanError, match=r"needs faiss: pip install 'agman-lib\[faiss\]'"):
            ask()
    assert not list(tmp_path.iterdir())


def test_the_commands(tmp_path, monkeypatch, capsys):
    data = PreparedDataset.load(make_squares(tmp_path / "data", n_train=260))
    weights, out = tmp_path / "network.safetensors", tmp_path / "gallery"
    torch.manual_seed(3)
    save_model(weights, build_model("csn", 2, "resnet18"), model_facts(data, 32, "crop"))
    index = ["index", str(weights), str(data.folder), "--approximate", "--out"]
    search = ["search", str(out), "i7", "side", "-k", "4"]
    assert main([*index, str(tmp_path / "small")]) == 0
    assert "no lists for approximate search: they need at least 10,000" in capsys.readouterr().out
    assert not (tmp_path / "small" / "approximate").exists()
    monkeypatch.setattr(approximate, "LEAST", 256)
    assert main([*index, str(out), "--precision", "float16"]) == 0
    assert sorted(p.name for p in (out / "approximate").iterdir()) == ["0.faiss", "1.faiss"]
    assert Gallery.load(out).embeddings.dtype == np.float16
    capsys.readouterr()
    assert main(search) == 0
    exact = capsys.readouterr().out
    # Of 300 images nearly all are candidates, so here the approximate search is the exact one.
    assert main([*search, "--approximate"]) == 0
    assert capsys.readouterr().out == exact
    with monkeypatch.context() as patch:
        few = np.arange(40, 60)
        patch.setattr(approximate.InvertedLists, "candidates", lambda *_: few)
        assert main([*search, "--approximate"]) == 0
        found = {line.split()[1] for line in capsys.readouterr().out.splitlines()[1:5]}
        assert found <= {f"i{row}" for row in few}
    shutil.rmtree(out / "approximate")
    assert main([*search, "--approximate"]) == 2
    assert "no lists for approximate search" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(
        Gallery, "build", lambda *_, **__: pytest.fail("embedded before it was refused")
    )
    assert main([*index, str(tmp_path / "new")]) == 2
    assert "agman-lib[faiss]" in capsys.readouterr().err


def test_what_was_measured_is_what_the_documents_say():
    measured = json.loads((ROOT / "agman_lib/assets/large_gallery.json").read_text())
    rows = {(r["items"], r["noise"]): r for r in measured["approximate"]}
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    section = page.split("<!-- large-gallery -->")[1].split("\n### ")[0]
    lines = [
        line for line in section.split("<!-- end -->")[0].splitlines() if line[:3].strip("|- ")
    ]
    printed = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert printed[1:] == [
        [
            f"{n:,}",
            f"{r['exact, ms CPU']:.1f} ms",
            f"{r['approximate, ms CPU']:.1f} ms",
            f"{100 * r['recall@10']:.1f} %",
            f"{r['build the lists, s CPU']:.0f} s",
        ]
        for (n, noise), r in rows.items()
        if noise == "neighbours"
    ]
    assert f"{100 * rows[1_000_000, 'isotropic']['recall@10']:.1f} % are found" in section
    used = approximate.SETTINGS
    assert {name: measured["settings"][name] for name in used} == used
    assert f"the {approximate.LISTS_LOOKED_THROUGH} lists nearest" in section
    assert re.search(rf"takes the {approximate.CANDIDATES}\s+photos", section)
    assert re.search(rf"at least\s+{approximate.LEAST:,}\s+photos", section)


# --------------------------------------------------------------------------- start-up


def test_importing_the_gallery_loads_no_plots_and_no_engine():
    asked = "import sys; import agman_lib.search.gallery; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "torch" in loaded
    assert not loaded & {"matplotlib", "torchvision", "faiss", "scipy", "sklearn", "timm"}
