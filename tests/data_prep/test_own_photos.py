"""A person's own photos: table and folders give the same, and every trouble is said in words."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.triplets import LabelIndex
from agman_lib.evaluation.protocol import retrieval_tasks
from data_prep.own_photos.convert import prepare, summary
from data_prep.own_photos.split import choose_queries

COUNTS = {
    "sleeve length": {"short": 20, "long": 16, "3/4 cut": 14},
    "colour": {"red": 18, "blau, hell": 15},
}
ENDINGS = ("jpg", "JPG", "jpeg", "PNG", "webp")


def folder_name(value: str) -> str:
    return value.replace("/", "-")


def photo(path: Path, number: int) -> None:
    """A photo of its own: no two numbers give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (number % 256, number // 256, 77)
    kind = {"jpg": "PNG", "jpeg": "PNG"}.get(path.suffix[1:].lower(), path.suffix[1:].upper())
    Image.new("RGB", (5, 4), colour).save(path, kind, lossless=True)


def make_tree(base: Path, counts: dict[str, dict[str, int]] = COUNTS) -> list[tuple[str, str, str]]:
    """``<attribute>/<value>/<photo>``; returns path, attribute, value of each."""
    rows = []
    for attribute, values in counts.items():
        for value, n in values.items():
            name = folder_name(value)
            for i in range(n):
                path = f"{attribute}/{name}/Foto {i}.{ENDINGS[i % 5]}"
                photo(base / path, len(rows))
                rows.append((path, attribute, name))
    return rows


def write_table(
    file: Path,
    rows: list[tuple[str, ...]],
    header: tuple[str, ...] = ("path", "attribute", "value"),
    delimiter: str = ",",
    encoding: str = "utf-8",
    newline: str = "\n",
) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=newline).writerows([header, *rows])
    file.write_bytes(text.getvalue().encode(encoding))
    return file


def run(source: Path, out: Path, **options: Any) -> dict[str, Any]:
    return prepare(source, out, **({"progress": False} | options))


def written(folder: Path) -> list[bytes]:
    return [(folder / f).read_bytes() for f in ("images.csv", "labels.csv")]


def labels_of(out: Path) -> set[tuple[str, str, str]]:
    table = PreparedDataset.load(out).labels[["image", "attribute", "value"]]
    return set(table.itertuples(index=False, name=None))


def small(base: Path, n: int = 8) -> list[tuple[str, ...]]:
    """n photos each of two values of one attribute, flat beside the table."""
    rows = []
    for i in range(2 * n):
        photo(base / f"{i}.png", i)
        rows.append((f"{i}.png", "closure", ("zip", "buttons")[i % 2]))
    return rows


# --------------------------------------------------------------------------- table and folders


def test_folders_and_table_give_the_same_files(tmp_path: Path) -> None:
    rows = make_tree(tmp_path / "photos")
    run(tmp_path / "photos", tmp_path / "a")
    np.random.default_rng(0).shuffle(rows)
    table = write_table(tmp_path / "photos/all.csv", rows)
    run(table, tmp_path / "b")
    shutil.copy(table, tmp_path / "elsewhere.csv")
    run(tmp_path / "elsewhere.csv", tmp_path / "c", root=tmp_path / "photos")
    assert labels_of(tmp_path / "a") == set(rows)
    assert written(tmp_path / "a") == written(tmp_path / "b") == written(tmp_path / "c")
    dataset = PreparedDataset.load(tmp_path / "b")
    assert dataset.image_root == (tmp_path / "photos").resolve()
    assert {a.name: a.values for a in dataset.attributes} == {
        "colour": ("blau, hell", "red"),
        "sleeve length": ("3-4 cut", "long", "short"),
    }
    assert not (tmp_path / "b/images").exists()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tables_as_programs_save_them(
    tmp_path: Path, delimiter: str, encoding: str, newline: str
) -> None:
    rows = [(r[0], "Verschluß", r[2].replace("zip", "zip, lang; weiß")) for r in small(tmp_path)]
    spaced = [(f" {a}", f"{b} ", c, "x") for a, b, c in rows]
    header = (" Path", "ATTRIBUTE", "value ", "photographer")
    table = write_table(tmp_path / "t.csv", spaced, header, delimiter, encoding, newline)
    report = run(table, tmp_path / "out")
    assert labels_of(tmp_path / "out") == set(rows)
    assert report["notes"]["column not used"]["names"] == ["photographer"]
    assert "photographer" in summary(report)


def test_the_line_sep_of_excel_and_line_numbers_after_it(tmp_path: Path) -> None:
    rows = small(tmp_path)
    table = write_table(tmp_path / "t.csv", [*rows, ("gone.png", "closure", "zip")], delimiter=";")
    table.write_bytes(b"sep=;\r\n" + table.read_bytes())
    report = run(table, tmp_path / "out")
    assert labels_of(tmp_path / "out") == set(rows)
    assert report["left_out"]["photo missing"]["names"] == ["line 19 (gone.png)"]


def test_an_image_may_have_several_attributes_and_values(tmp_path: Path) -> None:
    rows = small(tmp_path, 20)
    more = [(p, "colour", ("red", "blue")[i // 2 % 2]) for i, (p, _, _) in enumerate(rows)]
    more += [(p, "colour", "white") for p, _, _ in rows[::3]]
    report = run(write_table(tmp_path / "t.csv", rows + more), tmp_path / "out")
    assert labels_of(tmp_path / "out") == {*rows, *more}
    dataset = PreparedDataset.load(tmp_path / "out")
    assert dataset.images["image"].is_unique
    merged = dataset.labels.merge(dataset.images, on="image")
    test = merged[merged["split"].ne("train")]
    assert (test.groupby(["image", "attribute"])["evaluated"].sum() == 1).all()
    assert not test.loc[test["value"].eq("white"), "evaluated"].any()  # never the first listed
    assert not merged.loc[merged["split"].eq("train"), "evaluated"].any()
    note = report["notes"]["photo with several values of an attribute (the first is scored)"]
    assert note["count"] == 14


def test_copies_of_a_photo_are_one_image(tmp_path: Path) -> None:
    make_tree(tmp_path / "photos", {"closure": {"zip": 8, "buttons": 8}, "colour": {"red": 6}})
    for i, name in enumerate(("zip", "zip", "zip", "buttons", "buttons", "buttons")):
        original = next((tmp_path / f"photos/closure/{name}").glob(f"Foto {i}.*"))
        target = tmp_path / f"photos/colour/blue/{i}{original.suffix}"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(original, target)
    report = run(tmp_path / "photos", tmp_path / "out")
    images = PreparedDataset.load(tmp_path / "out").images
    assert len(images) == 8 + 8 + 6
    note = report["notes"]["copy of another photo (both are one image)"]
    assert note["count"] == 6
    assert note["names"][0] == "colour/blue/0.jpg = closure/zip/Foto 0.jpg"
    of_0 = {(a, v) for i, a, v in labels_of(tmp_path / "out") if i == "closure/zip/Foto 0.jpg"}
    assert of_0 == {("closure", "zip"), ("colour", "blue")}


# --------------------------------------------------------------------------- the split


def test_split_is_stratified_seeded_and_fit_for_training_and_evaluation(tmp_path: Path) -> None:
    make_tree(tmp_path / "photos")
    report = run(tmp_path / "photos", tmp_path / "a")
    run(tmp_path / "photos", tmp_path / "b", seed=1)
    assert written(tmp_path / "a") != written(tmp_path / "b")
    dataset = PreparedDataset.load(tmp_path / "a")
    share = dataset.images["split"].value_counts(normalize=True)
    assert share["valid"] == pytest.approx(0.15, abs=0.03)
    assert share["test"] == pytest.approx(0.15, abs=0.03)
    for attribute in report["attributes"].values():
        for n in attribute.values():
            cells = [v for k, v in n.items() if k != "photos"]
            assert min(cells) >= 1
            assert sum(cells) == n["photos"]
            assert n["train"] == pytest.approx(0.7 * n["photos"], abs=1)
    assert not LabelIndex(dataset.split_labels("train")).skipped.size
    for split in ("valid", "test"):
        assert all((t.n_relevant > 0).all() for t in retrieval_tasks(dataset, split))
    assert report["advice"] == []
    assert json.loads((tmp_path / "a/prepare_report.json").read_text(encoding="utf-8")) == report


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.sampled_from([0.01, 0.2, 0.5]))
@settings(deadline=None, max_examples=80)
def test_every_value_gets_queries_and_keeps_candidates(values: list[int], share: float) -> None:
    query = choose_queries(np.array(values)[:, None], share, np.random.default_rng(0))
    for value in set(values):
        of_value = query[np.array(values) == value]
        if len(of_value) >= 2:
            assert 1 <= of_value.sum() < len(of_value)


@given(st.lists(st.sets(st.integers(0, 4), min_size=1, max_size=3), min_size=2, max_size=12))
@settings(deadline=None, max_examples=80)
def test_queries_of_photos_with_several_values_keep_candidates(values: list[set[int]]) -> None:
    codes = np.array([sorted(v) + [-1] * (3 - len(v)) for v in values])
    query = choose_queries(codes, 0.001, np.random.default_rng(0))  # all by the second step
    for value in set().union(*values):
        assert not query[(codes == value).any(axis=1)].all()


def test_the_columns_split_and_role_are_obeyed(tmp_path: Path) -> None:
    plan = [("train", "")] * 8 + [("VAL", "query"), ("valid", "candidate")] * 2
    plan += [("test", "Query"), ("Test", "candidate")] * 2
    rows = [(*r, *p) for r, p in zip(small(tmp_path), plan, strict=True)]
    header = ("path", "attribute", "value", "Split", "ROLE")
    run(write_table(tmp_path / "t.csv", rows, header), tmp_path / "out")
    images = PreparedDataset.load(tmp_path / "out").images.set_index("image")
    for path, _, _, split, role in rows:
        wanted = ("valid" if split == "VAL" else split.lower(), role.lower() or "train")
        assert tuple(images.loc[path, ["split", "role"]]) == wanted


def test_a_split_without_roles_gets_queries(tmp_path: Path) -> None:
    plan = ["train"] * 8 + ["valid"] * 4 + ["test"] * 4
    rows = [(*r, p) for r, p in zip(small(tmp_path), plan, strict=True)]
    table = write_table(tmp_path / "t.csv", rows, ("path", "attribute", "value", "split"))
    report = run(table, tmp_path / "out")
    assert list(report["images"].values()) == [8, 2, 2, 2, 2]
    images = PreparedDataset.load(tmp_path / "out").images.set_index("image")
    assert all(images.loc[r[0], "split"] == r[3] for r in rows)


def split_table(base: Path, changes: dict[int, tuple[str, str]]) -> Path:
    plan = [("train", "")] * 8 + [("valid", ""), ("valid", "")] * 2 + [("test", "")] * 4
    lines = [changes.get(i, p) for i, p in enumerate(plan)]
    rows = [(*r, *p) for r, p in zip(small(base), lines, strict=True)]
    return write_table(base / "t.csv", rows, ("path", "attribute", "value", "split", "role"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({3: ("tarin", "")}, r"t\.csv, line 5: unknown split 'tarin'; did you mean 'train'"),
        ({3: ("train", "querry")}, r"t\.csv, line 5: unknown role 'querry'"),
        ({3: ("", "")}, r"t\.csv, line 5: split is empty, but other lines have one"),
        ({3: ("train", "query")}, r"t\.csv, line 5: role 'query' does not fit split 'train'"),
        ({9: ("valid", "query")}, r"t\.csv, line 10: role 'empty' does not fit split 'valid'"),
        ({9: ("valid", "train")}, r"t\.csv, line 11: role 'train' does not fit split 'valid'"),
        ({i: ("train", "") for i in range(8, 12)}, "no photo has the split valid; give some"),
    ],
)
def test_contradictory_splits(
    tmp_path: Path, changes: dict[int, tuple[str, str]], message: str
) -> None:
    with pytest.raises(AgmanError, match=message):
        run(split_table(tmp_path, changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_in_two_splits_is_refused(tmp_path: Path) -> None:
    table = split_table(tmp_path, {})
    with open(table, "a", encoding="utf-8") as file:
        file.write("2.png,closure,velcro,test,\n")
    with pytest.raises(AgmanError, match=r"line 18: 2\.png has split 'test' .* 'train' .* line 4"):
        run(table, tmp_path / "out")


# --------------------------------------------------------------------------- what is left out


def test_troubles_are_counted_and_named(tmp_path: Path) -> None:
    rows = small(tmp_path)
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "0.png").read_bytes()[:50])
    extra: list[tuple[str, ...]] = [
        ("gone.png", "closure", "zip"),
        ("broken.jpg", "closure", "zip"),
        ("3.png", "", "zip"),
        ("3.png", "closure"),
        ("./sub/../3.png", "closure", "buttons"),
        ("", "", ""),
        ("1.png", "closure", "Buttons"),
    ]
    report = run(write_table(tmp_path / "t.csv", [*rows, *extra]), tmp_path / "out")
    left = {why: entry["names"] for why, entry in report["left_out"].items()}
    assert left == {
        "photo missing": ["line 18 (gone.png)"],
        "empty cell": ["line 20 (attribute)", "line 21 (value)"],
        "label repeated": ["line 22, as line 5"],
        "photo cannot be opened (save it again as jpg)": ["broken.jpg"],
    }
    assert labels_of(tmp_path / "out") == {*rows, ("1.png", "closure", "Buttons")}
    text = summary(report)
    assert "value of closure: Buttons, buttons" in text
    assert "left out, photo missing: 1 (line 18 (gone.png))" in text
    assert "too few photos of the value Buttons (in all 1, for training" in text
    assert "about 14 in all" in text


def test_folder_troubles_are_named(tmp_path: Path) -> None:
    rows = make_tree(tmp_path / "p", {"closure": {"zip": 9, "buttons": 9}})
    for path in ("note.txt", "closure/IMG.jpg", "closure/zip/IMG_1.HEIC", "closure/zip/old/a.jpg"):
        (tmp_path / "p" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "p" / path).write_bytes(b"x")
    for litter in (".DS_Store", "closure/Thumbs.db", "closure/zip/._1.jpg"):
        (tmp_path / "p" / litter).write_bytes(b"x")
    report = run(tmp_path / "p", tmp_path / "out")
    assert labels_of(tmp_path / "out") == set(rows)
    assert {why: entry["names"] for why, entry in report["notes"].items()} == {
        "file in no value's folder (ignored)": ["closure/IMG.jpg", "note.txt"],
        "not jpg, jpeg, png, webp (save it as jpg)": ["closure/zip/IMG_1.HEIC"],
        "folder inside a value's folder (ignored)": ["closure/zip/old"],
    }


def test_an_attribute_with_too_little_is_left_out_in_words(tmp_path: Path) -> None:
    counts = {"closure": {"zip": 9, "buttons": 9}, "colour": {"red": 9}, "fit": {"wide": 9, "x": 1}}
    make_tree(tmp_path / "p", counts)
    report = run(tmp_path / "p", tmp_path / "out")
    assert PreparedDataset.load(tmp_path / "out").attribute_names == ["closure"]
    assert len(PreparedDataset.load(tmp_path / "out").images) == 18
    assert report["left_out"]["attribute cannot be trained"]["names"] == ["colour", "fit"]
    assert report["left_out"]["photo of such an attribute alone"]["count"] == 19
    text = summary(report)
    assert "colour is left out: it needs two values or more" in text
    assert "it has red 9 (" in text
    assert "add photos with another value" in text
    assert "fit is left out" in text


def test_nothing_left_is_an_error_in_words(tmp_path: Path) -> None:
    make_tree(tmp_path / "p", {"closure": {"zip": 1, "buttons": 9}, "colour": {"red": 9}})
    with pytest.raises(AgmanError, match=r"nothing can be trained\. closure is left out.* colour"):
        run(tmp_path / "p", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_little_data_gets_advice_about_evaluation(tmp_path: Path) -> None:
    make_tree(tmp_path / "p", {"closure": {"zip": 3, "buttons": 3}})
    report = run(tmp_path / "p", tmp_path / "out")
    assert report["images"]["train"] >= 4
    for split in ("valid", "test"):
        assert any(f"the split {split} has no query" in line for line in report["advice"])


# --------------------------------------------------------------------------- unfit sources


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,attribut,value\n", "line 1: lacks the column attribute; the first line must name"),
        (b"", "line 1: lacks the column path and attribute and value"),
        (b"path,value,attribute,Value\n", "line 1: the column value is there twice"),
        (b"path,attribute,value,role\n", "line 1: the column role needs a column split"),
        (b"path,attribute,value\n0.png,closure,big, round\n", "line 2: more cells than columns"),
        (b"path,attribute,value\n0.png,a,wei\xdf\n", "line 2: not UTF-8 text; .*CSV UTF-8"),
        (b'path,attribute,value\n0.png,a,"zip\n1.png,a,b\n', "line 3: a double quote opens"),
        (b"path,attribute,value\n../0.png,a,b\n", r"line 2: the photo \.\./0\.png lies outside"),
        (b"path,attribute,value\n/0.png,a,b\n", "line 2: the photo /0.png lies outside"),
        (
            b"path,attribute,value\nX/0.png,a,b\n",
            r"no line has .*first: line 2 \(X/0\.png\).*--root",
        ),
        (b"path,attribute,value\n", "no line has a label and a photo"),
    ],
)
def test_broken_tables(tmp_path: Path, content: bytes, message: str) -> None:
    small(tmp_path)
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(AgmanError, match=message):
        run(tmp_path / "t.csv", tmp_path / "out")


def test_wrong_sources(tmp_path: Path) -> None:
    with pytest.raises(AgmanError, match="nowhere: no such file or folder"):
        run(tmp_path / "nowhere", tmp_path / "out")
    write_table(tmp_path / "labels.csv", small(tmp_path))
    with pytest.raises(AgmanError, match=r"sort them as sleeve_length/.*the table labels\.csv"):
        run(tmp_path, tmp_path.parent / f"{tmp_path.name}-out")
    with pytest.raises(AgmanError, match="lies inside the photos' folder"):
        run(tmp_path, tmp_path / "out")
    with pytest.raises(AgmanError, match="a root is only for a CSV table"):
        run(tmp_path, tmp_path.parent / f"{tmp_path.name}-out", root=tmp_path)
    with pytest.raises(AgmanError, match="--root names the one"):
        run(tmp_path / "labels.csv", tmp_path / "out", root=tmp_path / "x")
    with pytest.raises(AgmanError, match="valid and test must be above 0"):
        run(tmp_path / "labels.csv", tmp_path / "out", valid=0)


def test_no_photo_can_be_opened(tmp_path: Path) -> None:
    rows = small(tmp_path)
    for path, *_ in rows:
        (tmp_path / path).write_bytes(path.encode())
    with pytest.raises(AgmanError, match=r"none of the 16 photos can be opened \(first: 0\.png\)"):
        run(write_table(tmp_path / "t.csv", rows), tmp_path / "out")


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1)


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(",;\t"))
def test_any_text_comes_through_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, delimiter: str
) -> None:
    base = tmp_path_factory.mktemp("any")
    attribute, one, two = data.draw(CELL), data.draw(CELL), data.draw(CELL)
    rows = [
        (r[0], attribute, f"b{two}" if i % 2 else f"a{one}") for i, r in enumerate(small(base, 2))
    ]
    run(write_table(base / "t.csv", rows, delimiter=delimiter), base / "out")
    assert labels_of(base / "out") == set(rows)
